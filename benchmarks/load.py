"""Uploads from many connections, one in ten of them hostile: rates, latencies, wrong answers, memory.

``python -m benchmarks.load http://127.0.0.1:8000 --seconds 20 --connections 200`` asks a running
server. A right answer has the code 200 and the probabilities of the first answer for its clip (to
1e-4); 429 and 503 are counted apart, and tried again after ``Retry-After``. A hostile request must
get its code, or a closed connection.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import soundfile

_TIMEOUT_S = 120.0
_TOLERANCE = 1e-4


def clips(count: int = 12) -> list[bytes]:
    """Files of noisy tones of three lengths."""
    found = []
    for number in range(count):
        random = np.random.default_rng(number)
        time_s = np.arange(16000 * (2 + number % 3)) / 16000
        wave = 0.3 * np.sin(2 * np.pi * (120 + 40 * number) * time_s) + 0.03 * random.standard_normal(len(time_s))
        stream = io.BytesIO()
        soundfile.write(stream, wave, 16000, format=("WAV", "FLAC")[number % 2])
        found.append(stream.getvalue())
    return found


def hostile() -> dict[str, tuple[bytes, set[int]]]:
    """Uploads that must be refused, and with which codes."""
    hour = io.BytesIO()
    soundfile.write(hour, np.zeros(3600 * 16000, np.int16), 16000, format="FLAC")
    good = clips(1)[0]
    return {
        "empty": (b"", {400}),
        "wrong type": (b"%PDF-1.7" + bytes(5000), {400}),
        "zip bomb": (b"PK\x03\x04" + zlib.compress(bytes(50_000_000)), {400}),
        "truncated": (good[: len(good) // 2], {400}),
        "one hour": (hour.getvalue(), {413}),
        "30 MB": (bytes(30_000_000), {413}),
    }


class Load:
    """One run of the load.

    Args:
        url: of the server.
        seconds: how long to send, after one answer for each clip.
        token: of the server; empty for none.
    """

    def __init__(self, url: str, seconds: float, token: str = "") -> None:
        self._url, self._seconds, self._until = url.rstrip("/"), seconds, float("inf")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._clips, self._hostile = clips(), hostile()
        self._known: dict[int, list[float]] = {}
        self.codes: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def run(self, connections: int) -> None:
        """Send from so many connections until the time is over."""
        async with httpx.AsyncClient(
            base_url=self._url, timeout=_TIMEOUT_S, headers=self._headers, trust_env=False,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        ) as client:  # fmt: skip
            for number in range(len(self._clips)):
                await self._clip(client, number)
            self.seconds.clear()
            self._until = time.monotonic() + self._seconds
            await asyncio.gather(*(self._sender(client, number) for number in range(connections)))

    async def _sender(self, client: httpx.AsyncClient, number: int) -> None:
        random = np.random.default_rng(number)
        attacks: list[Callable[[], Awaitable[None]]] = [self._disconnect, self._wide_header, self._slow]
        while time.monotonic() < self._until:
            if random.random() >= 0.1:
                await self._clip(client, int(random.integers(len(self._clips))))
                continue
            choice = int(random.integers(len(self._hostile) + len(attacks)))
            if choice < len(self._hostile):
                await self._attack(client, list(self._hostile)[choice])
            else:
                await attacks[choice - len(self._hostile)]()

    async def _clip(self, client: httpx.AsyncClient, number: int) -> None:
        start = time.monotonic()
        while True:
            answer = await self._post(client, self._clips[number])
            if answer is None or answer.status_code not in (429, 503):
                break
            self.codes[str(answer.status_code)] += 1
            if time.monotonic() > self._until:
                return
            await asyncio.sleep(float(answer.headers["retry-after"]) * np.random.default_rng().uniform(0.5, 1.5))
        if answer is None:
            return
        self.codes[str(answer.status_code)] += 1
        if answer.status_code != 200:
            self.wrong[f"a clip had the code {answer.status_code}"] += 1
            return
        self.seconds.append(time.monotonic() - start)
        shares = list(answer.json()["probabilities"].values())
        if np.abs(np.subtract(self._known.setdefault(number, shares), shares)).max() > _TOLERANCE:
            self.wrong["a clip had other probabilities"] += 1

    async def _attack(self, client: httpx.AsyncClient, name: str) -> None:
        content, codes = self._hostile[name]
        answer = await self._post(client, content)
        if answer is None:
            return
        self.codes[f"{answer.status_code} {name}"] += 1
        if answer.status_code not in codes | {429, 503}:
            self.wrong[f"{name} had the code {answer.status_code}"] += 1

    async def _post(self, client: httpx.AsyncClient, content: bytes) -> httpx.Response | None:
        try:
            return await client.post("/v1/predict", files={"file": content})
        except httpx.TransportError as error:
            self.codes[type(error).__name__] += 1
            return None

    async def _raw(self, content: bytes, wait: float) -> None:
        url = httpx.URL(self._url)
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            try:
                writer.write(content)
                await writer.drain()
                if wait:
                    await asyncio.wait_for(reader.read(100), wait)
            finally:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _disconnect(self) -> None:
        self.codes["early disconnect"] += 1
        await self._raw(self._head(90_000) + bytes(30_000), 0)

    async def _wide_header(self) -> None:
        self.codes["10 MB header"] += 1
        await self._raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000_000, 5)

    async def _slow(self) -> None:
        self.codes["slow sender"] += 1
        await self._raw(self._head(90_000) + b"--x", 2)

    def _head(self, length: int) -> bytes:
        return (
            f"POST /v1/predict HTTP/1.1\r\nHost: {httpx.URL(self._url).host}\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        ).encode()


def memory_mb(pid: int) -> float:
    """Resident memory of a process, in 10^6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Run the load, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--pid", type=int, help="of the server, for its memory")
    parser.add_argument("--token", default="")
    args = parser.parse_args()
    load = Load(args.url, args.seconds, args.token)
    before, start = memory_mb(args.pid) if args.pid else None, time.monotonic()
    asyncio.run(load.run(args.connections))
    took = time.monotonic() - start
    found = {
        "seconds": round(took, 1),
        "answers": len(load.seconds),
        "answers_per_second": round(len(load.seconds) / took, 1),
        **{f"p{q}_ms": round(1000 * float(np.percentile(load.seconds, q))) for q in (50, 95, 99) if load.seconds},
        "memory_mb": [round(before), round(memory_mb(args.pid))] if before is not None else None,
        "wrong": dict(load.wrong),
        "codes": dict(sorted(load.codes.items())),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
