"""Speech in memory: every part is heard once per epoch, in batches of one length, the same after a kill."""

from __future__ import annotations

import os
import shutil
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import UserError
from serlab.corpora.unlabelled import Speech, find_speech
from serlab.training.speech import SpeechBatches, listen


def batches(lengths: list[int], **how: object) -> SpeechBatches:
    parts = [np.full(length, 1 + number, np.float16) for number, length in enumerate(lengths)]
    settings = {"batch_size": 3, "speeds": (1.0,), "max_seconds": 8.0, "seed": 0} | how
    return SpeechBatches(parts, **settings)  # type: ignore[arg-type]


@given(st.lists(st.integers(2000, 4000), min_size=1, max_size=20), st.integers(1, 7))
def test_every_part_is_heard_once_per_epoch(lengths: list[int], batch_size: int) -> None:
    made = batches(lengths, batch_size=batch_size)
    heard = [*made.epoch(3)]
    assert len(heard) == len(made)
    assert sorted(value for batch in heard for value in batch[:, 0]) == list(range(1, len(lengths) + 1))
    for batch in heard:
        assert batch.shape[1] == min(lengths[int(value) - 1] for value in batch[:, 0])


def test_an_epoch_can_start_anywhere_and_differs_from_others() -> None:
    made = batches(list(range(2000, 4000, 100)), speeds=(0.9, 1.0, 1.1))
    whole, again = [*made.epoch(0)], [*batches(list(range(2000, 4000, 100)), speeds=(0.9, 1.0, 1.1)).epoch(0)]
    assert all(np.array_equal(one, other) for one, other in zip(whole, again, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(whole[2:], made.epoch(0, start=2), strict=True))
    assert any(one.shape != other.shape for one, other in zip(whole, made.epoch(1), strict=True))


def test_a_speed_changes_length_and_pitch() -> None:
    time = np.arange(16_000) / 16_000
    sound = np.sin(2 * np.pi * 400 * time).astype(np.float16)
    made = SpeechBatches([sound], batch_size=1, speeds=(1.25,), max_seconds=8.0, seed=0)
    (batch,) = made.epoch(0)
    assert batch.shape == (1, 12_800)
    assert np.abs(np.fft.rfft(batch[0].astype(float))).argmax() * 16_000 / 12_800 == 500


def test_a_closed_epoch_ends_its_threads() -> None:
    made = batches([2000] * 300, batch_size=2)
    sounds = made.epoch(0)
    assert len(list(islice(sounds, 2))) == 2
    sounds.close()


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "some speech"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, seconds in (("a", 1.0), ("b", 2.5), ("copy of a", 1.0)):
        wave = random.normal(0, 0.1, round(8000 * seconds)) if name[0] != "c" else None
        if wave is None:
            (folder / f"{name}.wav").write_bytes((folder / "a.wav").read_bytes())
        else:
            soundfile.write(folder / f"{name}.wav", wave, 8000)
    (folder / "damaged.wav").write_bytes((folder / "b.wav").read_bytes()[:500])
    (folder / "notes.txt").write_text("not speech")
    return folder


def test_recordings_are_cut_heard_once_and_listed_if_they_cannot_be_used(recordings: Path) -> None:
    heard = listen([find_speech(str(recordings))], 1.0, "decoding")
    assert sorted(map(len, heard.parts)) == [13_333, 13_333, 13_334, 16_000]
    assert heard.hours == pytest.approx(3.5 / 3600)
    assert [entry.clip for entry in heard.excluded] == ["damaged.wav"]
    assert "damaged.wav" not in heard.sources[0].heard()["sha256"]


@pytest.mark.skipif(sys.platform == "darwin", reason="every name is UTF-8 there")
def test_a_recording_whose_name_is_not_utf8_is_listed(recordings: Path) -> None:
    odd = os.fsencode(recordings) + b"/\xff.wav"
    shutil.copy(recordings / "a.wav", odd)
    found = find_speech(str(recordings))
    assert set(found.clips["clip"]) == {"a.wav", "b.wav", "copy of a.wav", "damaged.wav"}
    assert [entry.reason for entry in found.excluded] == ["its name is not UTF-8; rename it"]
    assert (found.excluded[0].clip, found.excluded[0].path) == ("\\xff.wav", str(recordings / "\\xff.wav"))


def test_speech_is_named_by_folder_and_never_by_path(recordings: Path) -> None:
    heard = find_speech(str(recordings)).heard()
    assert heard["name"] == "some speech"
    assert heard["sha256"].keys() == {"a.wav", "b.wav", "copy of a.wav", "damaged.wav"}
    assert str(recordings) not in repr(heard)


def test_the_speakers_of_a_corpus_are_named() -> None:
    clips = pd.DataFrame({"clip": ["x"], "path": ["x.wav"], "duration": [3600.0], "sha256": ["a"], "speaker": ["s1"]})
    assert Speech.of("mine", clips).heard() == {
        "name": "mine", "clips": 1, "hours": 1.0, "speakers": ["s1"], "sha256": {"x": "a"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere/at-all", "there is no known corpus or folder of speech"), ("ravdes", "no known corpus or folder")],
)
def test_a_missing_folder_is_an_error(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_speech(name)


def test_a_file_is_not_a_folder(recordings: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; give a folder of speech"):
        find_speech(str(recordings / "a.wav"))


def test_no_usable_speech_is_an_error(recordings: Path) -> None:
    for name in ("a", "b", "copy of a"):
        (recordings / f"{name}.wav").unlink()
    with pytest.raises(UserError, match=r"no speech to pretrain on \(first: damaged.wav: "):
        listen([find_speech(str(recordings))], 1.0, "decoding")
