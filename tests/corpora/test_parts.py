"""Clips that are parts of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlab.corpora import load_corpus
from serlab.corpora.parts import cut


@pytest.fixture
def turns(tmp_path, monkeypatch):
    """One recording of 6 s whose k-th second has the constant level k/10, and a table of five turns."""
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    wave = np.repeat(np.arange(6) / 10, 16000) + 0.01 * np.sin(np.arange(96000))
    soundfile.write(tmp_path / "call.wav", wave, 16000, subtype="PCM_24")
    table = pd.DataFrame(
        {
            "file": "call.wav",
            "start": [f"0 days 00:00:0{second}.250000" for second in range(5)],
            "end": [f"0 days 00:00:0{second}.750000" for second in range(5)],
            "speaker": ["a", "b", "a", "b", "c"],
            "emotion": ["happy", "sad", "happy", "sad", "sad"],
        }
    )
    table.to_csv(tmp_path / "turns.csv", index=False)
    return tmp_path / "turns.csv"


def test_each_turn_is_a_clip(turns):
    corpus = load_corpus(str(turns))
    clips = corpus.clips
    assert clips["clip"].tolist() == [f"call-000{second}250-000{second}750" for second in range(5)]
    assert clips["duration"].tolist() == [0.5] * 5
    assert corpus.copy == "parts of the user's own 16,000 Hz WAV files"
    for second, path in enumerate(clips["path"]):
        samples, rate = soundfile.read(path)
        assert rate == 16000
        assert samples.mean() == pytest.approx(second / 10, abs=1e-3)
    assert clips["sha256"].nunique() == 5


def test_parts_are_cut_once_and_anew_if_the_recording_changes(turns):
    first = load_corpus(str(turns))
    times = [Path(path).stat().st_mtime_ns for path in first.clips["path"]]
    again = load_corpus(str(turns))
    assert again.fingerprint == first.fingerprint
    assert [Path(path).stat().st_mtime_ns for path in again.clips["path"]] == times
    soundfile.write(turns.parent / "call.wav", 0.1 * np.sin(np.arange(96001)), 16000, subtype="PCM_24")
    other = load_corpus(str(turns))
    assert not set(other.clips["sha256"]) & set(first.clips["sha256"])


def test_a_recording_that_cannot_be_read_is_not_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    parts = np.array([[0.0, 1.0], [1.0, 2.0]])
    assert cut([str(path)] * 2, parts, ["0" * 64] * 2, "cutting") == [str(path)] * 2
    assert cut([str(path)] * 2, parts, [""] * 2, "cutting") == [str(path)] * 2
