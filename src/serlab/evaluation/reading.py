"""Tables of predictions as they are given, read once, with the columns that can be judged."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from serlab.core import UserError, argument
from serlab.tables.naming import column
from serlab.tables.predictions import understood
from serlab.tables.reading import content_of, parse

_MOST_SHOWN = 40


@dataclass(frozen=True)
class ReadTable:
    """A table as it was read, with its name, and the folder that its paths are relative to."""

    name: str
    home: Path
    table: pd.DataFrame
    digest: str
    columns: Sequence[str]


def read_all(
    given: Sequence[Path | str | pd.DataFrame], named: Mapping[str, str], elsewhere: Collection[str], side: str
) -> list[ReadTable]:
    """Read tables that are judged together; arguments as of :func:`serlab.evaluation.prepare.prepare_all`.

    Raises:
        UserError: a file is given twice, a table cannot be read, or none has a column that is named.
    """
    files: dict[Path, str] = {}
    for file in (str(table) for table in given if not isinstance(table, pd.DataFrame)):
        place = Path(file).resolve()
        if first := files.get(place):
            what = f"{file} is given twice" if first == file else f"{first} and {file} are one file"
            raise UserError(f"{what}; give each table once.")
        files[place] = file
    reads = [_read(table, _called(place, len(given)), named, side) for place, table in enumerate(given)]
    _check_named({key: name for key, name in named.items() if key not in elsewhere}, reads)
    return reads


def judged_sides(side: str) -> list[str]:
    """The subset that is judged, and the one that calibration is fitted on."""
    return [side, "dev"] if side == "test" else [side]


def _check_named(named: Mapping[str, str], reads: Sequence[ReadTable]) -> None:
    """Refuse the name of a column that no table has."""
    for key, name in named.items():
        if not any(column(read.columns, (name,), read.name, quiet=True) for read in reads):
            where = ", ".join(read.name for read in reads)
            there = ", ".join(map(str, reads[0].columns[:_MOST_SHOWN]))
            raise UserError(f"{argument(f'{key}_column', name)} is not a column of {where}; the columns are {there}.")


def _called(place: int, tables: int) -> str:
    """The name of a table that is not a file."""
    return "the table" if tables == 1 else f"table {place + 1}"


def _read(table: Path | str | pd.DataFrame, name: str, named: Mapping[str, str], side: str) -> ReadTable:
    sides = judged_sides(side)
    if isinstance(table, pd.DataFrame):
        found = understood(table.reset_index(drop=True), name, named, sides=sides, quiet=True)
        return ReadTable(name, Path(), found, "", list(table.columns))
    path = Path(table)
    content = content_of(path)
    digest = hashlib.sha256(content).hexdigest()
    cells = parse(content, path)
    return ReadTable(
        str(table), path.parent, understood(cells, str(table), named, sides=sides), digest, list(cells.columns)
    )
