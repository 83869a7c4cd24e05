"""Names of models, and warnings about recordings."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from serlab.model.inputs import InputWarning
from serlab.model.prediction import Prediction
from serlab.model.segments import Segment, Segmenter
from serlab.serve.app import About
from serlab.serve.decoders import Decoded
from serlab.serve.faults import RefusedError
from serlab.serve.limits import Limits
from serlab.serve.models import load, warnings_of

SPEECH = 0.1 * np.sin(np.arange(32000) / 10).astype(np.float32)


def decoded(samples=SPEECH, rate=16000, channels=1):
    return Decoded(samples, len(samples) / 16000, rate, channels)


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (decoded(), []),
        (decoded(SPEECH[:8000]), [("short", "it lasts 0.5 s; a sentence of 2 to 5 s works best")]),
        (decoded(rate=8000), [("band", "its sample rate is 8000 Hz, so it has no sound above 4 kHz")]),
        (decoded(0.01 * SPEECH), [("quiet", "its level is -63 dB; speech is usually above -40 dB")]),
        (decoded(np.clip(20 * SPEECH, -1, 1)), [("clipped", "66.7 % of its samples are clipped")]),
        (decoded(channels=2), [("channels", "its 2 channels were averaged")]),
    ],
)
def test_warnings(recording, expected):
    assert warnings_of(recording, Prediction("sad", {"sad": 1.0}), known=False) == [
        InputWarning(*each) for each in expected
    ]


def test_a_model_that_knows_its_training_clips_gives_its_own_warnings_alone():
    long, short = InputWarning("long", "it lasts 9 s"), decoded(SPEECH[:8000])
    assert warnings_of(short, Prediction("sad", {"sad": 1.0}, warnings=(long,)), known=True) == [long]
    assert warnings_of(short, Prediction("sad", {"sad": 1.0}), known=True) == []


def test_a_divided_recording_without_speech_says_so():
    said = Prediction(None, {}, segments=(Segment(0.0, 2.0, None, {}, False),))
    assert [one.code for one in warnings_of(decoded(), said, known=True)] == ["no-speech"]


@pytest.fixture(scope="module")
def twice(tiny_models):
    folder = str(tiny_models["mfcc-svm"])
    found = load([folder, folder], "auto", Limits(), lambda _: None)
    yield found
    for served in found.values():
        served.stop()


def test_a_model_given_twice_has_two_names(twice):
    assert list(twice) == ["mfcc-svm", "mfcc-svm-2"]


def test_a_model_without_thresholds_cannot_abstain_and_names_no_path(twice):
    served = twice["mfcc-svm"]
    served.abstains.clear()
    with pytest.raises(RefusedError) as refused:
        asyncio.run(served.predict(decoded(), 0.1, {}))
    assert refused.value.sentence == "the model mfcc-svm has no thresholds for abstaining; omit abstain."


def test_a_long_recording_that_is_given_up_is_not_heard_to_its_end(twice, monkeypatch):
    served, heard, feed = twice["mfcc-svm"], [], Segmenter.feed
    piece = 10 * 16000

    def slowly(segmenter, samples):
        for start in range(0, len(samples), piece):
            heard.append(start)
            time.sleep(0.2)
            yield from feed(segmenter, samples[start : start + piece])

    monkeypatch.setattr(Segmenter, "feed", slowly)

    async def ask():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await served.predict(decoded(np.tile(SPEECH, 60)), None, {})
        await asyncio.sleep(0.5)

    asyncio.run(ask())
    assert 1 <= len(heard) <= 3


def test_the_shipped_model_is_called_box_and_says_that_its_recall_is_of_other_models():
    found = load([], "fp32", Limits(), lambda _: None)
    (served,) = found.values()
    try:
        assert list(found) == ["box"]
        assert About(**served.about).uar.own is False
    finally:
        served.stop()
