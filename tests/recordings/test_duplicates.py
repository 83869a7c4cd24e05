"""Copies of a corpus are remembered, for as long as its sounds are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from tests.recordings.conftest import RATE, take

from serlab.corpora import load_corpus
from serlab.recordings import duplicates as module
from serlab.recordings.duplicates import find_duplicates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("sad", "glad"):
        (tmp_path / label).mkdir()
        for voice in range(3):
            soundfile.write(tmp_path / label / f"{voice}.wav", take(voice + 3 * (label == "sad"), 0), RATE)
    soundfile.write(tmp_path / "glad" / "again.flac", take(4, 0), RATE)
    return tmp_path


def test_duplicates_are_searched_for_once_and_again_when_a_sound_is_another(folder: Path, monkeypatch) -> None:
    pair = [("glad/again", "sad/1")]
    assert [tuple(sorted(found)) for found in find_duplicates(load_corpus(str(folder)))] == pair
    searched = []
    search = module.same_recordings
    monkeypatch.setattr(module, "same_recordings", lambda *given: searched.append(1) or search(*given))
    assert [tuple(sorted(found)) for found in find_duplicates(load_corpus(str(folder)))] == pair
    assert not searched
    soundfile.write(folder / "glad" / "again.flac", take(9, 0), RATE)
    assert find_duplicates(load_corpus(str(folder))) == []
    assert searched


def test_files_of_the_same_bytes_are_one_recording_however_short_and_however_many(folder: Path) -> None:
    (folder / "glad" / "again.flac").unlink()
    short = take(20, 0)[: RATE // 4]
    for number in range(3):
        soundfile.write(folder / "glad" / f"short{number}.wav", short, RATE)
    assert find_duplicates(load_corpus(str(folder))) == [
        (f"glad/short{a}", f"glad/short{b}") for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    for number in range(101):
        soundfile.write(folder / "sad" / f"many{number:03d}.wav", take(30, 0), RATE)
    found = {pair for pair in find_duplicates(load_corpus(str(folder))) if "many" in pair[0]}
    assert found == {(f"sad/many{number:03d}", f"sad/many{number + 1:03d}") for number in range(100)}
