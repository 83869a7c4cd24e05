"""The ledger of a results folder: one JSON line for every evaluation of a configuration on a test side.

Lines are only ever added. What a line says is up to who adds it; ``corpus``, ``protocol``, ``recipe``, ``hash``,
``fold`` and ``seed`` are always there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.files import unwritable

_NAME = "ledger.jsonl"


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def enter(out: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, before the test side is read.

    Args:
        out: the results folder.
        entry: what is evaluated; the time is put in front.

    Raises:
        MachineError: the line cannot be written.
    """
    path = out / _NAME
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": now(), **entry}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def read(out: Path) -> list[dict[str, Any]]:
    """All lines of a results folder's ledger, the first one first; none where there is no ledger.

    Raises:
        UserError: a line is not JSON.
    """
    path = out / _NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise UserError(
            f"{path} has a line that is not JSON: {error}; restore it, for it counts the readings of test data."
        ) from error
