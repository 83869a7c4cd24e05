"""What was found out about files, remembered from one process to the next in the cache folder.

A kind of finding about the files below one folder is one file: a line that names kind, format, decoder and the SHA-256
of the rest, then JSON, path -> finding. A file whose first line is not the expected one is damaged or of another
version and counts for nothing. Each write replaces the whole file, so that of two processes the later one wins and the
other's findings are only made again. Whoever asks compares the finding with the file as it is now.
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
_anew: ContextVar[bool] = ContextVar("anew", default=False)


@contextmanager
def anew() -> Iterator[None]:
    """While the block runs nothing is recalled; what is found is remembered all the same."""
    token = _anew.set(True)
    try:
        yield
    finally:
        _anew.reset(token)


def home_of(paths: Iterable[str]) -> str:
    """Give the folder that all files (absolute paths) lie below; empty texts, which stand for no file, do not count."""
    # As text: objects of pathlib would cost more than recalling the findings.
    folders = {path.rpartition(os.sep)[0] or os.sep for path in paths if path}
    return os.path.commonpath(folders) if folders else ""


def recall(kind: str, home: str) -> dict[str, Any]:
    """Read what is remembered of the files below a folder.

    Args:
        kind: which finding, e.g. ``"scan"``.
        home: the folder, from :func:`home_of`.

    Returns:
        path -> finding; empty where there is nothing, or nothing that can be trusted.
    """
    if _anew.get():
        return {}
    try:
        head, _, body = _file(kind, home).read_bytes().partition(b"\n")
    except OSError:
        return {}
    if head != _head(kind, body):
        say(f"the remembered {kind} of {home} is damaged or of another version; it is made anew.")
        return {}
    findings: dict[str, Any] = json.loads(body)
    return findings


def remember(kind: str, home: str, findings: Mapping[str, Any]) -> None:
    """Write findings of the files below a folder, but for files that are gone; a disk that refuses costs a line.

    Args:
        kind: which finding.
        home: the folder, from :func:`home_of`.
        findings: path -> finding, as JSON has it; all that :func:`recall` shall give from now on.
    """
    there = {path: finding for path, finding in findings.items() if _is_there(path)}
    body = json.dumps(there, separators=(",", ":"), allow_nan=False).encode()
    path = _file(kind, home)
    try:
        with writing(path) as temporary:
            temporary.write_bytes(_head(kind, body) + b"\n" + body)
    except MachineError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        say(f"the {kind} of {home} cannot be remembered in {path.parent} ({why}); next time it is made anew.")


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False  # Its name is too long for the system.


def _file(kind: str, home: str) -> Path:
    return cache_folder() / "scans" / f"{kind}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _head(kind: str, body: bytes) -> bytes:
    return f"serlab {kind} {_FORMAT} {DECODER} {hashlib.sha256(body).hexdigest()}".encode()
