"""Findings about files, kept in the cache folder between processes.

All findings of one kind about the files below one folder are stored in one file: a line with kind,
format, decoder and the SHA-256 of the rest, then JSON, path -> finding. A file with another first
line is ignored, because it is damaged or from another version. Each write replaces the whole file.
If two processes write, the later one wins, and the findings of the other are computed again. The
caller compares a finding with the current file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from serlab.audio import DECODER
from serlab.core import MachineError
from serlab.core.files import cache_folder, writing
from serlab.core.progress import say

_FORMAT = 2
_ignored: ContextVar[bool] = ContextVar("ignored", default=False)


@contextmanager
def ignored() -> Iterator[None]:
    """Recall nothing within the block; new findings are still remembered."""
    token = _ignored.set(True)
    try:
        yield
    finally:
        _ignored.reset(token)


def home_of(paths: Iterable[str]) -> str:
    """The common folder of all files (absolute paths); empty strings (no file) are ignored."""
    # Text, because creating pathlib objects would take longer than reading the findings.
    folders = {path.rpartition(os.sep)[0] or os.sep for path in paths if path}
    return os.path.commonpath(folders) if folders else ""


def recall(kind: str, home: str) -> dict[str, Any]:
    """Read the findings about files below a folder.

    Args:
        kind: kind of finding, e.g. ``"scan"``.
        home: the folder, from :func:`home_of`.

    Returns:
        path -> finding; empty if there is no file, or if it is damaged.
    """
    if _ignored.get():
        return {}
    try:
        head, _, body = _file(kind, home).read_bytes().partition(b"\n")
    except OSError:
        return {}
    if head != _head(kind, body):
        say(f"the remembered {kind} of {home} is damaged or of another version; it is computed again.")
        return {}
    findings: dict[str, Any] = json.loads(body)
    return findings


def remember(kind: str, home: str, findings: Mapping[str, Any]) -> None:
    """Write findings about files below a folder, except for files that are gone. A failing disk costs only a message.

    Args:
        kind: kind of finding.
        home: the folder, from :func:`home_of`.
        findings: path -> finding, as plain JSON data; :func:`recall` returns them from now on.
    """
    there = {path: finding for path, finding in findings.items() if _is_there(path)}
    body = json.dumps(there, separators=(",", ":"), allow_nan=False).encode()
    path = _file(kind, home)
    try:
        with writing(path) as temporary:
            temporary.write_bytes(_head(kind, body) + b"\n" + body)
    except MachineError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        say(f"the {kind} of {home} cannot be remembered in {path.parent} ({why}); it is computed again next time.")


def _is_there(path: str) -> bool:
    # Text, as in `home_of`. A name that is too long for the system counts as missing.
    return os.path.exists(path)  # noqa: PTH110


def _file(kind: str, home: str) -> Path:
    return cache_folder() / "scans" / f"{kind}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _head(kind: str, body: bytes) -> bytes:
    return f"serlab {kind} {_FORMAT} {DECODER} {hashlib.sha256(body).hexdigest()}".encode()
