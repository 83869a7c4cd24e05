"""``serlab serve`` as a process: its address, its orderly end, and what is said if it cannot start."""

from __future__ import annotations

import builtins
import json
import shutil
import signal
import socket
import sys
import time

import httpx
import pytest

from serlab.serve.limits import Limits, Settings

from .conftest import sound

CLIP = sound(0.5)


@pytest.fixture
def process(start_serlab, tiny_models):
    """Start the command; return the process and its address, or the process alone if it ends."""
    started = []

    def start(*arguments, **how):
        found = start_serlab("serve", *arguments, **how)
        started.append(found)
        return found, found.stdout.readline().strip()

    yield start
    for found in started:
        found.kill()
        found.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_answers_what_it_accepted_before_it_ends(process, tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)
    found, address = process(folder, "--port", "0")
    assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}
    shutil.rmtree(folder)  # The model is in memory.
    before = httpx.post(f"{address}/v1/predict", files={"file": CLIP}, timeout=30)
    assert before.status_code == 200
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(f"{address}/v1/predict", content=b"--\0secret", headers=form).status_code == 400
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as early:
        early.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n".encode())
        early.sendall(f"Content-Type: {form['content-type']}\r\n\r\n--x".encode())

    request = httpx.Request("POST", f"{address}/v1/predict", files={"file": CLIP})
    body = request.read()
    with socket.create_connection((host, int(port))) as half:
        half.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
            + body[:1000]
        )
        time.sleep(0.3)
        found.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError):  # It accepts nothing more.
            socket.create_connection((host, int(port)))
        half.sendall(body[1000:])
        half.settimeout(30)
        answer = b""
        while piece := half.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == before.json()
    out, err = found.communicate(timeout=30)
    assert (found.returncode, out, err) == (0, "", "loading …\npress Ctrl-C to stop.\n")


def test_several_workers_share_one_address_and_their_numbers(process, tiny_models, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # Nothing answers there.
    monkeypatch.setenv("no_proxy", "")
    found, address = process(tiny_models["mfcc-svm"], "--port", "0", "--workers", "2", "--decoders", "1")
    monkeypatch.undo()
    for _ in range(6):
        with httpx.Client(base_url=address, timeout=30) as client:
            assert client.post("/v1/predict", files={"file": CLIP}).status_code == 200
    assert 'serlab_requests_total{code="200",route="/v1/predict"} 6.0' in httpx.get(f"{address}/metrics").text
    found.send_signal(signal.SIGTERM)
    assert found.communicate(timeout=30)[0] == ""
    assert found.returncode == 0


def test_a_port_that_is_taken(serlab, tiny_models):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = serlab("serve", tiny_models["mfcc-svm"], "--port", port)
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        f"serlab: --port {port} is used by another program; give another port, or 0 for any free one."
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-folder"], "no-such-folder"),
        (["--port", "70000"], "--port 70000 is not between 0 and 65535."),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 is not an address of this machine"),
        (["--workers", "0"], "--workers 0 is not above 0."),
        (["--queue", "0"], "--queue 0 is not above 0."),
        (["--timeout", "nan"], "--timeout nan is not above 0."),
        (["--token-file", "missing"], "--token-file missing cannot be read; expected one line of text."),
    ],
)
def test_what_cannot_be_served(serlab, arguments, sentence):
    ended = serlab("serve", *arguments, *([] if "--port" in arguments else ["--port", "0"]))
    assert ended.code == 2
    assert ended.out == ""
    assert sentence in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_a_token_file_without_a_token(serlab, tmp_path):
    (tmp_path / "token").write_text("\n")
    ended = serlab("serve", "--token-file", tmp_path / "token")
    assert ended.sentence == f"--token-file {tmp_path / 'token'} is empty; expected one line of text."


def test_without_the_extra_one_sentence_says_how_to_install_it(monkeypatch, serlab, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **how):
        if name == "fastapi":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return real(name, *rest, **how)

    monkeypatch.setattr(builtins, "__import__", without)
    ended = serlab("serve", tmp_path)
    assert ended.code == 3
    assert (
        "the service needs fastapi, which is not installed; install it with pip install 'serlab[serve]'." in ended.err
    )


def test_settings_reach_worker_processes():
    settings = Settings(models=("a", "b"), token="x", local=False, limits=Limits(max_mb=1.5, batch=3))
    assert Settings.from_json(settings.as_json()) == settings


def test_the_demo_opens_a_browser(monkeypatch, serlab, capfd):
    import webbrowser

    from serlab.serve import server

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)

    def fake(settings, *, host, port, workers, opened):
        assert (host, port, workers, settings.local, settings.models) == ("127.0.0.1", 0, 1, True, ("box",))
        opened("http://127.0.0.1:1")

    monkeypatch.setattr(server, "run", fake)
    ended = serlab("demo", "box")
    assert (ended.code, ended.out, opened) == (0, "http://127.0.0.1:1\n", ["http://127.0.0.1:1"])
