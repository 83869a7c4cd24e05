"""Live audio: the segments equal those of the whole recording for any pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serlab import load_model
from serlab.audio import AudioError
from serlab.core import UserError

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")


@pytest.fixture(scope="module")
def models(tiny_models):
    return {name: load_model(tiny_models[name], precision="fp32") for name in NAMES}


def sound(seconds: float, rate: int) -> np.ndarray:
    """A tone that gets higher, with a pause."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 150 * (1 + time) * time)
    return np.where((time > 0.8) & (time < 1.6), 0, tone) + 1e-6 * np.random.default_rng(0).normal(size=len(time))


@settings(max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_the_same_segments_whatever_the_pieces(models, name, data):
    rate = data.draw(st.sampled_from([8000, 16000, 44100]))
    kind = data.draw(st.sampled_from([np.float32, np.float64, np.int16, np.int32]))
    seconds = data.draw(st.sampled_from([0.2, 0.55, 2.5]))
    how = {
        "window": data.draw(st.sampled_from([0.4, 0.5])),
        "hop": data.draw(st.sampled_from([0.13, 0.4])),
        "vad": data.draw(st.sampled_from(["none", "energy"])),
        "smoothing": data.draw(st.sampled_from([1, 3, "hmm"])),
    }
    samples = sound(seconds, rate)
    if np.issubdtype(kind, np.integer):
        samples = samples * np.iinfo(kind).max
    samples = samples.astype(kind)
    if data.draw(st.booleans()):
        samples = np.stack([samples, samples], axis=1)
    expected = list(models[name].segments(samples, rate, **how))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=20)))
    stream = models[name].stream(rate, **how)
    found = [one for piece in np.split(samples, cuts) for one in stream.feed(piece)]
    found += stream.flush()
    assert [(one.start, one.end, one.label, one.speech) for one in found] == [
        (one.start, one.end, one.label, one.speech) for one in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_a_segment_comes_with_its_last_sample(models):
    stream = models["mfcc-svm"].stream(16000, window=0.5, hop=0.25, vad="none")
    samples = sound(1, 16000)
    assert stream.feed(samples[:7999]) == []
    (first,) = stream.feed(samples[7999:8000])
    assert (first.start, first.end) == (0, 0.5)
    assert stream.feed(samples[8000:11999]) == []
    assert len(stream.feed(samples[11999:12000])) == 1


def test_a_bad_piece_is_refused_and_the_stream_continues(models):
    model, samples = models["mfcc-svm"], sound(1, 16000).astype(np.float32)
    stream = model.stream(16000, window=0.5)
    found = stream.feed(samples[:8000])
    for bad, why in (
        ([np.nan], "non-finite samples"),
        ([np.inf], "non-finite samples"),
        ([8.5], "a peak of 8.5"),
        (np.zeros((4, 2)), "2 channels after pieces with 1"),
        (np.zeros((2, 9)), "a piece of shape"),
        (np.ones(3, np.int64), "int64"),
        (["a"], "cannot be used"),
    ):
        with pytest.raises(AudioError, match=why) as caught:
            stream.feed(bad)
        assert "\n" not in str(caught.value)
    found += [*stream.feed([]), *stream.feed(samples[8000:]), *stream.flush()]
    assert found == list(model.segments(samples, 16000, window=0.5))
    for again in (lambda: stream.feed(samples), stream.flush):
        with pytest.raises(UserError, match="was flushed"):
            again()


def test_streams_of_nothing(models):
    for pieces, why in (([], "no samples"), ([[]], "no samples"), ([[0.5]], r"shorter than 0\.1 s")):
        stream = models["mfcc-svm"].stream(16000)
        for piece in pieces:
            assert stream.feed(piece) == []
        with pytest.raises(AudioError, match=why):
            stream.flush()
    silent = models["mfcc-svm"].stream(16000)
    (one,) = [*silent.feed(np.zeros(16000, np.float32)), *silent.flush()]
    assert (one.label, one.probabilities, one.speech) == (None, {}, False)
    for rate in (0, -1, 44100.5, "fast"):
        with pytest.raises(AudioError, match="a sample rate of"):
            models["mfcc-svm"].stream(rate)
