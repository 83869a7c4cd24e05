"""What is heard in a clip, decoded once and remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.recordings.conftest import RATE, silent, take

from serlab.audio import Audio
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.recordings.listening import listen


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
    heard = listen(corpus)
    assert heard["sad/silent"].fault == "silent"
    assert heard["sad/broken"].fault
    assert heard["sad/constant"].fault == "silent"
    assert heard["calm/loud"].clipped > 0.01
    assert heard["calm/plain"].clipped == 0
    assert heard["calm/late"].leading == pytest.approx(heard["calm/plain"].leading + 0.5, abs=0.06)
    assert heard["calm/late"].floor < -80 < heard["calm/loud"].level
    assert len(heard["calm/plain"].fingerprint[0]) > 200
    assert heard["sad/short"].fingerprint.shape == (2, 0)


def test_a_clip_is_decoded_once(folder: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    from_file = Audio.from_file
    monkeypatch.setattr(Audio, "from_file", lambda path: (decoded.append(Path(path).name), from_file(path))[1])
    first = listen(corpus)
    assert len(decoded) == 7
    decoded.clear()
    assert listen(corpus).tolist() == first.tolist()
    # What cannot be used is looked at again: the reason may have been the moment's.
    assert sorted(decoded) == ["broken.wav", "constant.wav", "silent.wav"]
    soundfile.write(folder / "calm" / "plain.wav", take(9, 0), RATE)
    decoded.clear()
    assert listen(load_corpus(str(folder)))["calm/plain"] != first["calm/plain"]
    assert "plain.wav" in decoded
