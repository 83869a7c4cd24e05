"""Atomic writing: a kill, a full disk or a second process never leaves half a file. Safe reading and hashing."""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
import math
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from serlab.core import MachineError, UserError

CACHE_VARIABLE = "SERLAB_CACHE"
_LONGEST_NAME = 180
_OLD_SECONDS = 86_400.0

_MOST_JSON_BYTES = 64 * 2**20
_MOST_LEVELS = 24
_MOST_DIGITS = 19


def cache_folder() -> Path:
    """The cache folder: ``SERLAB_CACHE`` if set, otherwise the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else user_folder("cache")


def user_folder(kind: Literal["cache", "data"]) -> Path:
    """The user's folder for serlab, as each system has it: XDG's base directories, Library, AppData."""
    given = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if Path(given).is_absolute() and platform.system() != "Windows":
        return Path(given, "serlab")
    home, cache = Path.home(), kind == "cache"
    if platform.system() == "Windows":
        # A folder for the author, who has the same name, comes first.
        own = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "serlab", "serlab")
        return own / "Cache" if cache else own
    if platform.system() == "Darwin":
        return home / "Library" / ("Caches" if cache else "Application Support") / "serlab"
    return home / (".cache" if cache else ".local/share") / "serlab"


def is_stream(path: Path) -> bool:
    """Whether a path is written in place and never replaced: a pipe, a device, or this process's output."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        # Standard output may be a file, but its name, /dev/stdout, is not.
        return os.path.realpath(path.parent).startswith(("/dev/", "/proc/")) or str(path.parent) == "/dev"
    return not stat.S_ISDIR(mode)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Write a file atomically: the block writes to a temporary file, which is then renamed to ``path``.

    Temporary files of killed processes are removed first. For a pipe or a device, the content is
    copied instead.

    Args:
        path: the final path; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Raises:
        MachineError: the folder cannot be written to or the disk is full.
    """
    if is_stream(path):
        with _copying(path) as temporary:
            yield temporary
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = _temporary_prefix(path)
        _clear(path.parent, prefix)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{prefix}{_owner()}.", suffix=path.suffix)
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


def whole(path: Path) -> Path:
    """The absolute path without ``.`` and ``..``; links are followed above its last part alone.

    >>> whole(Path("a/../b")) == Path.cwd() / "b"
    True
    """
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def synced(folder: Path) -> None:
    """Wait until a folder and its files are on the disk, so that a power cut after a rename leaves no half of them."""
    for path in (*folder.rglob("*"), folder):
        # Windows cannot open folders, and syncs only what is open for writing.
        if path.is_file() or (path.is_dir() and os.name != "nt"):
            handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Write a folder of weights: the block fills a temporary folder, which then takes the place of ``folder``.

    An older folder is there until then, and its removal comes last. A link to a folder stays.

    Yields:
        The temporary folder.

    Raises:
        MachineError: the folder cannot be written to or the disk is full.
    """
    from safetensors import SafetensorError

    folder = folder.resolve()
    temporary, old = (folder.with_name(f".{folder.name}.{age}") for age in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.rglob("*.*"):
            path.chmod(0o644)  # Safetensors makes files that only the owner can read.
        synced(temporary)
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.replace(old)
        try:
            temporary.replace(folder)
        except OSError:
            with suppress(OSError):
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _copying(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="serlab-") as folder:
        temporary = Path(folder) / f"copy{path.suffix}"
        temporary.touch()
        yield temporary
        try:
            with os.fdopen(_opened(path), "wb") as stream:
                stream.write(temporary.read_bytes())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(path, error) from error


def _opened(path: Path) -> int:
    """A descriptor to write to: for this process's own outputs the existing one, which keeps the position."""
    for own in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(own)):
                return os.dup(own)
    return os.open(path, os.O_WRONLY | os.O_APPEND)


def _temporary_prefix(path: Path) -> str:
    """Prefix of the temporary files for ``path``, short enough for a file name."""
    name = path.name if len(os.fsencode(path.name)) <= _LONGEST_NAME else sha256_json(path.name)[:16]
    return f".{name}.serlab-"


def _owner() -> str:
    """Identify this process by machine and process id."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    return f"{machine}-{os.getpid()}"


def _clear(folder: Path, prefix: str) -> None:
    """Remove temporary files whose process has ended, and any that are a day old."""
    machine = _owner().partition("-")[0]
    with os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if entry.name.startswith(prefix)]
    for path in left:
        there, _, number = path.name.removeprefix(prefix).partition(".")[0].partition("-")
        with suppress(OSError):
            old = time.time() - path.stat().st_mtime > _OLD_SECONDS
            if old or (there == machine and number.isdigit() and not _lives(int(number))):
                path.unlink()


def _lives(process: int) -> bool:
    if os.name == "nt":
        # There, signal 0 is Ctrl-C. Old files are removed by their age.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It belongs to another user.
    return True


def unwritable(path: Path, error: Exception) -> MachineError:
    """Build the error for a file or folder that cannot be written.

    Args:
        path: the file or folder.
        error: the error of the system or of the writing library.

    >>> str(unwritable(Path("runs/a.json"), OSError(28, "No space left on device")))
    'cannot write runs/a.json: No space left on device; free some space or write to another folder.'
    """
    if isinstance(error, NotADirectoryError | FileExistsError):
        file = next((each for each in (path, *path.parents) if each.exists()), path)
        if not file.is_dir():
            return MachineError(f"cannot write {path}: {file} is a file, not a folder; write to another folder.")
    why = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
    return MachineError(f"cannot write {path}: {why}; free some space or write to another folder.")


def check_writable(folder: Path) -> None:
    """Refuse a folder of results that cannot be written, before anything is computed for it; nothing is made.

    Raises:
        MachineError: the folder, or the first one above it that exists, is a file or must not be written to.
    """
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        raise unwritable(folder, NotADirectoryError())
    if not os.access(there, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed for it; nothing is made.

    Raises:
        UserError: it is a folder.
        MachineError: its folder cannot be written to, or its name is too long.
    """
    try:
        folder = path.is_dir()
        stream = is_stream(path)
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unwritable(path, error) from error
    if folder:
        raise UserError(f"{path} is a folder; name a file in it, e.g. {path / f'result{path.suffix}'}.")
    if not stream:
        check_writable(path.parent)


def absent(what: str, name: str) -> UserError:
    """Build the error for a missing file or folder that the user named, with the closest existing name.

    Args:
        what: kind of thing, e.g. ``"recipe"``.
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


def read_json(path: Path, *, most_bytes: int = _MOST_JSON_BYTES) -> dict[str, Any]:
    """Read a JSON object from an untrusted file.

    Args:
        path: a regular file, because a pipe or device may never end.
        most_bytes: its largest size.

    Raises:
        UserError: there is no such file, or it is not a JSON object of finite 64-bit numbers with
            unique keys and moderate nesting.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing or not a file; copy it again from the source of its folder.")
        if path.stat().st_size > most_bytes:
            raise UserError(f"{path} is larger than {most_bytes // 2**20} MiB; that is too much for such a file.")
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if not isinstance(value, dict):
            raise ValueError(f"expected an object in braces, found {type(value).__name__}")
        _check_depth(value)
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be read; restore it.") from error
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(f"{path} cannot be read as JSON: {why}; restore it.") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the field {next(name for name in names if names.count(name) > 1)!r} twice")
    return fields


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:_MOST_DIGITS]}... is a number of {len(text)} digits")
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MOST_LEVELS):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [item for items in inner for item in items]
    if level:
        raise RecursionError


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN is an error."""
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
    # A file name that is not UTF-8 counts as its bytes on disk.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
