"""Writing files so that a kill, a full disk or a second process never leaves half of one; hashing them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from serlab.core import MachineError, UserError

if TYPE_CHECKING:
    import pandas as pd

CACHE_VARIABLE = "SERLAB_CACHE"

_MOST_JSON_BYTES = 64 * 2**20
_MOST_LEVELS = 24
_MOST_DIGITS = 19


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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that anybody may have made.

    Args:
        path: the file; one that no reader would come to the end of (a pipe, a device) is refused.

    Raises:
        UserError: there is no such file, or it is not one JSON object of finite 64-bit numbers whose fields are named
            once and nested within reason.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing or not a file; copy it again from where its folder came from.")
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise UserError(f"{path} is larger than {_MOST_JSON_BYTES // 2**20} MiB, more than any configuration is.")
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
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)!r} stands in it twice")
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
