"""``serlab listen``: pipes with and without a header, a microphone, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from serlab import load_model

RATE = 16000
HOW = ("--window", "0.5", "--hop", "0.25", "--vad", "none")
OPTIONS = {"window": 0.5, "hop": 0.25, "vad": "none"}


def sound(seconds: float = 2.1) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (9000 * np.sin(2 * np.pi * 150 * (1 + time) * time)).astype("<i2")


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV")
    return stream.getvalue()


@pytest.fixture
def expected(tiny_models):
    return list(load_model(tiny_models["mfcc-svm"]).segments(sound(), RATE, **OPTIONS))


@pytest.fixture
def listen(start_serlab, tiny_models):
    """Listen to bytes on standard input in a separate process."""

    def call(data: bytes, *arguments: object):
        read, write = os.pipe()
        with os.fdopen(read, "rb") as source:
            process = start_serlab("listen", "--model", tiny_models["mfcc-svm"], *arguments, *HOW, stdin=source)
        with os.fdopen(write, "wb") as sink:
            sink.write(data)
        out, err = process.communicate(timeout=120)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err

    return call


def test_a_pipe_of_raw_samples_or_of_a_file_gives_the_segments_of_the_whole(listen, expected):
    samples = sound()
    unknown = bytearray(wav(samples))
    unknown[4:8] = unknown[40:44] = b"\xff" * 4  # as ffmpeg writes a WAV file into a pipe
    for data, how in (
        (samples.tobytes(), ("--raw", "s16", "--rate", RATE)),
        (np.repeat(samples, 2).tobytes(), ("--raw", "s16", "--rate", RATE, "--channels", 2)),
        ((samples.astype("<f4") / 32768).tobytes(), ("--raw", "f32", "--rate", RATE)),
        (wav(samples), ()),
        (bytes(unknown), ()),
    ):
        code, found, err = listen(data, "-", *how)
        assert code == 0, err
        assert [(one["start"], one["end"], one["label"]) for one in found] == [
            (one.start, one.end, one.label) for one in expected
        ]
        for one, other in zip(found, expected, strict=True):
            assert list(one) == ["start", "end", "label", "probabilities", "speech"]
            assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)
        assert "standard input: 2 s of sound; computing took" in err


def test_it_warns_at_its_end_about_sound_unlike_the_training_clips(listen):
    code, found, err = listen((sound() // 100).tobytes(), "-", "--raw", "s16", "--rate", RATE)
    assert code == 0, err
    assert found
    assert "warning: standard input (quiet): its level is -" in err


@pytest.mark.parametrize(
    ("data", "how", "phrase"),
    [
        (wav(sound())[:-9000], (), "standard input ends in the middle: its header says 2.1 s, it holds 1.8 s"),
        (sound().tobytes()[:-1], ("--raw", "s16", "--rate", RATE), "ends in the middle of a sample (1 of 2 bytes)"),
        (b"", (), "standard input is not sound that can be read from a pipe"),
        (b"no sound" * 1000, (), "standard input is not sound that can be read from a pipe"),
        (b"", ("--raw", "s16", "--rate", RATE), "standard input cannot be used: no samples"),
        (b"\1\2", ("--raw", "s16", "--rate", RATE), "standard input cannot be used: shorter than 0.1 s"),
        (np.full(RATE, np.nan, "<f4").tobytes(), ("--raw", "f32", "--rate", RATE), "non-finite samples"),
        (np.full(RATE, 99, "<f4").tobytes(), ("--raw", "f32", "--rate", RATE), "a peak of 99"),
        (b"", ("--raw", "s16", "--rate", 0), "a sample rate of 0 Hz"),
    ],
)
def test_a_pipe_that_is_no_sound_or_ends_in_the_middle(listen, data, how, phrase):
    code, _, err = listen(data, "-", *how)
    assert code == 2
    assert phrase in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.fixture
def raw_pipe(start_serlab, tiny_models):
    """A process that listens to a pipe of samples, and a function that sends some."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source:
        raw = ("-", "--raw", "s16", "--rate", RATE)
        process = start_serlab("listen", "--model", tiny_models["mfcc-svm"], *raw, *HOW, stdin=source)
    with os.fdopen(write, "wb", buffering=0) as sink, process:
        yield process, lambda samples: sink.write(samples.tobytes())


