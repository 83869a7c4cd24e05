"""The user's own table of clips, CSV or Parquet: which columns say what, and what each row names."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.corpora.base import Columns
from serlab.corpora.spans import span_columns
from serlab.files import read_table
from serlab.progress import say_once

# Names that are taken where the usual one is not there, in any case and in this order.
_NAMES = {
    "path": ("path", "file", "filename", "clip"),
    "label": ("label",),
    "speaker": ("speaker", "actor"),
    "sentence": ("sentence",),
}
# What else a column may be called; it is never taken by itself, but its name helps in an error.
_NEAR = {
    "path": re.compile(r"(audio|wav|sound|file|path|clip|utt)", re.IGNORECASE),
    "label": re.compile(r"(label|emotion|class|category|target|affect)", re.IGNORECASE),
}
_OPTIONS = {"path": "--path-column", "label": "--label-column", "speaker": "--speaker-column"}
_SPEAKERS = re.compile(r"(speaker|actor|spk|subject|participant|voice|talker)", re.IGNORECASE)
_SPLITS = frozenset({"split", "side", "fold", "partition", "subset", "set"})
_NAMELESS = re.compile(r"(Unnamed: \d+(_level_\d+)?)?")
_LONGEST_LABEL = 100
_LONGEST_SHOWN = 600
_ADDRESS = re.compile(r"[a-z][a-z0-9+]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """What a table lists.

    Attributes:
        clips: one row a clip: ``path`` (absolute), ``label``; ``speaker`` and ``sentence`` where the table has them.
        rows: each clip's row in the table, its header not counted, from 1.
        spans: columns that say which part of a file a clip is, from :func:`serlab.corpora.spans.span_columns`.
    """

    clips: pd.DataFrame
    rows: list[int]
    spans: dict[str, NDArray[np.float64]]


def read_listed(path: Path, columns: Columns) -> Listed:
    """Read a table of clips.

    Args:
        path: CSV (UTF-8) or Parquet.
        columns: what its columns are called.

    Raises:
        UserError: the table cannot be read, a column or cell that is needed is missing, or a file does not exist.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{path} is neither a folder nor a table whose name ends in .csv or .parquet.")
    if not path.is_file():
        raise UserError(f"the table {path} is not a regular file; save it as one.")
    table = read_table(path)
    table.columns = pd.Index([str(name) for name in table.columns])
    table, rows = _without_empty_rows(path, table)
    chosen = _chosen_columns(path, table, columns)
    if table.empty:
        raise UserError(f"the table {path} has no rows.")
    spans = span_columns(table, list(chosen.values()))
    _name_the_rest(path, table, chosen, spans)
    clips = pd.DataFrame({ours: _filled(path, table[theirs], theirs, rows) for ours, theirs in chosen.items()})
    too_long = next((row for row, label in zip(rows, clips["label"], strict=True) if len(label) > _LONGEST_LABEL), None)
    if too_long is not None:
        raise UserError(
            f"row {too_long} of the table {path} (its header not counted) has more than {_LONGEST_LABEL} letters in "
            f"the column {chosen['label']!r}; a label is a word or two."
        )
    clips["path"] = _located(path, clips["path"].tolist())
    return Listed(clips, rows, spans)


def _without_empty_rows(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, list[int]]:
    """Drop rows without any content, as spreadsheets leave them; also each remaining row's number."""
    empty = np.ones(len(table), bool)
    for place in range(table.shape[1]):
        empty &= _is_empty(table.iloc[:, place])
    rows = [row for row, is_empty in enumerate(empty, start=1) if not is_empty]
    if empty.any() and rows:
        say_once(f"{path}: {empty.sum():,} empty row{'s' * (empty.sum() > 1)} left out.")
    return table[~empty].reset_index(drop=True), rows


