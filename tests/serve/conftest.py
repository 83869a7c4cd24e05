from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from serlab.serve.limits import Limits, Settings
from serlab.serve.server import server
from serlab.serve.service import Service


@dataclass(frozen=True)
class Running:
    """A server in a thread of this process."""

    url: str
    service: Service
    client: httpx.Client

    @property
    def names(self) -> dict[str, str]:
        """Names of the models, by those of ``tiny_models``."""
        return dict(zip(("mfcc-svm", "tiny-resnet"), self.service.models, strict=False))

    def post(self, content: bytes, path: str = "/v1/predict", **how) -> httpx.Response:
        return self.client.post(path, files={"file": ("secret-name.wav", content)}, **how)

    @contextmanager
    def begun(self, length: int, *, path: str = "/v1/predict") -> Iterator[socket.socket]:
        """The connection of an upload of which only the headers have been sent."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
            )
            yield connection


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    service = Service(settings)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        ready = threading.Event()
        found = server(service, ready.set)
        thread = threading.Thread(target=found.run, args=([listening],))
        thread.start()
        assert ready.wait(30)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=30) as client:
                yield Running(url, service, client)
        finally:
            found.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def started(tiny_models: dict[str, Path]) -> Callable[..., object]:
    """Start a server of ``mfcc-svm`` with other limits or settings."""

    def start(*models: str, token: str = "", **limits):
        folders = tuple(str(tiny_models[name]) for name in models or ("mfcc-svm",))
        how = Limits(**{"decoders": 1, **limits})
        return running(Settings(models=folders, precision="fp32", token=token, limits=how))

    return start


@pytest.fixture(scope="session")
def served(started) -> Iterator[Running]:
    """A server of ``mfcc-svm`` and ``tiny-resnet`` with the default limits."""
    with started("mfcc-svm", "tiny-resnet") as found:
        yield found


@pytest.fixture
def slowest():
    """While the block runs, ask a server again and again whether it lives; yields how many seconds each answer took."""

    @contextmanager
    def ask(url: str) -> Iterator[list[float]]:
        seconds, over = [], threading.Event()

        def go() -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
                while not over.wait(0.01):
                    start = time.monotonic()
                    client.get("/healthz")
                    seconds.append(time.monotonic() - start)

        thread = threading.Thread(target=go)
        thread.start()
        try:
            yield seconds
        finally:
            over.set()
            thread.join(60)

    return ask


def sound(seconds: float = 1.0, rate: int = 16000, hz: float = 220.0, form: str = "WAV", **how) -> bytes:
    """A file with a noisy tone."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hz * time) + 0.05 * np.random.default_rng(0).standard_normal(len(time))
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, **how)
    return stream.getvalue()
