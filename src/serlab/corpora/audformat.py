"""Databases in audformat: ``db.yaml`` and tables ``db.<name>.csv`` or ``.parquet`` of files, labels and speakers.

Source: the audformat specification, https://audeering.github.io/audformat/. Tables with ``start``
and ``end`` are segments of files, the others whole files. Tables are never read from pickles.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serlab.core import UserError
from serlab.core.progress import say_once
from serlab.tables.naming import LABEL, SPEAKER, column
from serlab.tables.reading import read_table

_HEADERS = ("db.yaml", "header.yaml")
_FORMATS = (".csv", ".parquet")
_PICKLE = ".pkl"
_TABLES = "db.*"
_FILE, _SEGMENT = "file", ["file", "start", "end"]
# The table to prefer among several with labels.
_USUAL = "db.emotion"


def is_audformat(folder: Path) -> bool:
    """Whether a folder is a database in audformat."""
    headed = any((folder / name).is_file() for name in _HEADERS)
    return headed and any(path.suffix in (*_FORMATS, _PICKLE) for path in folder.glob(_TABLES))


def _tables(folder: Path) -> list[Path]:
    """The tables, each once; the CSV if there are several formats."""
    found = {path.stem: path for suffix in reversed(_FORMATS) for path in folder.glob(f"{_TABLES}{suffix}")}
    return [found[name] for name in sorted(found)]


def read_audformat(folder: Path) -> pd.DataFrame:
    """Read the table with the labels, and the speakers from it or from another table.

    Args:
        folder: of the database.

    Returns:
        Columns ``file``, ``start`` and ``end`` for segments, the label and, if it is known,
        ``speaker``.

    Raises:
        UserError: no table has labels, or a table cannot be read.
    """
    paths = _tables(folder)
    if not paths:
        raise UserError(
            f"{folder} has no table db.*.csv or db.*.parquet; write the database with one of these formats "
            "(serlab reads no pickles)."
        )
    tables = {path.name: read_table(path) for path in paths}
    tables = {name: table for name, table in tables.items() if _FILE in table.columns}
    labelled = [name for name, table in tables.items() if column(table.columns, LABEL, name, quiet=True)]
    if not labelled:
        raise UserError(
            f"no table db.* of {folder} has the columns file and emotion; give a table with path, label and "
            "speaker instead."
        )
    usual = [name for name in labelled if Path(name).stem == _USUAL]
    chosen = usual[0] if usual else max(labelled, key=lambda name: len(tables[name]))
    found = tables[chosen]
    if len(labelled) > 1:
        others = ", ".join(name for name in labelled if name != chosen)
        say_once(f"{folder}: labels are from {chosen}, not from {others}.")
    if column(found.columns, SPEAKER, chosen, quiet=True):
        return found
    for name, table in tables.items():
        speaker = column(table.columns, SPEAKER, name, quiet=True)
        keys = [key for key in _SEGMENT if key in table.columns and key in found.columns]
        if speaker is None or table.duplicated(keys).any():
            continue
        say_once(f"{folder}: speakers are from {name}.")
        return found.merge(table[[*keys, speaker]], how="left", on=keys)
    return found
