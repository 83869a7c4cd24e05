"""Limits of the service. Every default is safe for a machine with 8 GB of memory."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from serlab.core import UserError, argument

LANES = 2
"""Divided recordings that a model predicts at the same time."""

LEAST_HOP = 0.1
"""Smallest hop that a request may ask for, in seconds: it limits the segments of a recording."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all of them together, may cost.

    Attributes:
        max_mb: size of a request's body, in 10^6 bytes.
        max_seconds: decoded length of a recording.
        in_flight: requests that are received or answered at the same time.
        queue: clips that wait for a model.
        held_mb: bodies and decoded recordings in memory, in 10^6 bytes.
        timeout: seconds to receive a request, and again to answer it.
        decoders: processes that decode.
        decode_seconds: time of a decoder for one recording.
        decode_mb: memory of a decoder, in 10^6 bytes.
        batch: clips of equal length that are scored together.
        batch_files: recordings in one request to ``/v1/predict:batch``.
        streams: WebSocket streams at the same time.
        stream_seconds: length of a stream.

    Raises:
        UserError: a limit is not above zero.
    """

    max_mb: float = 25.0
    max_seconds: float = 600.0
    in_flight: int = 64
    queue: int = 128
    held_mb: float = 512.0
    timeout: float = 120.0
    decoders: int = 2
    decode_seconds: float = 20.0
    decode_mb: float = 2000.0
    batch: int = 16
    batch_files: int = 64
    streams: int = 8
    stream_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"{argument(field.name, value)} is not above 0.")

    @property
    def body_bytes(self) -> int:
        """Largest body."""
        return round(self.max_mb * 1e6)

    @property
    def held_bytes(self) -> int:
        """Most bytes of bodies and samples in memory."""
        return round(self.held_mb * 1e6)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server process needs to know; it travels to worker processes as JSON.

    Attributes:
        models: model folders; without one, the model that serlab ships.
        precision: of predictions.
        token: what requests must send as ``Authorization: Bearer``; empty for none.
        local: whether only this machine may ask, so that other host names are refused.
        limits: see there.
    """

    models: tuple[str, ...] = ()
    precision: str = "auto"
    token: str = ""
    local: bool = True
    limits: Limits = Limits()

    def as_json(self) -> str:
        """The settings as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that :meth:`as_json` wrote."""
        found = json.loads(text)
        return cls(**found | {"models": tuple(found["models"]), "limits": Limits(**found["limits"])})
