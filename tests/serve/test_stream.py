"""The WebSocket stream gives the segments of the whole recording, and refuses what it cannot use."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from io import BytesIO

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from serlab.model.model import load_model
from serlab.model.segments import Segment
from serlab.model.stream import Stream

from .conftest import sound


@pytest.fixture
def talk(served):
    """Send messages; return what comes back, and the code at the end."""

    def call(*messages):
        found = []
        with connect(f"{served.url.replace('http', 'ws')}/v1/stream") as socket:
            try:
                for message in messages:
                    socket.send(message if isinstance(message, bytes) else json.dumps(message))
                while True:
                    found.append(json.loads(socket.recv(timeout=20)))
            except ConnectionClosed as closed:
                while True:
                    try:
                        found.append(json.loads(socket.recv(timeout=1)))
                    except ConnectionClosed:
                        return found, closed.rcvd.code

    return call


@pytest.mark.parametrize(("rate", "kind", "dtype"), [(16000, "s16", "int16"), (44100, "f32", "float32")])
def test_segments_are_those_of_the_recording(talk, served, tiny_models, tmp_path, rate, kind, dtype):
    content = sound(6.5, rate, subtype="PCM_16")
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    model = load_model(tiny_models["mfcc-svm"])
    expected = list(model.segments(path, window=2, vad="none"))
    samples = soundfile.read(BytesIO(content), dtype=dtype)[0].tobytes()
    pieces = [samples[at : at + 9999] for at in range(0, len(samples), 9999)]
    found, code = talk({"rate": rate, "format": kind, "window": 2, "vad": "none"}, *pieces, {"end": True})
    assert code == 1000
    *segments, end = found
    assert [(s["start"], s["end"], s["label"]) for s in segments] == [(s.start, s.end, s.label) for s in expected]
    for segment, other in zip(segments, expected, strict=True):
        assert list(segment["probabilities"].values()) == pytest.approx(list(other.probabilities.values()), abs=1e-4)
    whole = model.summarise(expected)
    assert (end["end"], end["label"], end["seconds"]) == (True, whole.label, 6.5)
    assert list(end["probabilities"].values()) == pytest.approx(list(whole.probabilities.values()), abs=1e-4)
    assert "temperature" not in end
    assert end["warnings"] == [asdict(one) for one in model.predict(path, window=2, vad="none").warnings]


def test_a_calibrated_stream_is_the_library_s(talk, tiny_models):
    model = load_model(tiny_models["mfcc-svm"])
    samples = soundfile.read(BytesIO(sound(3, 16000, subtype="PCM_16")), dtype="int16")[0]
    how = {"calibrated": True, "window": 1, "vad": "none", "smoothing": "hmm", "stay": 0.5}
    (*_, end), _ = talk({"rate": 16000, "format": "s16", **how}, samples.tobytes(), {"end": True})
    expected = model.predict(samples, 16000, **how)
    assert (end["temperature"], end["label"]) == (expected.temperature, expected.label)
    assert list(end["probabilities"].values()) == pytest.approx(list(expected.probabilities.values()), abs=1e-4)


START = {"rate": 16000, "format": "f32"}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([b"samples"], "the first message is not a JSON object with rate and format."),
        ([[1]], "the first message is not a JSON object with rate and format."),
        ([{"format": "s16"}], "rate is missing; give the sample rate in Hz."),
        ([{**START, "rate": "fast"}], "rate is not a whole number."),
        ([{**START, "rate": True}], "rate is not a whole number."),
        ([{**START, "rate": 10**400}], "rate is not a whole number."),
        ([{"rate": 16000}], "format is missing or unknown; expected s16, s32, f32, u8."),
        ([{**START, "channels": 9}], "channels is not between 1 and 8."),
        ([{**START, "rate": 5}], "the sound cannot be used: a sample rate of 5 Hz, not within 8000 to 192000 Hz."),
        ([{**START, "model": "x"}], "unknown model 'x'. Known: "),
        ([{**START, "format": ["f32"]}], "format is not a text."),
        ([{**START, "channels": 2.0}], "channels is not a whole number."),
        ([{**START, "model": ["x"]}], "model is not a name."),
        ([{**START, "windw": 3}], "unknown field 'windw'. Known: rate, format, channels, model, abstain, "),
        ([{**START, "window": "x"}], "window is not a number."),
        ([{**START, "window": math.nan}], "window is not a number."),
        ([{**START, "hop": True}], "hop is not a number."),
        ([{**START, "hop": 1 / 16000}], "hop=6.25e-05 is below 0.1 seconds, the least that a server takes."),
        ([{**START, "vad": ["silero"]}], "vad is not a name."),
        ([{**START, "vad": "x" * 1000}], "vad is not a name."),
        ([{**START, "vad": "ears"}], "unknown speech detector 'ears'"),
        ([{**START, "smoothing": [1]}], "smoothing is not a whole number or hmm."),
        ([{**START, "smoothing": 3.0}], "smoothing is not a whole number or hmm."),
        ([{**START, "calibrated": 1}], "calibrated is not true or false."),
        ([{**START, "abstain": "0.1"}], "abstain is not a number."),
        ([{**START, "abstain": 7}], "abstain=7 "),
        ([{**START, "window": 99}], "window=99 is not between 0.1 and 60 seconds."),
        ([START, {"end": False}], 'expected samples, or {"end": true}.'),
        ([START, b"123", {"end": True}], "the stream ends in the middle of a sample (3 bytes too many)."),
        ([START, {"end": True}], "the sound cannot be used: no samples."),
        ([START, np.full(10, np.nan, "<f4").tobytes()], "the sound cannot be used: non-finite samples."),
    ],
)
def test_a_stream_that_cannot_be_used_ends_with_one_sentence(talk, messages, sentence):
    found, code = talk(*messages)
    assert found[-1]["error"].startswith(sentence)
    assert code == 1008


def test_null_is_as_good_as_nothing(talk):
    start = {**START, **dict.fromkeys(("channels", "model", "abstain", "calibrated", "window", "vad", "smoothing"))}
    found, code = talk(start, np.full(4000, 0.1, "<f4").tobytes(), {"end": True})
    assert (code, found[-1]["seconds"]) == (1000, 0.25)


def test_a_fault_of_the_server_s_own_closes_with_1011_and_is_logged_without_its_message(talk, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Stream, "feed", fail)
    found, code = talk(START, bytes(400))
    assert (found, code) == ([{"error": "the server failed; its operator can find the reason in its log."}], 1011)
    (said,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert said.startswith("internal error: ZeroDivisionError in fail, line ")
    assert "secret" not in caplog.text


def test_many_segments_at_once_do_not_stop_other_answers(talk, served, monkeypatch, slowest):
    many = [Segment(float(at), at + 1.0, None, {}, False) for at in range(20_000)]
    feed = Stream.feed
    monkeypatch.setattr(Stream, "feed", lambda *given: [*feed(*given), *many])
    with slowest(served.url) as seconds:
        found, code = talk(START, bytes(64000), {"end": True})
    assert (code, len(found)) == (1000, 20_002)
    assert max(seconds) < 1


def test_a_sender_that_leaves_frees_its_place(served):
    for _ in range(served.service.limits.streams + 2):
        with connect(f"{served.url.replace('http', 'ws')}/v1/stream") as socket:
            socket.send(json.dumps(START))
            socket.send(np.zeros(1000, "<f4").tobytes())
    with connect(f"{served.url.replace('http', 'ws')}/v1/stream") as socket:
        socket.send(json.dumps({**START, "rate": 0}))
        assert "sample rate" in socket.recv(timeout=20)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://other.example"},  # Chromium sends no Sec-Fetch-Site here.
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
)
def test_other_sites_cannot_open_a_stream(served, headers):
    with pytest.raises(Exception, match="403"):
        connect(f"{served.url.replace('http', 'ws')}/v1/stream", additional_headers=headers)


def test_the_server_s_own_pages_can_open_a_stream(served):
    with connect(f"{served.url.replace('http', 'ws')}/v1/stream", origin=served.url) as socket:
        socket.send("{}")
        assert "rate" in socket.recv(timeout=20)
