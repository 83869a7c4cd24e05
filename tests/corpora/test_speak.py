from __future__ import annotations

import ctypes
import io
import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from serlab.corpora import speak
from serlab.corpora.speak import SAMPLE_RATE, Request

REQUEST = Request(text="The door is open.", voice="en-us+f2", pitch=50, range=50, rate=175)


def answers(stream: bytes) -> list[np.ndarray]:
    pipe = io.BytesIO(stream)
    return [np.frombuffer(pipe.read(int(head)), "<i2") for head in iter(pipe.readline, b"")]


def process(*lines: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "serlab.corpora.speak"]
    return subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=False)


def said(request: Request, **changes) -> str:
    return json.dumps(asdict(request) | changes)


@pytest.mark.slow
def test_it_speaks_and_obeys():
    pytest.importorskip("espeakng_loader")
    done = process(said(REQUEST), "", said(REQUEST, rate=300), said(REQUEST, voice="en+m1", pitch=20))
    assert done.returncode == 0, done.stderr
    usual, fast, low = answers(done.stdout)
    assert 0.6 * SAMPLE_RATE < len(usual) < 2 * SAMPLE_RATE
    assert len(fast) < 0.75 * len(usual)
    assert pitch(low) < 100 < 150 < pitch(usual)


def pitch(speech: np.ndarray) -> float:
    librosa = pytest.importorskip("librosa")
    return float(np.median(librosa.yin(speech / 32768, fmin=50, fmax=400, sr=SAMPLE_RATE)))


@pytest.mark.slow
def test_an_unknown_voice_is_named():
    pytest.importorskip("espeakng_loader")
    done = process(said(REQUEST, voice="xx-nowhere"))
    assert done.returncode != 0
    assert b"no voice 'xx-nowhere'" in done.stderr


class FakeLibrary:
    """espeak-ng's C functions, with ``answer`` for what it starts with; it speaks 1, 2, 3."""

    def __init__(self, answer: int = SAMPLE_RATE, mute: bool = False) -> None:
        self.answer, self.mute = answer, mute
        self.parameters: dict[int, int] = {}
        self.voices: list[bytes] = []

    def espeak_Initialize(self, output, _length, path, options):
        assert (output, path, options) == (2, b"espeak-ng-data", 0x8000)
        return self.answer

    def espeak_SetSynthCallback(self, callback):
        self.callback = callback

    def espeak_SetVoiceByName(self, name):
        self.voices.append(name)
        return 0 if name.startswith(b"en") else -1

    def espeak_SetParameter(self, parameter, value, relative):
        assert relative == 0
        self.parameters[parameter] = value

    def espeak_Synth(self, text, size, *_):
        assert size == len(text) + 1
        chunk = (ctypes.c_short * 3)(1, 2, 3)
        if not self.mute:
            self.callback(chunk, 3, None)
        self.callback(None, 0, None)
        return 0


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Put a fake in espeak-ng's place, so that this process never loads the GPL library."""
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)

    def put(**how) -> FakeLibrary:
        library = FakeLibrary(**how)
        monkeypatch.setattr(speak.ctypes, "CDLL", lambda path: library)
        return library

    return put


def test_every_request_is_answered_with_its_length_and_samples(fake):
    library, out = fake(), io.BytesIO()
    speak.serve([said(REQUEST), "\n", said(REQUEST, pitch=70)], out)
    assert out.getvalue() == b"6\n\1\0\2\0\3\0" * 2
    assert library.voices == [b"en-us+f2"]
    assert library.parameters == {1: 175, 3: 70, 4: 50}


def test_failures_of_espeak_are_told(fake):
    fake(answer=-1)
    with pytest.raises(RuntimeError, match=r"cannot start .* answered -1"):
        speak.serve([said(REQUEST)], io.BytesIO())
    fake()
    with pytest.raises(RuntimeError, match="no voice 'xx'"):
        speak.serve([said(REQUEST, voice="xx")], io.BytesIO())
    fake(mute=True)
    with pytest.raises(RuntimeError, match=r"could not say 'The door is open\.'"):
        speak.serve([said(REQUEST)], io.BytesIO())
