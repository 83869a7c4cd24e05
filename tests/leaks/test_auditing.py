"""Copies of a corpus are remembered, for as long as its sounds are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from tests.leaks.conftest import RATE, take

from serlab.corpora import load_corpus
from serlab.leaks import auditing, copies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("sad", "glad"):
        (tmp_path / label).mkdir()
        for voice in range(3):
            soundfile.write(tmp_path / label / f"{voice}.wav", take(voice + 3 * (label == "sad"), 0), RATE)
    soundfile.write(tmp_path / "glad" / "again.flac", take(4, 0), RATE)
    return tmp_path


def test_copies_are_searched_for_once_and_again_when_a_sound_is_another(folder: Path, monkeypatch) -> None:
    pair = [("glad/again", "sad/1")]
    assert [tuple(sorted(found)) for found in copies(load_corpus(str(folder)))] == pair
    searched = []
    search = auditing.same_recordings
    monkeypatch.setattr(auditing, "same_recordings", lambda *given: searched.append(1) or search(*given))
    assert [tuple(sorted(found)) for found in copies(load_corpus(str(folder)))] == pair
    assert not searched
    soundfile.write(folder / "glad" / "again.flac", take(9, 0), RATE)
    assert copies(load_corpus(str(folder))) == []
    assert searched
