"""Training batches: each has one length, all randomness is keyed, and no clip is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab.audio import AudioError
from serlab.audio.augment import View
from serlab.frontends.encoders import Waveform
from serlab.frontends.logmel import LogMel, LogMelSettings
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation
from serlab.training.batches import TrainingBatches
from serlab.training.lesson import Lesson

LENGTHS = (3200, 3200, 4800, 4800, 4800, 6400, 8000, 9600, 3200, 5600, 5600)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipFile, ...]:
    """Clips whose samples all have about the value (number + 1) / 100: a constant would count as silent."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number, length in enumerate(LENGTHS):
        path = folder / f"{number}.wav"
        samples = (number + 1) / 100 + 2e-4 * (-1.0) ** np.arange(length)
        soundfile.write(path, samples.astype(np.float32), 16000, subtype="FLOAT")
        found.append(ClipFile(str(number), str(path), length / 16000))
    return tuple(found)


def make(files: tuple[ClipFile, ...], augmentation: Augmentation | None = None, **settings) -> TrainingBatches:
    frontend = settings.pop("frontend", Waveform(do_normalise=False))
    defaults = {"batch_size": 3, "window": None, "fill": 0.0, "max_seconds": 8.0, "seed": 5}
    values = {**defaults, **settings}
    targets = np.eye(2, dtype=np.float32)[np.arange(len(files)) % 2]
    return TrainingBatches(
        FeatureStore(frontend), files, targets, augmentation=augmentation or Augmentation(), **values
    )


def epoch(batches: TrainingBatches, number: int) -> list[dict]:
    batches.set_epoch(number)
    return list(batches)


def numbers(batch: dict) -> list[int]:
    return [round(float(value) * 100) - 1 for value in batch["features"][:, 0]]


def test_every_clip_is_trained_on_once_an_epoch_with_its_own_label(files: tuple[ClipFile, ...]) -> None:
    for number in range(4):
        batches = make(files)
        found = epoch(batches, number)
        assert len(found) == len(batches) == 4
        assert Counter(n for batch in found for n in numbers(batch)) == Counter(range(len(files)))
        for batch in found:
            assert [n % 2 for n in numbers(batch)] == batch["targets"].argmax(dim=1).tolist()


def test_neighbours_in_length_share_a_batch_and_are_cropped_to_its_shortest(files: tuple[ClipFile, ...]) -> None:
    found = epoch(make(files), 0)
    for batch in found:
        assert batch["features"].shape[1] == min(LENGTHS[n] for n in numbers(batch))
    kept = sum(batch["features"].numel() for batch in found)
    assert kept > 0.8 * sum(LENGTHS)


def test_epochs_differ_and_a_seed_repeats_them(files: tuple[ClipFile, ...]) -> None:
    first, again = make(files), make(files)
    orders = []
    for number in range(3):
        ours, theirs = epoch(first, number), epoch(again, number)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one["features"], other["features"])
        orders.append([tuple(numbers(batch)) for batch in ours])
    assert orders[0] != orders[1]
    assert orders[0] != [tuple(numbers(batch)) for batch in epoch(make(files, seed=6), 0)]


def test_an_epoch_does_not_depend_on_the_ones_before_it(files: tuple[ClipFile, ...]) -> None:
    resumed, undisturbed = make(files), make(files)
    for number in range(2):
        epoch(undisturbed, number)
    for one, other in zip(epoch(resumed, 2), epoch(undisturbed, 2), strict=True):
        np.testing.assert_array_equal(one["features"], other["features"])


