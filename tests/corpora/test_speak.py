from __future__ import annotations

import ctypes
import io
import json
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace

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
    """Frequency of the strongest period from 50 to 400 Hz, by the whole clip's autocorrelation."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(speech, 2 * len(speech))) ** 2)
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 50
    return SAMPLE_RATE / (shortest + int(correlation[shortest:longest].argmax()))


@pytest.mark.slow
def test_an_unknown_voice_is_named():
    pytest.importorskip("espeakng_loader")
    done = process(said(REQUEST, voice="xx-nowhere"))
    assert done.returncode != 0
    assert b"no voice 'xx-nowhere'" in done.stderr


class FakeLibrary:
    """espeak-ng's C functions; initialisation returns ``answer``, and speech is 1, 2, 3."""

    def __init__(self, answer: int = SAMPLE_RATE, mute: bool = False) -> None:
        self.answer, self.mute = answer, mute
        self.parameters: dict[int, int] = {}
        self.voices: list[bytes] = []
        self.seeds: list[object] = []

    def functions(self) -> SimpleNamespace:
        return SimpleNamespace(
            espeak_Initialize=self.initialize,
            espeak_SetSynthCallback=lambda callback: setattr(self, "callback", callback),
            espeak_SetVoiceByName=self.set_voice,
            espeak_SetParameter=lambda parameter, value, relative: self.parameters.update({parameter: value}),
            espeak_Synth=self.synthesise,
            espeak_ng_SetRandSeed=self.seeds.append,
            srand=self.seeds.append,
        )

    def initialize(self, output, _length, path, options):
        assert (output, path, options) == (2, b"espeak-ng-data", 0x8000)
        return self.answer

    def set_voice(self, name):
        self.voices.append(name)
        return 0 if name.startswith(b"en") else -1

    def synthesise(self, text, size, *_):
        assert size == len(text) + 1
        if not self.mute:
            self.callback((ctypes.c_short * 3)(1, 2, 3), 3, None)
        self.callback(None, 0, None)
        return 0


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Replace espeak-ng by a fake, so that this process never loads the GPL library."""
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)

    def put(**how) -> FakeLibrary:
        library = FakeLibrary(**how)
        monkeypatch.setattr(speak.ctypes, "CDLL", lambda path: library.functions())
        return library

    return put


def test_every_request_is_answered_with_its_length_and_samples(fake):
    library, out = fake(), io.BytesIO()
    speak.serve([said(REQUEST), "\n", said(REQUEST, pitch=70)], out)
    assert out.getvalue() == b"6\n\1\0\2\0\3\0" * 2
    assert library.voices == [b"en-us+f2"]
    assert library.parameters == {1: 175, 3: 70, 4: 50}


def test_failures_of_espeak_are_reported(fake):
    fake(answer=-1)
    with pytest.raises(RuntimeError, match=r"cannot start .* answered -1"):
        speak.serve([said(REQUEST)], io.BytesIO())
    fake()
    with pytest.raises(RuntimeError, match="no voice 'xx'"):
        speak.serve([said(REQUEST, voice="xx")], io.BytesIO())
    fake(mute=True)
    with pytest.raises(RuntimeError, match=r"could not say 'The door is open\.'"):
        speak.serve([said(REQUEST)], io.BytesIO())
