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
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from serlab.audio import AudioError
from serlab.core import SerlabError
from serlab.serve.faults import RefusedError
from serlab.serve.service import Service

if TYPE_CHECKING:
    from serlab.model.segments import Segment
    from serlab.model.stream import Stream
    from serlab.serve.models import Served

KINDS = {"s16": "<i2", "s32": "<i4", "f32": "<f4", "u8": "u1"}
"""Types of samples."""

_OPTIONS = ("window", "hop", "vad", "smoothing", "stay")
_WRONG, _BUSY, _TOO_LONG = 1008, 1013, 1009


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
    finally:
        service.streams -= 1


async def _refuse(socket: WebSocket, code: int, sentence: str) -> None:
    try:
        await socket.send_json({"error": sentence})
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):
        pass  # The sender is gone.


@dataclass(frozen=True)
class _Form:
    """What the samples are."""

    rate: int
    kind: np.dtype[Any]
    channels: int

    @classmethod
    def of(cls, said: dict[str, Any]) -> _Form:
        rate, kind, channels = said.get("rate"), said.get("format"), said.get("channels", 1)
        if not isinstance(rate, int) or isinstance(rate, bool):
            raise RefusedError(400, "rate is missing or no whole number; give the sample rate in Hz.")
        if not isinstance(kind, str) or kind not in KINDS:
            raise RefusedError(400, f"format is missing or unknown; expected {', '.join(KINDS)}.")
        if channels not in range(1, 9):
            raise RefusedError(400, "channels is not between 1 and 8.")
        return cls(rate, np.dtype(KINDS[kind]), int(channels))

    @property
    def size(self) -> int:
        """Bytes of a sample of all channels."""
        return self.kind.itemsize * self.channels


class _Session:
    """One stream."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._rest = b""
        self._count = 0
        self._found: list[Segment] = []

    async def run(self) -> None:
        said = await self._first()
        form = _Form.of(said)
        served = self._service.pick(said.get("model"))
        stream = await self._in_thread(self._opened, said, form, served)
        while True:
            message = await self._next()
            if isinstance(message, str):
                if not _is_end(message):
                    raise RefusedError(400, 'expected samples, or {"end": true}.')
                break
            await self._feed(message, form, stream)
        if self._rest:
            raise RefusedError(400, f"the stream ends in the middle of a sample ({len(self._rest)} bytes too many).")
        await self._tell(await self._in_thread(stream.flush))
        calibrated = said.get("calibrated", False)
        whole = served.model.summarise(self._found, abstain=said.get("abstain"), calibrated=calibrated)
        temperature = {} if whole.temperature is None else {"temperature": whole.temperature}
        await self._socket.send_json(
            {
                "end": True,
                "label": whole.label,
                "probabilities": whole.probabilities,
                "model": served.name,
                "seconds": round(self._count / form.rate, 3),
                "warnings": [asdict(one) for one in stream.warnings],
            }
            | temperature
        )
        await self._socket.close()

    def _opened(self, said: dict[str, Any], form: _Form, served: Served) -> Stream:
        abstain, calibrated = said.get("abstain"), said.get("calibrated", False)
        if not isinstance(calibrated, bool):
            raise RefusedError(400, "calibrated is neither true nor false.")
        how = {name: said[name] for name in _OPTIONS if name in said}
        served.check(abstain, calibrated=calibrated)
        try:
            return served.model.stream(form.rate, abstain=abstain, calibrated=calibrated, **how)
        except TypeError:
            raise RefusedError(400, "an option of the first message has the wrong type.") from None

    async def _first(self) -> dict[str, Any]:
        message = await self._next()
        try:
            said = json.loads(message)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(message, str) or not isinstance(said, dict):
            raise RefusedError(400, "the first message is not a JSON object with rate and format.")
        if not isinstance(said.get("model", ""), str):
            raise RefusedError(400, "model is not a name.")
        return said

    async def _next(self) -> str | bytes:
        async with asyncio.timeout(self._service.limits.timeout):
            message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def _feed(self, message: bytes, form: _Form, stream: Stream) -> None:
        held = self._rest + message
        whole = len(held) // form.size * form.size
        self._rest = held[whole:]
        self._count += whole // form.size
        if self._count > self._service.limits.stream_seconds * form.rate:
            raise RefusedError(413, f"the stream is longer than {self._service.limits.stream_seconds:g} s.")
        if whole:
            piece: NDArray[Any] = np.frombuffer(held[:whole], form.kind).reshape(-1, form.channels)
            await self._tell(await self._in_thread(stream.feed, piece))

    async def _tell(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._found.append(segment)
            await self._socket.send_json(asdict(segment))

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._service.threads, work, *arguments)


def _is_end(message: str) -> bool:
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("end") is True
