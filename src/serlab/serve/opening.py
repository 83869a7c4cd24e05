"""The first message of a stream: its fields, and what they may be."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from serlab.model.segments import SegmentOptions
from serlab.serve.faults import RefusedError

KINDS = {"s16": "<i2", "s32": "<i4", "f32": "<f4", "u8": "u1"}
"""Types of samples."""

_NUMBER, _TEXT = (int, float), (str,)
_DIVISION = ("window", "hop", "vad", "smoothing", "stay")
_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "rate": ((int,), "a whole number"),
    "format": (_TEXT, "a text"),
    "channels": ((int,), "a whole number"),
    "model": (_TEXT, "a name"),
    "abstain": (_NUMBER, "a number"),
    "calibrated": ((bool,), "true or false"),
    "window": (_NUMBER, "a number"),
    "hop": (_NUMBER, "a number"),
    "vad": (_TEXT, "a name"),
    "smoothing": ((int, str), "a whole number or hmm"),
    "stay": (_NUMBER, "a number"),
}
_LONGEST = 100
_MOST_SHOWN = 40


@dataclass(frozen=True)
class Opening:
    """What a stream asks for.

    Attributes:
        rate: of the samples, in Hz.
        kind: of the samples.
        channels: 1 to 8.
        model: its name; None for the first one.
        abstain, calibrated: as for :meth:`serlab.Model.stream`.
        how: options of the division.
    """

    rate: int
    kind: np.dtype[Any]
    channels: int
    model: str | None
    abstain: float | None
    calibrated: bool
    how: SegmentOptions

    @property
    def size(self) -> int:
        """Bytes of a sample of all channels."""
        return self.kind.itemsize * self.channels

    @classmethod
    def read(cls, message: str | bytes) -> Opening:
        """Check the first message of a stream.

        Raises:
            RefusedError: it is not a JSON object, or a field is missing, unknown, or of another type.
        """
        said = _object(message)
        for name, value in said.items():
            if name not in _FIELDS:
                raise RefusedError(400, f"unknown field {name[:_MOST_SHOWN]!r}. Known: {', '.join(_FIELDS)}.")
            kinds, what = _FIELDS[name]
            if type(value) not in kinds or (isinstance(value, str) and len(value) > _LONGEST) or not _is_finite(value):
                raise RefusedError(400, f"{name} is not {what}.")
        if "rate" not in said:
            raise RefusedError(400, "rate is missing; give the sample rate in Hz.")
        if said.get("format") not in KINDS:
            raise RefusedError(400, f"format is missing or unknown; expected {', '.join(KINDS)}.")
        if not 1 <= said.get("channels", 1) <= 8:
            raise RefusedError(400, "channels is not between 1 and 8.")
        how: Any = {name: said[name] for name in _DIVISION if name in said}
        return cls(
            said["rate"], np.dtype(KINDS[said["format"]]), said.get("channels", 1), said.get("model"),
            said.get("abstain"), said.get("calibrated", False), how,
        )  # fmt: skip


def _object(message: str | bytes) -> dict[str, Any]:
    """The fields that have a value; null counts as omitted."""
    try:
        said = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise RefusedError(400, "the first message is not a JSON object with rate and format.")
    return {name: value for name, value in said.items() if value is not None or name not in _FIELDS}


def _is_finite(value: object) -> bool:
    try:
        return not isinstance(value, (int, float)) or math.isfinite(value)
    except OverflowError:
        return False
