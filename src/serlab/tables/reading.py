"""Read and check tables from users: CSV, JSON lines or Parquet.

Any file content ends in a table or in a one-sentence error. A message lists what is dropped:
columns without a name (spreadsheets and pandas write row numbers this way) and empty rows.

CSV cells are stripped text, JSON cells keep their JSON type, and Parquet cells are text, numbers
(durations in seconds) or booleans. Columns of other types (lists, structures, bytes, dates) are
kept by name and raise an error when they are used (see :mod:`serlab.tables.cells`). The index of a
table is each row's position in the file, from 0, so that errors name the right row.
"""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serlab.core import MachineError, UserError
from serlab.core.progress import say
from serlab.tables.cells import Unreadable, missing, stripped

if TYPE_CHECKING:
    import pandas as pd

_PREDICTED = b"path,predicted,prob_"
_MOST_BYTES = 256 * 2**20
_MOST_CELLS = 20_000_000
_MOST_COLUMNS = 10_000
_LONGEST_REASON = 200
_LONGEST_NAME = 200
_CSV = "CSV with commas"
# Units of durations in a second.
_PARTS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_STARTS = {
    b"PK\x03\x04": "it is a spreadsheet or a ZIP archive; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "it is an old Excel spreadsheet; save it as CSV (UTF-8)",
    b"\x1f\x8b": "it is compressed; unpack it",
    b"BZh": "it is compressed; unpack it",
    b"\xfd7zXZ": "it is compressed; unpack it",
    b"PARE": "it is encrypted; write it without encryption",
}
# Names that pandas and spreadsheets give to columns of row numbers.
_NAMELESS = re.compile(r"(Unnamed: \d+(_level_\d+)?|__index_level_\d+__)?")


def read_table(path: Path, what: str = "table") -> pd.DataFrame:
    """Read a table from a file.

    Args:
        path: the file; content and extension determine the format.
        what: the noun for errors, ``table`` or ``split``.

    Raises:
        UserError: The file is missing or cannot be read as a table.
    """
    return parse(content_of(path, what), path, what)


def content_of(path: Path, what: str = "table") -> bytes:
    """Read the bytes of a table once, so that pipes work too.

    Raises:
        UserError: The file is missing, not a regular file, or too large.
    """
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise UserError(f"the {what} {path} is a folder; expected a CSV file.")
        if not (stat.S_ISREG(kind.st_mode) or stat.S_ISFIFO(kind.st_mode)):
            raise UserError(f"the {what} {path} is a device; expected a CSV file.")
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1) if kind.st_size <= _MOST_BYTES else b""
    except FileNotFoundError as error:
        raise UserError(f"there is no {what} {path}.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the {what} {path}: {getattr(error, 'strerror', None) or error}.") from error
    if max(kind.st_size, len(content)) > _MOST_BYTES:
        raise UserError(f"the {what} {path} is larger than {_MOST_BYTES // 2**20} MB; split it or remove columns.")
    return content


def parse(content: bytes, path: Path, what: str = "table") -> pd.DataFrame:
    """Parse the bytes of a file as a table.

    Args:
        content: the bytes.
        path: the file, for its extension and for errors.
        what: the noun for errors.

    Raises:
        UserError: The bytes are not a valid table.
    """
    return _tidy(_cells(content, path, what), path, what)


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns, without messages; arguments and errors as of :func:`read_table`."""
    return [str(name) for name in _cells(content_of(path), path, "table").columns]


def _cells(content: bytes, path: Path, what: str) -> pd.DataFrame:
    ending = path.suffix.lower()
    if why := next((why for start, why in _STARTS.items() if content.startswith(start)), ""):
        raise UserError(f"cannot read the {what} {path}: {why}.")
    if content.startswith(b"PAR1") or ending in _PARQUET:
        return _guarded(lambda: _parquet(content), path, what, "Parquet or CSV with commas")
    text = _decoded(content, path, what)
    if ending in (*_JSON_LINES, ".json") or text.lstrip().startswith("{"):
        return _guarded(lambda: _json(text, ending), path, what, "one JSON object per line")
    _check_commas(text, path, what)
    return _guarded(lambda: _csv(text), path, what, _CSV)


def _guarded(read: Callable[[], pd.DataFrame], path: Path, what: str, expected: str) -> pd.DataFrame:
    """Turn any parser exception into a UserError; parsers don't document all exceptions that they raise."""
    try:
        return read()
    except MemoryError as error:
        raise MachineError(f"there is not enough memory to read the {what} {path}; split it.") from error
    except Exception as error:
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(f"cannot read the {what} {path}: {why[:_LONGEST_REASON]}; expected {expected}.") from error