def test_ctrl_c_ends_with_the_last_window(raw_pipe, tiny_models):
    process, send = raw_pipe
    send(sound()[: RATE // 2])
    assert json.loads(process.stdout.readline())["end"] == 0.5
    send(sound()[RATE // 2 : 3 * RATE // 4])
    assert json.loads(process.stdout.readline())["end"] == 0.75
    send(sound()[3 * RATE // 4 : 7 * RATE // 8])
    time.sleep(0.5)  # The pipe is empty then.
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (last,) = [json.loads(line) for line in out.splitlines()]
    model = load_model(tiny_models["mfcc-svm"])
    *_, expected = model.segments(sound()[: 7 * RATE // 8], RATE, **OPTIONS)
    assert (last["start"], last["end"], last["label"]) == (0.375, 0.875, expected.label)
    assert "standard input: 1 s of sound; computing took" in err
    assert "resumes" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize("samples", [0, 500])
def test_ctrl_c_before_any_sound_is_no_error(raw_pipe, samples):
    process, send = raw_pipe
    send(sound()[:samples])
    # The model is loaded when it waits for sound.
    status = Path(f"/proc/{process.pid}/wchan")
    for _ in range(600):
        if not status.exists() or "pipe" in status.read_text():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


class Microphone:
    """Stands in for the module sounddevice: a microphone that hears ``sound()`` at once."""

    class PortAudioError(Exception):
        """As sounddevice's."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    def query_devices(self, device, kind):
        if device == "absent":
            raise ValueError("No input device matching 'absent'")
        return {"default_samplerate": float(RATE)}

    @contextmanager
    def InputStream(self, *, samplerate, blocksize, device, channels, dtype, callback):  # noqa: N802
        assert (samplerate, blocksize, channels, dtype) == (RATE, RATE // 10, 1, "float32")
        for start in range(0, len(self.samples), blocksize):
            buffer = self.samples[start : start + blocksize, None].copy()
            callback(buffer, len(buffer), None, "overflow" if start == 0 else "")
            buffer[:] = 9  # PortAudio uses its buffer again.
        yield SimpleNamespace()


@pytest.fixture
def speak(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", Microphone((sound() / 32768).astype(np.float32)))


def test_a_microphone(serlab, tiny_models, speak, expected):
    ended = serlab("listen", "--model", tiny_models["mfcc-svm"], *HOW, "--seconds", 2.1)
    assert ended.code == 0, ended.err
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [(one["end"], one["label"]) for one in found] == [(one.end, one.label) for one in expected]
    assert "the microphone lost sound (overflow)" in ended.err
    shown = serlab("listen", "--model", tiny_models["mfcc-svm"], *HOW, "--seconds", 1, "--format", "live")
    assert shown.out.splitlines() == [f"{one.start:.1f}-{one.end:.1f} s  {one.label}" for one in expected[:3]]


def test_a_terminal_shows_the_latest_segment(serlab, tiny_models, speak, expected, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    ended = serlab("listen", "--model", tiny_models["mfcc-svm"], *HOW, "--seconds", 1)
    assert ended.code == 0
    assert f"0.5-1.0 s  {expected[2].label}" in ended.out
    assert all(label in ended.out for label in expected[0].probabilities)


@pytest.mark.parametrize(
    ("arguments", "code", "phrase"),
    [
        (["--microphone", "absent"], 3, "the microphone cannot be used: No input device matching 'absent'"),
        (["-", "--raw", "s16"], 2, "--raw and --rate belong together"),
        (["-", "--raw", "mp3", "--rate", "8000"], 2, "--raw mp3 is not one of s16, s32, f32, u8"),
        (["-", "--raw", "s16", "--rate", "8000", "--channels", "0"], 2, "--channels 0 is not between 1 and 8"),
        (["-", "--channels", "2"], 2, "--channels is for --raw"),
        (["--raw", "s16", "--rate", "8000"], 2, "--raw is for standard input"),
        (["-", "--microphone", "1"], 2, "--microphone contradicts -"),
        (["a.wav"], 2, "use serlab predict for files"),
        (["--seconds", "0"], 2, "--seconds 0 is not above 0"),
        (["--format", "csv"], 2, "--format csv is not one of live, jsonl"),
        (["--window", "99"], 2, "--window 99.0 is not between"),
    ],
)
def test_what_cannot_be(serlab, tiny_models, speak, arguments, code, phrase):
    ended = serlab("listen", "--model", tiny_models["mfcc-svm"], *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert phrase in ended.sentence


def test_without_sounddevice_it_says_what_to_install(serlab, tiny_models, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    ended = serlab("listen", "--model", tiny_models["mfcc-svm"])
    assert ended.code == 3
    assert "pip install 'serlab[listen]'" in ended.sentence


def test_without_portaudio_it_says_that_pip_does_not_install_it(serlab, tiny_models, monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    ended = serlab("listen", "--model", tiny_models["mfcc-svm"])
    assert ended.code == 3
    assert "PortAudio library not found" in ended.sentence
    assert "apt install libportaudio2" in ended.sentence
    assert "pip" not in ended.sentence
