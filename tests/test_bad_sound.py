"""Sound that cannot be used, on every way into a model: one clear error, or no label; never a confident one."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serlab import Model, SerlabError, load_model
from serlab.inference.live import Listening, Raw, pipe
from serlab.sklearn import SpeechEmbedding, SpeechEmotionClassifier

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 16000
NOTHING = "no label"
"""The sound is accepted, and nothing is said about it."""


def tone(seconds: float = 0.5) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 150 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def with_(value: float) -> np.ndarray:
    sound = tone()
    sound[99] = value
    return sound


def hiss(peak: float) -> np.ndarray:
    return (peak * np.random.default_rng(0).uniform(-1, 1, RATE // 2)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tiny_models: dict[str, Path]) -> Model:
    return load_model(tiny_models["mfcc-svm"])


@pytest.fixture(scope="module")
def classifier(model: Model) -> SpeechEmotionClassifier:
    """A fitted classifier with the same model."""
    from serlab.sklearn.kept import KeptModel

    made = SpeechEmotionClassifier(sample_rate=RATE)
    kept = KeptModel("auto")
    kept.folder = model.folder
    made.classes_, made._kept = np.array(model.labels), kept
    return made


# (name, samples, sample rate, phrase of a call with a whole array, phrase of a stream if another)
ARRAYS: list[tuple[str, Any, Any, str, str]] = [
    ("empty", np.zeros(0, np.float32), RATE, "no samples", ""),
    ("empty list", [], RATE, "no samples", ""),
    ("one sample", np.ones(1, np.float32) / 2, RATE, "shorter than 0.1 s", ""),
    ("NaN", with_(np.nan), RATE, "non-finite samples", ""),
    ("infinite", with_(-np.inf), RATE, "non-finite samples", ""),
    ("float16 overflow", with_(np.inf).astype(np.float16), RATE, "non-finite samples", ""),
    ("float64 overflow", with_(0.0).astype(float) * 1e300, RATE, "non-finite samples", ""),
    ("unscaled", tone() * 32768, RATE, "a peak of 9830.*expected floating-point samples within -1 to 1", ""),
    ("peak of 9", with_(-9), RATE, "a peak of 9", ""),
    ("silence", np.zeros(RATE, np.float32), RATE, NOTHING, ""),
    ("silent int16", np.zeros(RATE, np.int16), RATE, NOTHING, ""),
    ("silent uint8", np.full(RATE, 128, np.uint8), RATE, NOTHING, ""),
    ("silence with an offset", np.full(RATE, 0.25, np.float32), RATE, NOTHING, ""),
    ("dither", hiss(1 / 32768), RATE, NOTHING, ""),
    ("0 Hz", tone(), 0, "a sample rate of 0 Hz, not within 8000 to 192000 Hz", ""),
    ("negative rate", tone(), -16000, "a sample rate of -16000 Hz", ""),
    ("half a Hz", tone(), 16000.5, "expected a whole number of Hz", ""),
    ("rate as text", tone(), "16 kHz", "expected a whole number of Hz", ""),
    ("rate as a flag", tone(), True, "expected a whole number of Hz", ""),
    ("rate in kHz", tone(), 16, "a sample rate of 16 Hz", ""),
    ("no rate", tone(), None, "sample_rate is missing", "expected a whole number of Hz"),
    ("int64", np.ones(RATE, np.int64), RATE, "samples of type int64; expected floating point or integers", ""),
    ("flags", np.ones(RATE, bool), RATE, "samples of type bool", ""),
    ("complex", tone().astype(complex), RATE, "samples of type complex128", ""),
    ("text", np.array(["a"] * RATE), RATE, "samples of type <U1", ""),
    ("objects", tone().astype(object), RATE, "samples of type object", ""),
    ("ragged", [[0.1, 0.2], [0.3]], RATE, "not an array of numbers", ""),
    ("9 channels", np.stack([tone()] * 9), RATE, r"an array of shape \(9, 8000\); expected", r"a piece of shape"),
    ("8 x 8", np.zeros((8, 8), np.float32), RATE, r"an array of shape \(8, 8\); expected", "shorter than 0.1 s"),
    ("three axes", tone()[None, :, None], RATE, r"an array of shape \(1, 8000, 1\); expected", "a piece of shape"),
    ("a single number", np.float32(0.5), RATE, "an array of shape|expected", "a piece of shape"),
    ("None", None, RATE, "type object; expected|type NoneType; expected a path or an array", ""),
]
IDS = [case[0] for case in ARRAYS]


def labels_of(found: Any) -> list[Any]:
    """Labels in a result, whatever its form; with probabilities, if there is no label."""
    items = found if isinstance(found, list) else [found]
    return [item.label if item.label is not None or not item.probabilities else item.probabilities for item in items]


def predict(model: Model, sound: Any, rate: Any) -> list[Any]:
    return labels_of(model.predict(sound, rate))


def in_a_list(model: Model, sound: Any, rate: Any) -> list[Any]:
    first, second = labels_of(model.predict([sound, sound], rate))
    assert first == second
    return [first]


def divided(model: Model, sound: Any, rate: Any) -> list[Any]:
    return labels_of(list(model.segments(sound, rate, vad="none")))


def streamed(model: Model, sound: Any, rate: Any) -> list[Any]:
    stream = model.stream(rate, vad="none")
    return labels_of([*stream.feed(sound), *stream.flush()])


def check(call: Callable[[], list[Any]], phrase: str) -> None:
    if phrase == NOTHING:
        assert set(call()) == {None}
        return
    with pytest.raises(SerlabError, match=phrase) as error:
        call()
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize("way", [predict, in_a_list, divided])
@pytest.mark.parametrize(("name", "sound", "rate", "phrase", "_"), ARRAYS, ids=IDS)
def test_an_array(model, way, name, sound, rate, phrase, _):
    if isinstance(sound, list) and way is predict:
        pytest.skip("a list is many clips")
    check(lambda: way(model, sound, rate), phrase)


@pytest.mark.parametrize(("name", "sound", "rate", "whole", "piece"), ARRAYS, ids=IDS)
def test_a_stream(model, name, sound, rate, whole, piece):
    check(lambda: streamed(model, sound, rate), piece or whole)


@pytest.mark.parametrize(("name", "sound", "rate", "phrase", "_"), ARRAYS, ids=IDS)
def test_scikit_learn(classifier, name, sound, rate, phrase, _):
    phrase = "no speech" if phrase == NOTHING else phrase
    for transform in (classifier.set_params(sample_rate=rate).predict, SpeechEmbedding(sample_rate=rate).transform):
        embeds = transform != classifier.predict
        wanted = "silent" if embeds and phrase == "no speech" else phrase
        with pytest.raises(SerlabError, match=wanted) as error:
            transform([sound])
        assert str(error.value).endswith(".")


def test_channels_may_be_first_or_last_and_a_stream_takes_them_last(model):
    stereo = np.stack([tone(), np.zeros_like(tone())])
    first, last = model.predict(stereo, RATE), model.predict(stereo.T, RATE)
    assert first == last
    check(lambda: streamed(model, stereo, RATE), r"a piece of shape \(2, 8000\); expected \(samples,\)")
    assert streamed(model, stereo.T, RATE) == [last.label]
    stream = model.stream(RATE)
    stream.feed(stereo.T)
    check(lambda: labels_of(stream.feed(tone())), "a piece with 1 channels after pieces with 2")


def header(rate: int, channels: int = 1, length: int = 16000) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", len(body) + length) + body


def wav(samples: np.ndarray, path: Path, subtype: str = "FLOAT") -> None:
    soundfile.write(path, samples, RATE, subtype=subtype)


# (name, how to make the file, phrase)
FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("empty", lambda path: path.write_bytes(b""), "empty file"),
    ("text", lambda path: path.write_text("no sound at all"), "not audio"),
    ("no samples", lambda path: wav(np.zeros(0), path), "no samples"),
    ("one sample", lambda path: wav(np.ones(1) / 2, path), "shorter than 0.1 s"),
    ("NaN", lambda path: wav(with_(np.nan), path), "non-finite samples"),
    ("infinite", lambda path: wav(with_(np.inf), path), "non-finite samples"),
    ("unscaled", lambda path: wav(tone() * 32768, path), "a peak of 9830"),
    ("silence", lambda path: wav(np.zeros(RATE), path, "PCM_16"), NOTHING),
    ("0 Hz", lambda path: path.write_bytes(header(0) + bytes(16000)), "damaged: its header has no sample rate"),
    ("16 Hz", lambda path: path.write_bytes(header(16) + bytes(16000)), "a sample rate of 16 Hz"),
    ("9 channels", lambda path: path.write_bytes(header(RATE, 9, 18000) + bytes(18000)), "9 channels, more than 8"),
    ("truncated", lambda path: path.write_bytes(header(RATE) + bytes(999)), "truncated: header says 0.5 s"),
    ("a folder", lambda path: path.mkdir(), "a folder, not a file"),
    ("a pipe", os.mkfifo, "not a regular file"),
    ("missing", lambda path: None, "no such file"),
]


@pytest.mark.parametrize(("name", "make", "phrase"), FILES, ids=[case[0] for case in FILES])
def test_a_file(model, classifier, serlab, tmp_path, name, make, phrase):
    path = tmp_path / "sound.wav"
    make(path)
    check(lambda: predict(model, path, None), phrase)
    check(lambda: in_a_list(model, str(path), None), phrase)
    check(lambda: divided(model, path, None), phrase)
    classifier.set_params(sample_rate=None)
    for transform in (classifier.predict, SpeechEmbedding(cache=False).transform):
        with pytest.raises(SerlabError, match="silent|no speech" if phrase == NOTHING else phrase):
            transform([path])
    ended = serlab("predict", "--model", model.folder, path, "--format", "csv")
    assert ended.code in (1, 2)
    assert len(ended.out.splitlines()) <= 1  # Nothing but the names of the columns.
    assert str(path) in ended.err
    assert "Traceback" not in ended.err
    if phrase == NOTHING:
        assert ended.err == f"left out: {path} (silent)\n"


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (np.zeros(RATE, "<f4").tobytes(), NOTHING),
        (tone().tobytes()[:-1], "ends in the middle of a sample"),
        (with_(np.nan).tobytes(), "non-finite samples"),
        ((tone() * 32768).tobytes(), "a peak of"),
        (tone().tobytes()[:4], "shorter than 0.1 s"),
        (b"", "no samples"),
    ],
    ids=["silence", "middle", "NaN", "unscaled", "one sample", "empty"],
)
def test_a_pipe(model, data, phrase):
    def listen() -> list[Any]:
        with pipe(io.BytesIO(data), Raw("f32", RATE)) as live:
            return labels_of(list(Listening(live, model.stream(RATE, vad="none")).segments()))

    check(listen, phrase)