def _decoded(content: bytes, path: Path, what: str) -> str:
    # serlab predict writes file names that are not UTF-8 as their bytes on disk.
    how = "backslashreplace" if content.startswith(_PREDICTED) else "strict"
    try:
        text = content.decode("utf-8-sig", how)
    except UnicodeDecodeError as error:
        raise UserError(f"the {what} {path} is not UTF-8; re-save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise UserError(f"the {what} {path} contains zero bytes, so it is not UTF-8; re-save it as CSV in UTF-8.")
    return text


def _check_commas(text: str, path: Path, what: str) -> None:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if "," not in first and (used := next((mark for mark in ";\t" if mark in first), "")):
        mark = "semicolons" if used == ";" else "tabs"
        raise UserError(f"the {what} {path} has {mark} between its columns; re-save it with commas.")


def _csv(text: str) -> pd.DataFrame:
    """Parse CSV into text cells; short rows are padded and blank lines skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    columns: list[list[str]] = []
    try:
        for row in reader:
            cells = [stripped(cell) for cell in row]
            if not names and any(cells):
                names, columns = cells, [[] for _ in cells]
            elif names and cells:
                if any(cells[len(names) :]):
                    raise UserError(f"line {reader.line_num} has {len(cells)} cells, the first line {len(names)}")
                for place, column in enumerate(columns):
                    column.append(cells[place] if place < len(cells) else "")
                _check_size(len(columns[0]), len(names))
    except csv.Error as error:
        raise UserError(f"line {reader.line_num}: {error}") from error
    if not names:
        raise UserError("it is empty")
    return _of_columns(list(zip(names, columns, strict=True)))


def _json(text: str, ending: str) -> pd.DataFrame:
    """Parse JSON lines, whatever the file's ending, or the output of ``serlab predict --format json``."""
    if ending == ".json" and not _several(text):
        whole = json.loads(text, object_pairs_hook=_once)
        rows = whole.get("predictions") if isinstance(whole, dict) else whole
        if not isinstance(rows, list):
            raise UserError("it has no list of predictions")
    else:
        rows = [_json_line(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(f"entry {number + 1} is not an object")
        for name, value in _flat(row).items():
            column = columns.setdefault(name, [])
            column += [None] * (number - len(column))
            column.append(value)
        _check_size(number + 1, len(columns))
    return _of_columns([(name, values + [None] * (len(rows) - len(values))) for name, values in columns.items()])


def _several(text: str) -> bool:
    """Whether a text is JSON values one after the other, not one."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError:
        return False  # The parser's message names the place.
    return bool(text.lstrip()[end:].strip())


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_once)
    except ValueError as error:
        raise UserError(f"line {number}: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object and refuse duplicate keys; Python would keep the last value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a duplicate key")
    return found


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields of a ``serlab predict`` row as in its CSV; ``label`` is the model's prediction.

    >>> _flat({"path": "a.wav", "label": "sad", "probabilities": {"calm": 0.25, "sad": 0.75}})
    {'path': 'a.wav', 'predicted': 'sad', 'prob_calm': 0.25, 'prob_sad': 0.75}
    """
    flat: dict[str, Any] = {}
    shares = row.get("probabilities")
    for name, value in row.items():
        if name == "probabilities" and isinstance(shares, dict):
            flat |= {f"prob_{label}": share for label, share in shares.items()}
        elif name == "label" and isinstance(shares, dict) and "predicted" not in row:
            flat["predicted"] = value
        else:
            flat[name] = Unreadable("lists or objects") if isinstance(value, dict | list) else value
    return flat


def _parquet(content: bytes) -> pd.DataFrame:
    """Read Arrow columns without pandas' metadata, which may be wrong and isn't needed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content))
    _check_size(file.metadata.num_rows, len(file.schema_arrow))
    schema = file.schema_arrow
    _check_twice(schema.names)  # Values are read by name.
    plain = [name for name, kind in zip(schema.names, schema.types, strict=True) if _is_plain(kind)]
    values = file.read(columns=plain, use_threads=False) if plain else None
    found: list[tuple[str, Any]] = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if values is None or name not in plain:
            found.append((name, [Unreadable(f"values of the type {kind}")] * file.metadata.num_rows))
        else:
            column = values[name]
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_duration(column.type):
                parts = _PARTS[column.type.unit]
                times = column.cast(pa.int64()).to_pylist()
                found.append((name, [None if time is None else time / parts for time in times]))
                continue
            exact = pa.types.is_floating(column.type) or (pa.types.is_integer(column.type) and not column.null_count)
            found.append((name, column.to_numpy() if exact else column.to_pylist()))
    return _of_columns(found)


def _is_plain(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(text or number or types.is_boolean(kind) or types.is_null(kind) or types.is_duration(kind))


def _of_columns(columns: Sequence[tuple[str, Any]]) -> pd.DataFrame:
    """Build a table from named columns, with stripped names."""
    import numpy as np
    import pandas as pd

    names = [stripped(name) for name, _ in columns]
    if (longest := max(map(len, names), default=0)) > _LONGEST_NAME:
        raise UserError(f"it has a column whose name has {longest:,} characters")
    _check_twice(names)
    values = [
        pd.Series(column, dtype=None if isinstance(column, np.ndarray) else object, index=range(len(column)))
        for _, column in columns
    ]
    table = pd.concat(values, axis=1) if values else pd.DataFrame()
    return table.set_axis(names, axis=1)


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > _MOST_CELLS or columns > _MOST_COLUMNS:
        raise UserError(f"it has more than {_MOST_CELLS:,} cells or {_MOST_COLUMNS:,} columns")


def _check_twice(names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1 and not _NAMELESS.fullmatch(name)), None)
    if twice is not None:
        raise UserError(f"it has more than one column {twice!r}; column names must be unique")


def _tidy(table: pd.DataFrame, path: Path, what: str) -> pd.DataFrame:
    """Drop columns without a name and empty rows, and say so."""
    import numpy as np

    named = np.array([not _NAMELESS.fullmatch(name) for name in table.columns], bool)
    if not named.any():
        raise UserError(f"cannot read the {what} {path}: it has no column with a name; expected {_CSV} and a header.")
    nameless, table = int((~named).sum()), table.loc[:, named]
    filled = np.zeros(len(table), bool)
    for name in table.columns:
        if filled.all():
            break
        filled |= [not missing(value) for value in table[name].tolist()]
    empty, table = int((~filled).sum()), table[filled]
    parts = [
        *([f"{nameless} column{'s' * (nameless > 1)} without a name"] if nameless else []),
        *([f"{empty:,} empty row{'s' * (empty > 1)}"] if empty else []),
    ]
    if parts:
        say(f"{path}: {' and '.join(parts)} left out.")
    return table
