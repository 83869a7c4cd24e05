"""Writing files so that a kill, a full disk or a second process never leaves half of one; hashing them."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from serlab.core import MachineError, UserError

CACHE_VARIABLE = "SERLAB_CACHE"


def cache_folder() -> Path:
    """Folder of what can be computed again: ``SERLAB_CACHE``, else the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("serlab")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; when the block ends well, it is renamed to ``path``.

    Args:
        path: where the file shall be; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Raises:
        MachineError: if the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception) -> MachineError:
    """Build the error for a file or folder that cannot be written.

    Args:
        path: what was to be written.
        error: what the system or the writing library said.

    >>> str(unwritable(Path("runs/a.json"), OSError(28, "No space left on device")))
    'cannot write runs/a.json: No space left on device; free some space or write to another folder.'
    """
    why = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
    return MachineError(f"cannot write {path}: {why}; free some space or write to another folder.")


def absent(what: str, name: str) -> UserError:
    """Build the error for a file or folder that the user has named and that is not there, with the nearest real one.

    Args:
        what: what was to be there, e.g. ``"recipe"``.
        name: the path as given.
    """
    path = Path(name)
    try:
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        there = []
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.75)
    hint = f"; the nearest name there is {path.with_name(near[0])}." if near else "."
    where = "" if path.parent.is_dir() else f" (nor the folder {path.parent})"
    return UserError(f"there is no {what} {name}{where}{hint}")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces).

    >>> sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
