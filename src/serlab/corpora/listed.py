"""The user's own table of clips, CSV or Parquet: the meaning of its columns and rows."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.core.progress import say_once
from serlab.corpora.base import Columns
from serlab.corpora.spans import span_columns
from serlab.tables.cells import text_of
from serlab.tables.naming import FILE, LABEL, SPEAKER, alike, column
from serlab.tables.reading import read_table

_USUAL = {"path": FILE, "label": LABEL, "speaker": SPEAKER, "sentence": ("sentence",)}
_SPLITS = frozenset({"split", "side", "fold", "partition", "subset", "set"})
_LONGEST_LABEL = 100
_LONGEST_SHOWN = 600
_ADDRESS = re.compile(r"[a-z][a-z0-9+]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """What a table lists.

    Attributes:
        clips: one row per clip: ``path`` (absolute), ``label``; ``speaker`` and ``sentence`` if the
            table has them.
        rows: each clip's row in the table, without the header, from 1.
        spans: columns that restrict a clip to a part of a file, from
            :func:`serlab.corpora.spans.span_columns`.
    """

    clips: pd.DataFrame
    rows: list[int]
    spans: dict[str, NDArray[np.float64]]


def read_listed(path: Path, columns: Columns) -> Listed:
    """Read a table of clips.

    Args:
        path: CSV (UTF-8) or Parquet.
        columns: the names of its columns.

    Raises:
        UserError: the table cannot be read, a required column or cell is missing, or a file does
            not exist.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{path} is not a folder, and its name does not end in .csv or .parquet; give one of these.")
    if not path.is_file():
        raise UserError(f"the table {path} is not a regular file; save the table as a file.")
    return take_listed(path, read_table(path), columns)


def take_listed(path: Path, table: pd.DataFrame, columns: Columns) -> Listed:
    """Take the clips from a table.

    Args:
        path: the table's file, or the folder that it describes; relative paths start there.
        table: its content.
        columns: the names of its columns.

    Raises:
        UserError: as for :func:`read_listed`.
    """
    chosen = _chosen_columns(path, table, columns)
    if table.empty:
        raise UserError(f"the table {path} is empty; expected one row per clip.")
    rows = [int(place) + 1 for place in table.index]
    table = table.reset_index(drop=True)
    spans = span_columns(table, list(chosen.values()))
    _name_the_rest(path, table, chosen, spans)
    clips = pd.DataFrame({ours: _filled(path, table[theirs], rows) for ours, theirs in chosen.items()})
    too_long = next((row for row, label in zip(rows, clips["label"], strict=True) if len(label) > _LONGEST_LABEL), None)
    if too_long is not None:
        raise UserError(
            f"row {too_long} of the table {path} (its header not counted) has more than {_LONGEST_LABEL} letters in "
            f"the column {chosen['label']!r}; expected a label of one or two words."
        )
    clips["path"] = _located(path, clips["path"].tolist())
    return Listed(clips, rows, spans)


def _chosen_columns(path: Path, table: pd.DataFrame, columns: Columns) -> dict[str, str]:
    """The table's name of each column that serlab uses."""
    chosen: dict[str, str] = {}
    for ours, usual in _USUAL.items():
        asked = getattr(columns, ours)
        theirs = column(table.columns, usual if asked is None else (asked,), str(path))
        if theirs is not None:
            chosen[ours] = theirs
        elif asked is not None or ours in ("path", "label"):
            listed = ", ".join(map(str, table.columns))
            shown = listed if len(listed) <= _LONGEST_SHOWN else f"{listed[:_LONGEST_SHOWN]} …"
            near = alike(table.columns, usual, f"{ours}_column")
            raise UserError(f"the table {path} has no column {asked or ours!r} for the {ours} (it has: {shown}){near}.")
    return chosen


def _name_the_rest(path: Path, table: pd.DataFrame, chosen: Mapping[str, str], spans: Mapping[str, object]) -> None:
    """Report once which columns are not used."""
    rest = [name for name in table.columns if name not in chosen.values() and name not in spans]
    if not rest:
        return
    hint = alike(rest, SPEAKER) if "speaker" not in chosen else ""
    if any(name.lower() in _SPLITS for name in rest):
        hint += "; to use your own split, give a CSV as the protocol"
    listed = ", ".join(rest)
    shown = listed if len(listed) <= _LONGEST_SHOWN else f"{listed[:_LONGEST_SHOWN]} …"
    say_once(f"{path}: columns not used: {shown}{hint}.")


def _filled(path: Path, cells: pd.Series, rows: Sequence[int]) -> list[str]:
    """Text of a column without surrounding spaces; an empty cell is an error."""
    texts: list[str] = text_of(cells, f"the table {path}").tolist()
    empty = next((row for row, text in zip(rows, texts, strict=True) if not text), None)
    if empty is not None:
        raise UserError(
            f"row {empty} of the table {path} (its header not counted) is empty in the column {cells.name!r}."
        )
    return texts


def _located(table: Path, names: Sequence[str]) -> list[str]:
    r"""Absolute paths of the files that a table names; they must exist, but may be links or pipes.

    ``~`` is the user's home. ``\\`` also separates folders, unless a file has it in its name.
    """
    found, absent = [], []
    for name in names:
        # Archives made on macOS have decomposed names.
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        spellings = dict.fromkeys((name, _at_home(name), name.replace("\\", "/"), *forms))
        paths = [_absolute(table, spelling) for spelling in spellings]
        path = next(filter(_is_there, paths), None)
        if path is None:
            absent.append(paths[0])
        elif Path(path).is_dir():
            raise UserError(f"{table} names {path}, which is a folder; expected one file per row.")
        found.append(path or paths[0])
    if absent:
        first = absent[0] if len(absent[0]) <= _LONGEST_SHOWN else absent[0][:_LONGEST_SHOWN] + " …"
        where = "paths must be absolute or relative to the table's folder"
        if any(_ADDRESS.match(name) for name in names):
            where = "download them first, then give the paths of the files"
        raise UserError(
            f"{len(absent):,} of the {len(names):,} files that {table} names do not exist, first {first}; {where}."
        )
    return found


def _absolute(table: Path, name: str) -> str:
    home = table if table.is_dir() else table.parent
    return os.path.normpath(home.absolute() / name)


def _at_home(name: str) -> str:
    try:
        return str(Path(name).expanduser()) if name.startswith("~") else name
    except RuntimeError:
        return name  # There is no such user.


def _is_there(path: str) -> bool:
    try:
        Path(path).lstat()
    except (OSError, ValueError):
        return False
    return True