def _chosen_columns(path: Path, table: pd.DataFrame, columns: Columns) -> dict[str, str]:
    """Which column of the table says what."""
    given = {"path": columns.path, "label": columns.label, "speaker": columns.speaker, "sentence": columns.sentence}
    there = table.columns.tolist()
    chosen: dict[str, str] = {}
    for ours, theirs in given.items():
        if theirs is not None and theirs in there:
            chosen[ours] = theirs
        elif theirs is None or theirs == ours:
            taken = _by_usual_name(there, _NAMES[ours], chosen.values())
            if taken is not None:
                chosen[ours] = taken
    for ours, theirs in given.items():
        if ours not in chosen and theirs is not None:
            raise UserError(_lacking(path, there, ours, theirs))
    twice = next((name for name in chosen.values() if there.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the table {path} has more than one column {twice!r}; each needs a name of its own.")
    return chosen


def _by_usual_name(there: Sequence[str], names: Sequence[str], taken: Collection[str]) -> str | None:
    for name in names:
        for column in there:
            if column.strip().lower() == name and column not in taken:
                return column
    return None


def _lacking(path: Path, there: Sequence[str], ours: str, theirs: str) -> str:
    near = [name for name in there if ours in _NEAR and _NEAR[ours].search(name)]
    listed = ", ".join(there)
    listed = listed if len(listed) <= _LONGEST_SHOWN else listed[:_LONGEST_SHOWN] + " …"
    said = f"the table {path} has no column {theirs!r} for the {ours} (it has: {listed})"
    return f"{said}; if it is {near[0]!r}, say {_OPTIONS[ours]} {near[0]}." if near else f"{said}."


def _name_the_rest(path: Path, table: pd.DataFrame, chosen: Mapping[str, str], spans: Mapping[str, object]) -> None:
    """Say once which columns are not used."""
    rest, nameless = [], 0
    for name in table.columns:
        if name in chosen.values() or name in spans:
            continue
        if _NAMELESS.fullmatch(name.strip()):
            nameless += 1
        else:
            rest.append(name)
    if nameless:
        rest.append(f"{nameless} without a name")
    if not rest:
        return
    hints = []
    speakers = [name for name in rest if _SPEAKERS.search(name)]
    if "speaker" not in chosen and speakers:
        hints.append(f"if {speakers[0]!r} says who speaks, say --speaker-column {speakers[0]}")
    if any(name.strip().lower() in _SPLITS for name in rest):
        hints.append("a split of your own is a CSV for --protocol")
    say_once(f"{path}: columns not used: {', '.join(rest)}{''.join(f'; {hint}' for hint in hints)}.")


def _filled(path: Path, column: pd.Series, name: str, rows: Sequence[int]) -> list[str]:
    """Text of a column without surrounding blanks; an empty cell, or one that is no plain value, is an error."""
    empty = _is_empty(column)
    cells = column.tolist()
    for row, cell, is_empty in zip(rows, cells, empty, strict=True):
        if is_empty:
            raise UserError(
                f"row {row} of the table {path} (its header not counted) has nothing in the column {name!r}."
            )
        if not isinstance(cell, (str, int, float, np.integer, np.floating, np.bool_)):
            kind = {"dict": "a record", "list": "a list", "ndarray": "a list", "bytes": "bytes"}
            what = kind.get(type(cell).__name__, f"a {type(cell).__name__}")
            raise UserError(
                f"row {row} of the table {path} (its header not counted) has {what} in the column {name!r}; expected "
                "text or a number."
            )
    return [str(cell).strip() for cell in cells]


def _is_empty(column: pd.Series) -> NDArray[np.bool_]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        return np.zeros(len(column), bool)
    missing: NDArray[np.bool_] = column.isna().to_numpy()
    blank: NDArray[np.bool_] = np.array([isinstance(cell, str) and not cell.strip() for cell in column], bool)
    return np.logical_or(missing, blank)


def _located(table: Path, names: Sequence[str]) -> list[str]:
    r"""Absolute paths of the files that a table names; they must be there, if only as links or pipes.

    ``~`` is the user's home, and ``\\`` separates folders too where no file has it in its name.
    """
    found, absent = [], []
    for name in names:
        paths = [
            _absolute(table, spelling) for spelling in dict.fromkeys((name, _at_home(name), name.replace("\\", "/")))
        ]
        path = next(filter(_is_there, paths), None)
        if path is None:
            absent.append(paths[0])
        elif Path(path).is_dir():
            raise UserError(f"{table} names {path}, which is a folder; each row names one file.")
        found.append(path or paths[0])
    if absent:
        first = absent[0] if len(absent[0]) <= _LONGEST_SHOWN else absent[0][:_LONGEST_SHOWN] + " …"
        where = "paths are absolute or relative to the table's folder"
        if any(_ADDRESS.match(name) for name in names):
            where = "fetch them first, and name files on this disk"
        raise UserError(
            f"{len(absent):,} of the {len(names):,} files that {table} names do not exist, first {first}; {where}."
        )
    return found


def _absolute(table: Path, name: str) -> str:
    return os.path.normpath(table.parent.absolute() / name)


def _at_home(name: str) -> str:
    try:
        return str(Path(name).expanduser()) if name.startswith("~") else name
    except RuntimeError:
        return name  # Nobody of that name has a home.


def _is_there(path: str) -> bool:
    try:
        Path(path).lstat()
    except (OSError, ValueError):
        return False
    return True