def test_copies_of_a_clip_draw_views_and_sections_of_their_own(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    """As with corpora that are balanced."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.linspace(0.1, 0.9, 16000, dtype=np.float32), 16000, subtype="FLOAT")
    clip = ClipFile("ramp", str(path), 1.0)
    rest = [files[7]] * 2
    views = Augmentation(views=(View(), View(gain=0.5)))
    made = make((clip, *[clip] * 7, *rest), views, batch_size=10, max_seconds=0.5)
    (alone,) = epoch(make((clip,), views, max_seconds=0.5), 0)
    (batch,) = epoch(made, 0)
    starts = {round(float(value), 6) for value in batch["features"][:, 0]}
    assert len(starts) >= 8
    assert round(float(alone["features"][0, 0]), 6) in starts
    drawn = {made._drawn_view(number, 0).gain for number in range(8)}
    assert drawn == {1.0, 0.5}


def test_all_views_are_trained_on_or_one_is_drawn(files: tuple[ClipFile, ...]) -> None:
    views = (View(), View(gain=0.5))
    everything = epoch(make(files, Augmentation(views=views, use="all")), 0)
    values = Counter(round(float(v), 3) for batch in everything for v in batch["features"][:, 0])
    assert len(everything) == 8
    assert all(values[round((n + 1) / 100, 3)] + values[round((n + 1) / 200, 3)] >= 2 for n in range(len(files)))
    drawn = [epoch(make(files, Augmentation(views=views)), number) for number in range(6)]
    assert {sum(len(batch["features"]) for batch in found) for found in drawn} == {len(files)}
    halves = [
        any(round(float(b["features"][i, 0]) * 200) % 2 for b in found for i in range(len(b["features"])))
        for found in drawn
    ]
    assert any(halves)


def test_windows_are_filled_with_silence_and_longer_clips_are_cut(files: tuple[ClipFile, ...]) -> None:
    settings = LogMelSettings(bands=8, n_fft=512)
    noisy = Augmentation(views=(View(noise=0.1),))
    batches = make(files, noisy, frontend=LogMel(settings), window=40, fill=-100.0)
    for batch in epoch(batches, 0):
        assert batch["features"].shape[1:] == (40, 8)
        silent = (batch["features"] == -100.0).all(dim=2).sum(dim=1)
        assert (silent <= 40 - 20).all()


def test_long_clips_are_trained_on_in_part(files: tuple[ClipFile, ...]) -> None:
    longest = max(batch["features"].shape[1] for batch in epoch(make(files, max_seconds=0.25), 0))
    assert longest == 4000


def test_mixup_mixes_features_and_labels_alike(files: tuple[ClipFile, ...]) -> None:
    found = epoch(make(files, Augmentation(mixup=0.4), batch_size=11, window=3200), 0)
    targets = found[0]["targets"]
    np.testing.assert_allclose(targets.sum(dim=1), 1.0, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()


def test_what_teachers_say_is_mixed_like_labels_and_follows_the_view(files: tuple[ClipFile, ...]) -> None:
    views = (View(), View(gain=0.5))
    # Teachers that always say the label, with another certainty for each view.
    labels = np.eye(2, dtype=np.float32)[np.arange(len(files)) % 2]
    lesson = Lesson(tuple(file.clip for file in files), views, np.stack([labels * 50, -labels * 50]), 1.0, 0.5)

    for batch in epoch(make(files, Augmentation(mixup=0.4, views=views[:1]), lesson=lesson), 0):
        np.testing.assert_allclose(batch["taught"], batch["targets"], atol=1e-6)
    found = epoch(make(files, Augmentation(views=views, use="all"), lesson=lesson, batch_size=1), 0)
    agree = [bool(batch["taught"].argmax() == batch["targets"].argmax()) for batch in found]
    assert Counter(agree) == {True: len(files), False: len(files)}


def test_a_clip_that_cannot_be_read_stops_training_with_its_name(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    broken = (*files, ClipFile("broken", str(tmp_path / "broken.wav"), 0.3))
    with pytest.raises(AudioError, match=r"broken\.wav"):
        epoch(make(broken), 0)


def test_masks_differ_between_epochs(files: tuple[ClipFile, ...]) -> None:
    augmentation = Augmentation(time_masks=1, time_width=8, band_masks=1, band_width=3)
    batches = make(files[:1], augmentation, frontend=LogMel(LogMelSettings(bands=8)), window=20, fill=-100.0)
    first, second = (epoch(batches, number)[0]["features"] for number in (0, 1))
    assert not np.array_equal(first, second)


def test_the_store_gives_the_same_whether_it_remembers_or_not(files: tuple[ClipFile, ...]) -> None:
    frontend = LogMel(LogMelSettings(bands=8))
    remembering, forgetful = FeatureStore(frontend), FeatureStore(frontend, budget=1500)
    view = View(noise=0.1, speed=1.1)
    for _ in range(2):
        for clip in files:
            np.testing.assert_array_equal(remembering.get(clip, view, 3), forgetful.get(clip, view, 3))
    assert len(forgetful.kept) < len(files) == len(remembering.kept)
    assert not np.array_equal(remembering.get(files[0], view, 3), remembering.get(files[0], view, 4))


@pytest.mark.parametrize("use", ["one", "all"])
@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.2, 2.0, 50.0])
def test_a_budget_of_seconds_is_kept_and_nothing_is_lost(files: tuple[ClipFile, ...], seconds: float, use: str) -> None:
    views = (View(speed=0.9), View(), View(speed=1.1))
    batches = make(files, Augmentation(views=views, use=use), batch_seconds=seconds)
    longest = max(LENGTHS) / 16000 / 0.9
    for number in range(3):
        found = epoch(batches, number)
        assert len(found) == len(batches)
        assert sum(len(batch["targets"]) for batch in found) == len(files) * (3 if use == "all" else 1)
        for batch in found:
            assert len(batch["targets"]) >= 1
            assert batch["features"].numel() / 16000 <= max(seconds, longest) + 0.01


def test_the_cost_of_batching_is_reported(files: tuple[ClipFile, ...]) -> None:
    words = make(files).describe()
    assert words.startswith("4 batches per epoch, each of one length: nothing padded, ")
    alone = make(files, batch_size=1).describe()
    assert alone.endswith("0.0 % cropped")
    assert make(files, window=24, frontend=LogMel(LogMelSettings())).describe() == "random windows of 24 frames"


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("window", [None, 3200])
def test_processes_share_out_what_one_would_train_on(
    files: tuple[ClipFile, ...], mixup: float, window: int | None
) -> None:
    # 11 clips in batches of 5, 5 and 1, over 3 processes.
    settings = {"augmentation": Augmentation(mixup=mixup), "batch_size": 5, "window": window}
    whole = epoch(make(files, **settings), 1)
    parts = [epoch(make(files, **settings, share=(rank, 3)), 1) for rank in range(3)]

    assert sorted(len(batch["targets"]) for batch in whole) == [1, 5, 5]
    for number, batch in enumerate(whole):
        assert (batch["clips"], batch["weight"]) == (len(batch["targets"]), 1.0)
        for rank in range(3):
            part = parts[rank][number]
            assert part["clips"] == batch["clips"]
            if len(batch["targets"][rank::3]):
                assert part["weight"] == 1.0
                for name in ("features", "targets"):
                    np.testing.assert_array_equal(part[name], batch[name][rank::3])
            else:
                assert part["weight"] == 0.0
                assert part["features"].shape == batch["features"][:1].shape


def test_closing_ends_the_thread_in_the_middle_of_an_epoch(files: tuple[ClipFile, ...]) -> None:
    before = threading.active_count()
    batches = make(files, batch_size=1)
    running = iter(batches)
    next(running)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before
    assert len(list(batches)) == len(files)


ABANDONED = """
import sys
import numpy as np
import torch
from serlab.frontends.encoders import Waveform
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation
from serlab.training.batches import TrainingBatches
from serlab.training.lesson import Lesson

clips = [ClipFile(str(n), sys.argv[1], 0.2) for n in range(400)]
batches = TrainingBatches(
    FeatureStore(Waveform(do_normalise=False)), clips, np.eye(2, dtype=np.float32)[np.arange(400) % 2],
    augmentation=Augmentation(), batch_size=4, window=None, fill=0.0, max_seconds=8.0, seed=5,
)
make = batches._batch
batches._batch = lambda *args: [make(*args), torch.ones(1500, 1500) @ torch.ones(1500, 1500)][0]
running = iter(batches)
next(running)
raise KeyboardInterrupt
"""


def test_python_exits_cleanly_in_the_middle_of_an_epoch(files: tuple[ClipFile, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED, files[0].path], capture_output=True, text=True, timeout=120
    )
    assert ended.stderr.strip().endswith("KeyboardInterrupt")
    assert ended.returncode == -signal.SIGINT
