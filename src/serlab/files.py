"""Writing files so that a kill, a full disk or a second process never leaves half of one; hashing them."""

from __future__ import annotations

import difflib
import fcntl
import glob
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from serlab.core import MachineError, UserError

if TYPE_CHECKING:
    import pandas as pd

_YOUNG_S = 60.0
CACHE_VARIABLE = "SERLAB_CACHE"


def cache_folder() -> Path:
    """Folder of what can be computed again: ``SERLAB_CACHE``, else the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("serlab")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; when the block ends well, it is renamed to ``path``.

    What a process that was killed has left of such a file is removed when the next one is written.

    Args:
        path: where the file shall be; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Raises:
        MachineError: if the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        # The system drops the lock with the process, so that a file without one belongs to nobody.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove temporary files of ``path`` that nobody is writing; a young one may not have its lock yet."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
        with suppress(OSError), left.open("rb") as stream:
            if time.time() - left.stat().st_mtime > _YOUNG_S:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


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


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that a user has made: Parquet where the name ends so, else CSV as :func:`read_csv` does.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    import pandas as pd

    if path.suffix.lower() != ".parquet":
        return read_csv(path, "table")
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no table {path}.") from error
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"cannot read the table {path}: {why}; expected Parquet, or CSV with commas.") from error


def read_csv(path: Path, what: str) -> pd.DataFrame:
    """Read a CSV file that a user has made: UTF-8, commas, a header; every cell as text without surrounding blanks.

    Args:
        path: the file.
        what: what it is, for errors: ``table`` or ``split``.

    Raises:
        UserError: there is no such file, or it cannot be read as such a table.
    """
    import pandas as pd

    try:
        cells = pd.read_csv(path, header=None, dtype=str, na_filter=False, index_col=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"there is no {what} {path}.") from error
    except IsADirectoryError as error:
        raise UserError(f"the {what} {path} is a folder; expected a CSV file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the {what} {path} is not in UTF-8; save it anew as CSV in UTF-8.") from error
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"cannot read the {what} {path}: {why}; expected CSV with commas.") from error
    cells = cells.apply(lambda column: column.str.strip())
    names = cells.iloc[0].tolist()
    if len(names) == 1 and (used := next((mark for mark in ";\t" if mark in names[0]), "")):
        mark = "semicolons" if used == ";" else "tabs"
        raise UserError(f"the {what} {path} has {mark} between its columns; save it with commas.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the {what} {path} has more than one column {twice!r}; each needs a name of its own.")
    return cells.iloc[1:].reset_index(drop=True).set_axis(names, axis=1)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
