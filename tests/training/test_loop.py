"""Training a network: it learns, it resumes exactly, and it stops on NaN."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.approaches.network import Network, score
from serlab.approaches.resnet import Settings as ResNetModel
from serlab.approaches.resnet.network import ResNet
from serlab.audio.augment import View
from serlab.core import FindingsError, MachineError
from serlab.frontends.logmel import LogMelSettings
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation, Training
from serlab.training import loop
from serlab.training.batches import TrainingBatches
from serlab.training.checkpoint import Checkpoint
from serlab.training.lesson import Lesson, distillation
from serlab.training.loop import Learner, fit, own_randomness, parameter_groups

LABELS = ("high", "low")
SMALL = ResNetModel(
    stem="small", width=8, pooling="mean+std", dropout=0.1, window=24, logmel=LogMelSettings(bands=16, hop=256)
)
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 3,
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 8, 4],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.3,
    "mask_time_length": 2,
    "layerdrop": 0.2,
}

STILL = {
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipFile, ...]:
    """Sixteen tones, high and low in turn."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    found = []
    for number in range(16):
        pitch = (1800 if number % 2 == 0 else 300) * random.uniform(0.9, 1.1)
        time = np.arange(6400 + 800 * (number % 3)) / 16000
        samples = 0.2 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 0.01, len(time))
        soundfile.write(folder / f"{number}.wav", samples.astype(np.float32), 16000)
        found.append(ClipFile(str(number), str(folder / f"{number}.wav"), len(time) / 16000))
    return tuple(found)


def network_of(kind: str) -> Network:
    torch.manual_seed(1)
    if kind == "resnet":
        return ResNet(SMALL, LABELS, torch.full((16,), -50.0), torch.full((16,), 20.0))
    config = {**TINY, **STILL} if kind == "still" else TINY
    return encoder.from_scratch(EncoderModel(architecture="wav2vec2", config=config, freeze_conv=False), LABELS)


def train(
    kind: str,
    files: tuple[ClipFile, ...],
    folder: Path,
    training: Training,
    stop_after: int | None = None,
    lesson: Lesson | None = None,
):
    """Train; ``stop_after`` interrupts after a number of dev scorings, like Ctrl-C."""
    network = network_of(kind)
    store = FeatureStore(network.frontend)
    targets = np.array([int(file.clip) % 2 for file in files])
    batches = TrainingBatches(
        store,
        files,
        np.eye(2, dtype=np.float32)[targets],
        augmentation=Augmentation(),
        batch_size=training.batch_size,
        window=network.window,
        fill=network.fill,
        max_seconds=8.0,
        seed=3,
        lesson=lesson,
    )
    features = [store.get(file) for file in files]
    scored: list[float] = []

    def dev_uar() -> float:
        if len(scored) == stop_after:
            raise KeyboardInterrupt
        scored.append(float((score(network, features, "fp32").argmax(axis=1) == targets).mean()))
        return scored[-1]

    history = asdict(
        fit(network, batches, dev_uar, training=training, precision="fp32", seed=3, folder=folder, title="training")
    )
    return network, history, score(network, features, "fp32")


SETTINGS = Training(epochs=4, batch_size=4, learning_rate=3e-3, head_learning_rate=5e-3)


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


def test_a_checkpoint_that_a_kill_left_half_written_is_skipped(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    undisturbed = train("resnet", files, tmp_path / "a", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", SETTINGS, stop_after=2)
    half = tmp_path / "b" / "unfinished"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    resumed = train("resnet", files, tmp_path / "b", SETTINGS)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])
    assert not half.exists()


def test_a_checkpoint_whose_removal_a_kill_interrupted_is_skipped(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    undisturbed = train("resnet", files, tmp_path / "a", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", SETTINGS, stop_after=3)
    (tmp_path / "b" / "epoch1").mkdir(exist_ok=True)
    (tmp_path / "b" / "epoch1" / "state.json").unlink(missing_ok=True)

    resumed = train("resnet", files, tmp_path / "b", SETTINGS)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])


@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["half", "zeros", "gone"])
def test_a_damaged_checkpoint_is_dropped_with_a_message(
    damage: str, name: str, select: str, files: tuple[ClipFile, ...], tmp_path: Path, capfd
) -> None:
    settings = replace(SETTINGS, select=select)
    undisturbed = train("resnet", files, tmp_path / "a", settings)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", settings, stop_after=3)
    path = tmp_path / "b" / "epoch3" / name
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: size // 2] if damage == "half" else bytes(size))

    resumed = train("resnet", files, tmp_path / "b", settings)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])
    assert "epoch3 is damaged" in capfd.readouterr().err


def test_a_checkpoint_whose_best_epoch_is_damaged_is_dropped_too(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path, SETTINGS, stop_after=3)
    best = tmp_path / "epoch2"
    shutil.copytree(tmp_path / "epoch3", best, dirs_exist_ok=True)
    assert len(Checkpoint.last(tmp_path, lambda _: 2).epochs) == 3
    (best / "model.safetensors").write_bytes(b"")
    assert Checkpoint.last(tmp_path, lambda _: 2) is None
    assert not list(tmp_path.glob("epoch[23]"))


def test_checkpoints_hold_no_pickle_and_only_the_best_and_the_last_stay(
    files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    _, history, _ = train("resnet", files, tmp_path, replace(SETTINGS, epochs=6))
    folders = {path.name for path in tmp_path.iterdir()}
    assert folders == {f"epoch{history['best_epoch']}", "epoch6"}
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".safetensors", ".json"}
    last = Checkpoint.last(tmp_path)
    assert last is not None
    assert last.epochs == history["epochs"]


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


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_file_of_a_checkpoint_that_the_system_refuses_is_the_machine_s_fault(
    name: str, files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=1)
    train("resnet", files, tmp_path / "whole", settings)
    (whole,) = (tmp_path / "whole").glob("epoch*")
    sizes = sorted(path.stat().st_size for path in whole.iterdir())
    size = (whole / name).stat().st_size
    assert size == sizes[-1] or name != "optimizer.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, before[1]))
    try:
        with pytest.raises(MachineError, match=r"File too large.*free some space"):
            train("resnet", files, tmp_path / "full", settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
