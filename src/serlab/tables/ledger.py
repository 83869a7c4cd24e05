"""The ledger of a results folder: one JSON line per evaluation of a configuration on a test split.

Lines are only added. Every line has ``time``, ``corpus``, ``protocol``, ``recipe``, ``hash``,
``fold`` and ``seed``.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.core.files import unwritable
from serlab.core.locks import locked

_NAME = "ledger.jsonl"


def now() -> str:
    """The time in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def enter(out: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, before the test split is read.

    Args:
        out: the results folder.
        entry: what is evaluated; the time is added.

    Raises:
        MachineError: the line cannot be written.
    """
    path = out / _NAME
    line = json.dumps({"time": now(), **entry}).encode() + b"\n"
    try:
        with locked(path, wait=True), path.open("a+b", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            try:
                if stream.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
            except OSError:
                # Half a line would swallow the next one.
                stream.truncate(end)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


def read(out: Path) -> list[dict[str, Any]]:
    """All lines of a results folder's ledger, oldest first; empty without a ledger.

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
            f"{path} has a line that is not JSON: {error}; restore the file, because it counts the uses of test data."
        ) from error
