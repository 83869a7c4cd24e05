"""Training a network: it learns, it resumes exactly, and it stops on NaN."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.tones import SETTINGS, network_of, train

from serlab.approaches.resnet.network import ResNet
from serlab.audio.augment import View
from serlab.core import FindingsError
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation, Training
from serlab.training import loop
from serlab.training.batches import TrainingBatches
from serlab.training.lesson import Lesson, distillation
from serlab.training.loop import Learner, own_randomness, parameter_groups


def test_a_network_learns_a_simple_task(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=8, batch_size=4, learning_rate=3e-3)
    _, history, _ = train("resnet", files, tmp_path, training)

    assert [epoch["epoch"] for epoch in history["epochs"]] == list(range(1, 9))
    assert max(epoch["dev_uar"] for epoch in history["epochs"]) >= 0.9
    assert history["epochs"][-1]["loss"] < history["epochs"][0]["loss"]


@pytest.mark.parametrize("kind", ["resnet", "wav2vec2"])
def test_interrupted_and_resumed_equals_uninterrupted(kind: str, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    undisturbed = train(kind, files, tmp_path / "a", SETTINGS)

    with pytest.raises(KeyboardInterrupt):
        train(kind, files, tmp_path / "b", SETTINGS, stop_after=2)
    torch.rand(17)
    resumed = train(kind, files, tmp_path / "b", SETTINGS)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])
    assert undisturbed[1].pop("earlier_seconds") == 0
    assert resumed[1].pop("earlier_seconds") > 0
    assert undisturbed[1] == resumed[1]


def lesson_of(files: tuple[ClipFile, ...], weight: float) -> Lesson:
    logits = np.random.default_rng(5).normal(size=(1, len(files), 2)).astype(np.float32)
    return Lesson(tuple(file.clip for file in files), (View(),), logits, 2.0, weight)


@pytest.mark.parametrize("average", [{"ema": 0.8}, {"swa": 3}], ids=str)
def test_averaged_and_taught_training_resumes_exactly_too(average, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    settings, lesson = replace(SETTINGS, select="last", **average), lesson_of(files, 0.8)
    undisturbed = train("resnet", files, tmp_path / "a", settings, lesson=lesson)

    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", settings, stop_after=3, lesson=lesson)
    resumed = train("resnet", files, tmp_path / "b", settings, lesson=lesson)

    assert undisturbed[1]["epochs"] == resumed[1]["epochs"]
    states = (each[0].state_dict() for each in (undisturbed, resumed))
    assert all(torch.equal(one, other) for one, other in zip(*(state.values() for state in states), strict=True))
    assert not np.array_equal(undisturbed[2], train("resnet", files, tmp_path / "c", SETTINGS, lesson=lesson)[2])


@pytest.mark.parametrize("average", [{"ema": 0.5}, {"swa": 2}], ids=str)
def test_the_averaged_weights_of_the_best_epoch_are_kept(average, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=4, batch_size=4, learning_rate=3e-3, **average)
    _, history, logits = train("resnet", files, tmp_path, training)
    uars = [epoch["dev_uar"] for epoch in history["epochs"]]
    assert (logits.argmax(axis=1) == np.arange(16) % 2).mean() == pytest.approx(max(uars))


def test_a_teacher_of_weight_0_changes_no_bit_and_one_of_weight_1_replaces_the_label(
    files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    alone = train("resnet", files, tmp_path / "a", SETTINGS)
    silent = train("resnet", files, tmp_path / "b", SETTINGS, lesson=lesson_of(files, 0.0))
    np.testing.assert_array_equal(alone[2], silent[2])
    assert alone[1]["epochs"] == silent[1]["epochs"]

    targets = lesson_of(files, 1.0).logits[0].argmax(axis=1)
    taught = train("resnet", files, tmp_path / "c", replace(SETTINGS, epochs=12), lesson=lesson_of(files, 1.0))
    labels = np.array([int(file.clip) % 2 for file in files])
    agreed = (taught[2].argmax(axis=1) == targets).mean()
    assert agreed > (taught[2].argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_clip_without_a_label_is_learned_from_the_teacher_alone(smoothing: float, files, tmp_path: Path) -> None:
    network = network_of("resnet").eval()
    lesson = replace(lesson_of(files[:4], 0.8), unlabelled=files[2:4])
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 0]]
    targets[2:] = 0
    store = FeatureStore(network.frontend)
    batches = TrainingBatches(
        store, files[:4], targets, augmentation=Augmentation(), batch_size=4, window=24, fill=0.0, max_seconds=8.0,
        seed=3, lesson=lesson,
    )  # fmt: skip
    learner = Learner.of(network, batches, Training(label_smoothing=smoothing), "fp32", 3)
    (batch,) = batches
    found = loop._loss(learner, batch).item()

    logits = network(batch["features"])
    labelled = batch["targets"].sum(dim=1) > 0
    ce = torch.nn.functional.cross_entropy(
        logits[labelled], batch["targets"][labelled], label_smoothing=smoothing, reduction="sum"
    )
    wanted = 0.8 * distillation(logits, batch["taught"], 2.0) + 0.2 * ce
    assert labelled.sum() == 2
    assert found == pytest.approx(wanted.item(), rel=1e-5)


def test_a_label_is_smoothed_by_its_share_of_a_clip_that_is_mixed_with_one_without() -> None:
    logits = torch.tensor([[1.0, -0.5, 0.3], [0.2, 0.1, -2.0], [0.0, 1.0, 0.5]])
    label = torch.nn.functional.one_hot(torch.tensor([0, 2, 1]), 3).float()
    share = torch.tensor([0.6, 1.0, 0.0])
    found = loop._partly_labelled(logits, share[:, None] * label, 0.2)
    each = torch.nn.functional.cross_entropy(logits, label, label_smoothing=0.2, reduction="none")
    assert found.item() == pytest.approx((share * each).sum().item(), rel=1e-6)


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_selected_epochs_weights_are_kept(select: str, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=4, batch_size=4, learning_rate=3e-3, select=select)
    _, history, logits = train("resnet", files, tmp_path, training)

    uars = [epoch["dev_uar"] for epoch in history["epochs"]]
    wanted = max(uars) if select == "best" else uars[-1]
    assert (logits.argmax(axis=1) == np.arange(16) % 2).mean() == pytest.approx(wanted)
    assert history["best_epoch"] == (uars.index(max(uars)) + 1 if select == "best" else 4)


def test_patience_stops_early(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=30, batch_size=4, learning_rate=1e-9, patience=2)
    _, history, _ = train("resnet", files, tmp_path, training)
    assert len(history["epochs"]) < 30


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_patience_counts_on_where_it_was_interrupted(
    stop_after: int, files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    training = Training(epochs=30, batch_size=4, learning_rate=1e-9, patience=3)
    undisturbed = train("still", files, tmp_path / "a", training)
    with pytest.raises(KeyboardInterrupt):
        train("still", files, tmp_path / "b", training, stop_after=stop_after)
    resumed = train("still", files, tmp_path / "b", training)
    assert len(resumed[1]["epochs"]) == len(undisturbed[1]["epochs"]) == 4
    np.testing.assert_array_equal(undisturbed[2], resumed[2])


@pytest.mark.parametrize("patience", [0, 3])
def test_a_kill_after_the_last_epoch_costs_no_training(
    patience: int, files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    # Hardly any change of the weights: the first epoch stays the best.
    training = Training(epochs=4 if not patience else 30, batch_size=4, learning_rate=1e-9, patience=patience)
    undisturbed = train("still", files, tmp_path, training)
    again = train("still", files, tmp_path, training, stop_after=0)
    assert undisturbed[1]["best_epoch"] == 1
    assert again[1]["epochs"] == undisturbed[1]["epochs"]
    np.testing.assert_array_equal(undisturbed[2], again[2])


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_batches_add_up_to_one_of_their_clips(schedule: str, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    # Clips of one length, and the whole side in each step: how they are shared out to batches makes
    # no difference.
    alike = [file for file in files if file.duration == files[0].duration]
    settings = replace(SETTINGS, schedule=schedule, schedule_factor=0.5)
    whole, parts = (
        train("still", tuple(alike), tmp_path / str(size), replace(settings, batch_size=size, accumulate=times))
        for size, times in ((len(alike), 1), (2, 3))
    )

    assert len(alike) == 6
    np.testing.assert_allclose(whole[2], parts[2], atol=1e-5)
    for one, other in zip(whole[1]["epochs"], parts[1]["epochs"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_an_accumulated_step_counts_every_clip_alike(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    # 6 clips in batches of 4 and 2: their mean is not the mean of the batches' means.
    alike = tuple(file for file in files if file.duration == files[0].duration)
    whole = train("still", alike, tmp_path / "a", replace(SETTINGS, batch_size=6))
    parts = train("still", alike, tmp_path / "b", replace(SETTINGS, batch_size=4, accumulate=2))
    np.testing.assert_allclose(whole[2], parts[2], atol=1e-5)


def test_the_batches_of_a_step_draw_differently(
    files: tuple[ClipFile, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    forward = ResNet.forward

    def listening(self: ResNet, features: torch.Tensor) -> torch.Tensor:
        if self.training:
            drawn.append(torch.initial_seed())
        return forward(self, features)

    monkeypatch.setattr(ResNet, "forward", listening)
    train("resnet", files, tmp_path / "a", Training(epochs=2, batch_size=4))
    alone, drawn[:] = drawn.copy(), []
    train("resnet", files, tmp_path / "b", Training(epochs=2, batch_size=4, accumulate=3))

    assert len(alone) == len(drawn) == len(set(drawn)) == 8
    # Steps of 3 and 1 batches: the first batch of a step draws as if it were the only one.
    assert [drawn[place] for place in (0, 3, 4, 7)] == alone[:4]


def test_the_bar_counts_steps_of_the_optimiser(
    files: tuple[ClipFile, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted:
        total = done = 0

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done += steps

    counted = Counted()

    @contextmanager
    def bar(title: str, total: int, done: int = 0) -> Iterator[Counted]:
        counted.total = total
        yield counted

    monkeypatch.setattr(loop, "bar", bar)
    train("resnet", files, tmp_path, Training(epochs=3, batch_size=4, accumulate=3))
    assert counted.done == counted.total == 6


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "step"])
def test_every_schedule_trains(schedule: str, files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=1, batch_size=8, schedule=schedule, schedule_factor=0.5)
    _, history, _ = train("resnet", files, tmp_path, training)
    assert len(history["epochs"]) == 1


def test_a_loss_that_is_not_finite_stops_with_a_sentence(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    training = Training(epochs=2, batch_size=4, learning_rate=1e30, max_grad_norm=1e30, warmup=0.0)
    with pytest.raises(FindingsError, match=r"loss is not finite in epoch \d+: training diverged"):
        train("wav2vec2", files, tmp_path, training)


def test_the_callers_random_state_and_environment_stay_as_they_were(
    files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    torch.manual_seed(9)
    np.random.seed(9)  # noqa: NPY002
    before = torch.rand(1), np.random.rand()  # noqa: NPY002
    environment = dict(os.environ)
    torch.manual_seed(9)
    np.random.seed(9)  # noqa: NPY002

    with own_randomness(1):
        train("resnet", files, tmp_path, Training(epochs=1, batch_size=8))

    assert torch.equal(before[0], torch.rand(1))
    assert before[1] == np.random.rand()  # noqa: NPY002
    assert dict(os.environ) == environment


def test_learning_rates_by_depth_and_no_decay_on_norms_and_biases() -> None:
    network = network_of("wav2vec2")
    training = Training(learning_rate=1e-4, head_learning_rate=1e-2, layer_decay=0.5, weight_decay=0.1)
    named = {id(p): name for name, p in network.named_parameters()}
    rates = {named[id(p)]: g for g in parameter_groups(network, training) for p in g["params"]}

    assert len(rates) == sum(p.requires_grad for p in network.parameters())
    assert rates["hf.classifier.weight"]["lr"] == 1e-2
    assert rates["hf.wav2vec2.encoder.layers.1.attention.q_proj.weight"]["lr"] == 1e-4
    assert rates["hf.wav2vec2.encoder.layers.0.attention.q_proj.weight"]["lr"] == 5e-5
    assert rates["hf.wav2vec2.encoder.layers.0.attention.q_proj.bias"]["weight_decay"] == 0.0
    assert rates["hf.wav2vec2.encoder.layers.0.attention.q_proj.weight"]["weight_decay"] == 0.1
