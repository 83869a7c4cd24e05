"""Measures of clips, decoded once and cached."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.recordings.conftest import RATE, silent, take

from serlab.audio import Audio
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.measures import measure
from serlab.corpora.screening import screen
from serlab.recordings.duplicates import find_duplicates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    sounds = {
        "calm/plain": take(1, 0),
        "calm/late": np.concatenate([silent(RATE // 2), take(2, 0)]),
        "calm/loud": np.clip(20 * take(3, 0), -1, 1),
        "sad/constant": np.full(RATE, 0.25, np.float32),
        "sad/silent": silent(RATE),
        "sad/short": take(4, 0)[:2000],
    }
    for name, sound in sounds.items():
        path = tmp_path / "clips" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE)
    (tmp_path / "clips" / "sad" / "broken.wav").write_bytes(b"RIFF1234WAVEnothing")
    return tmp_path / "clips"


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return load_corpus(str(folder))


def test_measures_and_faults(corpus: Corpus) -> None:
    measured = measure(corpus)
    assert measured["sad/silent"].fault == "silent"
    assert measured["sad/broken"].fault
    assert measured["sad/constant"].fault == "silent"
    assert measured["calm/loud"].clipped > 0.01
    assert measured["calm/plain"].clipped == 0
    assert measured["calm/late"].leading == pytest.approx(measured["calm/plain"].leading + 0.5, abs=0.06)
    assert measured["calm/late"].floor < -80 < measured["calm/loud"].level
    assert len(measured["calm/plain"].fingerprint[0]) > 200
    assert measured["sad/short"].fingerprint.shape == (2, 0)


def test_silence_at_the_end_and_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    tone = (0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
    sounds = {"a/tone": tone, "b/between": np.concatenate([silent(RATE // 2), tone, silent(RATE // 2)])}
    for name, sound in sounds.items():
        path = tmp_path / "clips" / f"{name}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, sound, RATE)
    found = measure(load_corpus(str(tmp_path / "clips")))
    assert (found["a/tone"].leading, found["a/tone"].trailing, found["a/tone"].silent) == (0, 0, 0)
    assert found["b/between"].leading == pytest.approx(0.5, abs=0.021)
    assert found["b/between"].trailing == pytest.approx(0.5, abs=0.021)
    assert found["b/between"].silent == pytest.approx(0.5, abs=0.02)


def test_a_clip_is_decoded_once(folder: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    from_file = Audio.from_file
    monkeypatch.setattr(Audio, "from_file", lambda path: (decoded.append(Path(path).name), from_file(path))[1])
    first = measure(corpus)
    assert len(decoded) == 7
    decoded.clear()
    assert measure(corpus).tolist() == first.tolist()
    # Unusable files are read again, because the reason may have been temporary.
    assert sorted(decoded) == ["broken.wav", "constant.wav", "silent.wav"]
    soundfile.write(folder / "calm" / "plain.wav", take(9, 0), RATE)
    decoded.clear()
    assert measure(load_corpus(str(folder)))["calm/plain"] != first["calm/plain"]
    assert "plain.wav" in decoded


def test_a_first_screening_audit_and_search_open_each_file_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for header and hash, once for samples; files that cannot be used are read again each time."""
    for name in ("sad/silent", "sad/constant", "sad/broken"):
        (folder / f"{name}.wav").unlink()
    soundfile.write(folder / "sad" / "plain.wav", take(5, 0), RATE)
    opened: Counter[str] = Counter()
    open_file = Path.open

    def counted(path: Path, *args: Any, **options: Any) -> Any:
        opened[path.name] += path.suffix == ".wav"
        return open_file(path, *args, **options)

    monkeypatch.setattr(Path, "open", counted)
    corpus = load_corpus(str(folder))
    assert screen(corpus) == []
    measure(corpus)
    assert find_duplicates(corpus) == []
    assert +opened == {"plain.wav": 4, "late.wav": 2, "loud.wav": 2, "short.wav": 2}  # There are two files plain.wav.
