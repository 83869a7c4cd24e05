"""``WS /v1/stream``: samples in, segments out.

The first message is JSON: ``rate`` (Hz) and ``format`` (``s16``, ``s32``, ``f32`` or ``u8``,
little-endian), and optionally ``channels``, ``model``, ``abstain``, ``calibrated``, ``window``, ``hop``, ``vad``,
``smoothing`` and ``stay``. Binary messages follow, of any size, then ``{"end": true}``. The server sends each
segment as JSON as soon as it is final, and at the end ``{"end": true, ...}`` with the mean and with warnings about
the whole.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from serlab.audio import AudioError
from serlab.core import SerlabError
from serlab.serve.faults import FAILED, RefusedError, log
from serlab.serve.opening import Opening
from serlab.serve.service import Service

if TYPE_CHECKING:
    from serlab.model.segments import Segment
    from serlab.model.stream import Stream
    from serlab.serve.models import Served

_WRONG, _BUSY, _TOO_LONG, _FAILED = 1008, 1013, 1009, 1011


async def answer(socket: WebSocket, service: Service) -> None:
    """Answer one stream, to its end."""
    await socket.accept()
    if service.streams >= service.limits.streams:
        await _refuse(socket, _BUSY, "too many streams at the same time; try again in a second.")
        return
    service.streams += 1
    try:
        await _Session(socket, service).run()
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        await _refuse(socket, _WRONG, f"nothing came for {service.limits.timeout:g} s.")
    except AudioError as error:
        await _refuse(socket, _WRONG, f"the sound cannot be used: {error.reason}.")
    except RefusedError as refused:
        await _refuse(socket, _TOO_LONG if refused.code == 413 else _WRONG, refused.sentence)
    except SerlabError as error:
        await _refuse(socket, _WRONG, str(error))
    except Exception as error:
        log(error)
        await _refuse(socket, _FAILED, FAILED)
    finally:
        service.streams -= 1


async def _refuse(socket: WebSocket, code: int, sentence: str) -> None:
    try:
        await socket.send_json({"error": sentence})
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):
        pass  # The sender is gone.


class _Session:
    """One stream."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._rest = b""
        self._count = 0
        self._found: list[Segment] = []

    async def run(self) -> None:
        asked = Opening.read(await self._next())
        served = self._service.pick(asked.model)
        served.check(asked.abstain, asked.how, calibrated=asked.calibrated)
        stream = await self._in_thread(self._opened, asked, served)
        while True:
            message = await self._next()
            if isinstance(message, str):
                if not _is_end(message):
                    raise RefusedError(400, 'expected samples, or {"end": true}.')
                break
            await self._feed(message, asked, stream)
        if self._rest:
            raise RefusedError(400, f"the stream ends in the middle of a sample ({len(self._rest)} bytes too many).")
        await self._tell(await self._in_thread(stream.flush))
        whole = served.model.summarise(self._found, abstain=asked.abstain, calibrated=asked.calibrated)
        temperature = {} if whole.temperature is None else {"temperature": whole.temperature}
        await self._socket.send_json(
            {
                "end": True,
                "label": whole.label,
                "probabilities": whole.probabilities,
                "model": served.name,
                "seconds": round(self._count / asked.rate, 3),
                "warnings": [asdict(one) for one in stream.warnings],
            }
            | temperature
        )
        await self._socket.close()

    def _opened(self, asked: Opening, served: Served) -> Stream:
        return served.model.stream(asked.rate, abstain=asked.abstain, calibrated=asked.calibrated, **asked.how)

    async def _next(self) -> str | bytes:
        async with asyncio.timeout(self._service.limits.timeout):
            message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def _feed(self, message: bytes, asked: Opening, stream: Stream) -> None:
        held = self._rest + message
        whole = len(held) // asked.size * asked.size
        self._rest = held[whole:]
        self._count += whole // asked.size
        if self._count > self._service.limits.stream_seconds * asked.rate:
            raise RefusedError(413, f"the stream is longer than {self._service.limits.stream_seconds:g} s.")
        if whole:
            piece: NDArray[Any] = np.frombuffer(held[:whole], asked.kind).reshape(-1, asked.channels)
            await self._tell(await self._in_thread(stream.feed, piece))

    async def _tell(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._found.append(segment)
            await self._socket.send_json(asdict(segment))
            await asyncio.sleep(0)  # Sending does not wait as long as the socket's buffer has room.

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._service.threads, work, *arguments)


def _is_end(message: str) -> bool:
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("end") is True
