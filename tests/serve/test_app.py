"""Over HTTP, a real server answers as the library does, and refuses what it should with the stated codes."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO

import httpx
import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

from serlab.model.model import load_model
from serlab.serve.app import STATIC

from .conftest import sound

CLIPS = [sound(seconds, hz=hz) for seconds in (0.5, 0.8, 0.5) for hz in (150, 500, 1500)]
MODELS = ("mfcc-svm", "tiny-resnet")
FORM = "multipart/form-data; boundary=x"
WRONG = [{"model": "x"}, {"abstain": "2"}, {"window": "x"}, {"smoothing": "2"}, {"hop": "nan"}, {"hop": 0.001},
         {"window": 1, "hop": 2},
         {"smoothing": "mean"}, {"stay": 0.5}, {"vad": "ears"}, {"calibrated": "perhaps"},
         {"windw": 3}]  # fmt: skip


def close(probabilities, expected):
    assert list(probabilities) == list(expected)
    assert list(probabilities.values()) == pytest.approx(list(expected.values()), abs=1e-4)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(len(CLIPS))]
    for path, content in zip(paths, CLIPS, strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture(params=MODELS)
def named(request):
    return request.param


def test_single_requests_answer_as_the_library_does(served, tiny_models, files, named):
    expected = load_model(tiny_models[named], precision="fp32").predict(files)
    name = served.names[named]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda clip: served.post(clip, params={"model": name}).json(), CLIPS))
    for answer, prediction in zip(answers, expected, strict=True):
        assert answer["label"] == prediction.label
        close(answer["probabilities"], prediction.probabilities)
        assert answer["model"] == name
        assert set(answer) == {"label", "probabilities", "model", "seconds", "warnings"}


def test_a_batch_answers_in_order_with_errors_in_their_places(served, tiny_models, files, named):
    uploads = [("file", ("x", content)) for content in [*CLIPS, b"no sound"]]
    name = served.names[named]
    results = served.client.post("/v1/predict:batch", files=uploads, params={"model": name}).json()["results"]
    expected = load_model(tiny_models[named], precision="fp32").predict(files)
    assert results.pop() == {"error": "the recording cannot be read: not audio.", "status": 400}
    for answer, prediction in zip(results, expected, strict=True):
        close(answer["probabilities"], prediction.probabilities)


@pytest.mark.parametrize(("form", "rate", "channels"), [("FLAC", 44100, 2), ("OGG", 22050, 1), ("MP3", 48000, 1)])
def test_a_file_s_format_makes_no_difference_to_the_library(served, tiny_models, tmp_path, form, rate, channels):
    stream = BytesIO()
    wave = np.repeat(soundfile.read(BytesIO(sound(1.2, rate)))[0][:, None], channels, axis=1)
    soundfile.write(stream, wave, rate, format=form)
    path = tmp_path / "a"
    path.write_bytes(stream.getvalue())
    answer = served.post(stream.getvalue()).json()
    expected = load_model(tiny_models["mfcc-svm"]).predict(path)
    close(answer["probabilities"], expected.probabilities)
    assert answer["warnings"] == [asdict(one) for one in expected.warnings]


def test_a_long_recording_has_segments_on_request(served, tiny_models, tmp_path):
    content = sound(33)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    model = load_model(tiny_models["mfcc-svm"])
    expected = model.predict(path, window=4, vad="none")
    answer = served.post(content, params={"segments": True, "window": 4, "vad": "none"}).json()
    close(answer["probabilities"], expected.probabilities)
    assert answer["probabilities"]
    assert [(s["start"], s["end"], s["label"]) for s in answer["segments"]] == [
        (s.start, s.end, s.label) for s in expected.segments
    ]
    assert answer["warnings"] == [asdict(one) for one in expected.warnings]
    plain = served.post(content).json()
    assert "segments" not in plain
    assert [one["code"] for one in plain["warnings"]] == ["no-speech"]  # Silero hears none in a tone.
    how = {"window": 2, "hop": 1, "vad": "none", "smoothing": "hmm", "stay": 0.5}
    whole = model.predict(path, **how, calibrated=True)
    answer = served.post(content, params={**how, "calibrated": True}).json()
    close(answer["probabilities"], whole.probabilities)
    assert answer["temperature"] == whole.temperature


def test_calibration_is_the_library_s(served, tiny_models, files, named):
    model, name = load_model(tiny_models[named], precision="fp32"), served.names[named]
    (about,) = (one for one in served.client.get("/v1/models").json()["models"] if one["name"] == name)
    assert about["temperature"] == model.info.temperature
    for content, expected in zip(CLIPS[:3], model.predict(files[:3], calibrated=True), strict=True):
        answer = served.post(content, params={"model": name, "calibrated": True}).json()
        close(answer["probabilities"], expected.probabilities)
        assert answer["temperature"] == expected.temperature


def test_abstaining_is_the_library_s(served, tiny_models, files, named):
    model, name = load_model(tiny_models[named], precision="fp32"), served.names[named]
    (about,) = (one for one in served.client.get("/v1/models").json()["models"] if one["name"] == name)
    assert about["abstains"] or named == "tiny-resnet"  # Its dev answers are hardly better than chance.
    for share in about["abstains"]:
        expected = model.predict(files[:3], abstain=share)
        answers = [served.post(clip, params={"model": name, "abstain": share}).json() for clip in CLIPS[:3]]
        assert [answer["label"] for answer in answers] == [one.label for one in expected]


def test_the_mean_of_segments_summarises_as_predict_does(tiny_models, tmp_path):
    model, path = load_model(tiny_models["mfcc-svm"]), tmp_path / "a.wav"
    path.write_bytes(sound(33))
    found = model.predict(path)
    assert model.summarise(model.segments(path)).probabilities == found.probabilities


UNREADABLE = {
    "empty": (b"", 400),
    "text": (b"hello", 400),
    "zip": (b"PK\x03\x04" + bytes(1000), 400),
    "gzip bomb": (zlib.compress(bytes(10_000_000)), 400),
    "truncated": (sound(2)[:20000], 400),
    "wrong length": (sound(2)[:44] + b"\xff" * 100, 400),
    "flac cut off": (sound(2, form="FLAC")[:9000], 400),
    "silent": (sound(1)[:44] + bytes(32000), 422),
    "short": (sound(0.05), 422),
}


@pytest.fixture(scope="module")
def hour():
    stream = BytesIO()
    soundfile.write(stream, np.zeros(3600 * 8000, np.int16), 8000, format="FLAC")
    return stream.getvalue()


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_answered_has_its_code_and_one_sentence(served, name):
    content, code = UNREADABLE[name]
    answer = served.post(content)
    assert answer.status_code == code, answer.text
    assert re.fullmatch(r"the recording [^/\n]+\.", answer.json()["error"])
    assert "secret-name" not in answer.text


def test_an_hour_in_a_small_file_is_too_long(served, hour):
    assert len(hour) < 500_000
    answer = served.post(hour)
    assert (answer.status_code, answer.json()["error"]) == (413, "the recording is longer than 600 s.")
    assert served.post(CLIPS[0]).status_code == 200


def test_too_large_a_body_is_refused_whether_it_says_so_or_not(started):
    with started(max_mb=0.1) as server:
        assert server.post(bytes(200_000)).status_code == 413

        def parts():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield from (bytes(50_000) for _ in range(8))

        answer = server.client.post(
            "/v1/predict", content=parts(), headers={"content-type": "multipart/form-data; boundary=x"}
        )
        assert answer.status_code == 413
        assert server.service.memory.held == 0


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"nonsense", FORM),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n', FORM),
        (b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\ntext\r\n--x--\r\n', FORM),
    ],
)
def test_a_body_that_is_no_upload_is_refused(served, content, kind):
    answer = served.client.post("/v1/predict", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize("query", WRONG)
def test_an_impossible_option_is_refused(served, query):
    answer = served.post(CLIPS[0], params=query)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")


def test_uploads_never_become_files(served, monkeypatch):
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda _: pytest.fail("an upload became a file"))
    assert served.post(sound(60)).status_code == 200  # About 2 MB; Starlette's own parser writes from 1 MB on.


def test_a_full_queue_says_when_to_come_back(started):
    with started(queue=1, batch=1) as server:
        busy = server.service.pick(None)._batcher
        release, model = threading.Event(), busy._model.results
        busy._model.results = lambda *given, **how: release.wait(20) and model(*given, **how)
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(server.post, CLIPS[0]) for _ in range(6)]
            until = time.monotonic() + 20
            while sum(answer.done() for answer in answers) < 4 and time.monotonic() < until:
                time.sleep(0.02)
            release.set()
        codes = sorted(answer.result().status_code for answer in answers)
        assert codes == [200, 200, 503, 503, 503, 503]
        refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert refused.json() == {"error": "the queue of the model is full; try again in a second."}


def test_a_slow_sender_is_given_up(started):
    with started(timeout=0.5) as server, server.begun(9) as slow:
        slow.settimeout(10)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_slow_answer_is_given_up(started):
    with started(timeout=0.3) as server:
        model = server.service.pick(None).model
        results, release = model.results, threading.Event()
        model.results = lambda *given, **how: release.wait(5) and results(*given, **how)
        answer = server.post(CLIPS[0])
        release.set()
        assert (answer.status_code, answer.json()["error"]) == (504, "the answer takes more than 0.3 s.")
        time.sleep(0.2)
        assert server.post(CLIPS[1]).status_code == 200


def test_an_answer_with_many_segments_does_not_stop_others(started, monkeypatch, slowest):
    with started() as server:
        answer = server.service.answer

        async def longer(*given, **how):
            found = await answer(*given, **how)
            return found | {"segments": list(found["segments"]) * 15_000}

        monkeypatch.setattr(server.service, "answer", longer)
        with slowest(server.url) as seconds:
            found = server.post(CLIPS[0], params={"segments": True, "window": 0.1, "hop": 0.1, "vad": "energy"})
    assert len(found.json()["segments"]) >= 45_000
    assert max(seconds) < 1


def test_without_silero_it_is_refused(started, monkeypatch):
    monkeypatch.setattr("serlab.audio.speech.has_silero", lambda: False)
    with started() as server:
        answers = [
            server.post(CLIPS[0], params={"vad": "silero"}),
            server.client.post("/v1/predict:batch?vad=silero", files=[("file", ("a", CLIPS[0]))] * 2),
        ]
        with connect(f"{server.url.replace('http', 'ws')}/v1/stream") as stream:
            stream.send('{"rate": 16000, "format": "s16", "vad": "silero"}')
            said = {"error": "this server has no speech detector silero; omit vad, or use energy."}
            assert json.loads(stream.recv(timeout=10)) == said
        assert [(answer.status_code, answer.json()) for answer in answers] == [(400, said)] * 2
        assert server.post(CLIPS[0], params={"vad": "energy"}).status_code == 200


def test_full_memory_refuses_uploads(started):
    with started(held_mb=0.01) as server:
        assert server.post(sound(2)).status_code == 503
        assert server.service.memory.held == 0


def test_a_header_of_10_mb_and_an_early_end_do_no_harm(served):
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as wide:
        try:
            wide.sendall(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nX: " + b"a" * 10_000_000)
            said = wide.recv(100)
        except ConnectionError:
            said = b"HTTP/1.1 400"
    assert said.startswith(b"HTTP/1.1 400")
    for _ in range(5):
        with served.begun(90000) as early:
            early.sendall(b"half")
    assert served.post(CLIPS[0]).status_code == 200
    assert served.service.memory.held == 0


def test_headers_that_never_end_close_the_connection(started, monkeypatch):
    from serlab.serve import connection

    monkeypatch.setattr(connection, "_HEADER_S", 0.2)
    with started() as server:
        host, port = server.url.removeprefix("http://").split(":")
        for before in (b"", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
            with socket.create_connection((host, int(port))) as slow:
                slow.settimeout(4)  # Shorter than uvicorn's own limit for idle connections.
                slow.sendall(before + b"GET /healthz HTTP/1.1\r\nX: ")
                while slow.recv(1000):
                    pass
        with connect(f"{server.url.replace('http', 'ws')}/v1/stream") as stream:
            time.sleep(0.6)
            stream.send("{}")
            assert "rate" in stream.recv(timeout=10)


def test_two_files_in_a_single_request(served):
    answer = served.client.post("/v1/predict", files=[("file", ("a", CLIPS[0])), ("file", ("b", CLIPS[0]))])
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the body has more than one file; send several to /v1/predict:batch.",
    )


def test_a_model_is_described_without_the_server_s_paths(served, tiny_models):
    answer = served.client.get("/v1/models")
    first, second = answer.json()["models"]
    assert [first["name"], second["name"]] == list(served.names.values())
    assert first["labels"] == ["calm", "happy", "sad"]
    assert "Acted speech" in first["limits"]
    assert str(tiny_models["mfcc-svm"].parent) not in answer.text


def test_an_unknown_parameter_is_named(served):
    answer = served.post(CLIPS[0], params={"calibratd": "true"})
    assert answer.json()["error"].startswith("unknown parameter 'calibratd'. Known: model, segments, ")


def test_numbers_for_prometheus(served):
    served.post(CLIPS[0])
    text = served.client.get("/metrics").text
    assert re.search(r'serlab_requests_total\{code="200",route="/v1/predict"\} [1-9]', text)
    assert "serlab_in_flight 0.0" in text


def test_the_page_s_files_name_no_other_host():
    names = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css")]
    assert len(names) > 8
    for path in names:
        assert not re.findall(r"(?<!xmlns=\")https?://", path.read_text(encoding="utf-8")), path


def test_a_fault_of_the_server_s_own_says_nothing(served, monkeypatch):
    monkeypatch.setattr(served.service, "answer", None)
    answer = served.post(CLIPS[0])
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its operator can find the reason in its log."}
    monkeypatch.undo()
    assert httpx.get(f"{served.url}/readyz").status_code == 200
