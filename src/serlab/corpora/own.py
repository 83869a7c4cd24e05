"""The user's own corpus: a folder of ``label/clip.wav``, or a CSV or Parquet table that names files and labels."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pandas as pd

from serlab.audio import find_audio
from serlab.cells import text_of
from serlab.core import UserError
from serlab.corpora.base import Columns, Corpus, fingerprint
from serlab.corpora.scan import describe_files, scan
from serlab.naming import FILE, LABEL, SPEAKER, alike, column
from serlab.progress import say
from serlab.table_file import read_table

_USUAL = {"path": FILE, "label": LABEL, "speaker": SPEAKER, "sentence": ("sentence",)}
_TABLE_HELP = "give a CSV or Parquet table with the columns path, label and speaker instead"


def load(path: Path, columns: Columns | None = None) -> Corpus:
    """Load a corpus of the user's own.

    Args:
        path: a folder with one folder a label, each with that label's audio files; or a CSV (UTF-8) or Parquet table.
        columns: the names of the table's columns, where they are not the usual ones.

    Returns:
        The corpus, named after the folder or table. A clip's id is its path without extension, relative to the folder
        or to the table's.

    Raises:
        UserError: the folder or table does not say what is needed, or names files that do not exist.
    """
    if path.is_dir():
        if columns is not None:
            raise UserError(f"{path} is a folder, which has no columns to be named; {_TABLE_HELP}.")
        clips = _clips_of_folder(path)
        home = path
    else:
        clips = _clips_of_table(path, columns or Columns())
        home = path.parent
    clips.insert(0, "clip", _ids(clips["path"].tolist(), home, path))
    clips = clips.sort_values("clip", ignore_index=True)
    labels = tuple(sorted(clips["label"].unique()))
    if len(labels) < 2:
        raise UserError(f"{path} has only the label {labels[0]!r}; a corpus needs at least two to tell apart.")
    speakers_known = "speaker" in clips.columns
    if not speakers_known:
        clips["speaker"] = ""
        _warn_speakers_unknown(path)
    clips = pd.concat([clips, scan(clips["path"].tolist(), f"looking at {path.name}")], axis=1)
    return Corpus(
        name=_safe_name(path),
        clips=clips,
        labels=labels,
        licence="not stated (the user's own corpus)",
        citation="not stated (the user's own corpus)",
        fingerprint=fingerprint(clips),
        copy=f"the user's own {describe_files(clips)} files",
        speakers_known=speakers_known,
    )


@cache
def _warn_speakers_unknown(path: Path) -> None:
    say(
        f"{path} names no speakers: the same voice may be in training and in test, and nothing here can tell "
        "(a table with a speaker column can)."
    )


def _clips_of_folder(folder: Path) -> pd.DataFrame:
    rows = []
    for file in map(Path, find_audio([folder])):
        depth = len(file.relative_to(folder).parts)
        if depth != 2:
            where = "in no label's folder" if depth < 2 else "deeper than label/clip"
            raise UserError(f"{file} lies {where}; put each clip into {folder}/LABEL/, or {_TABLE_HELP}.")
        rows.append({"path": str(file.absolute()), "label": file.parent.name})
    return pd.DataFrame(rows)


def _clips_of_table(path: Path, columns: Columns) -> pd.DataFrame:
    table = _read_table(path)
    wanted = {}
    for ours, usual in _USUAL.items():
        asked = getattr(columns, ours)
        named = asked not in (None, ours)
        theirs = column(table.columns, (asked,) if named else usual, str(path))
        if theirs is not None:
            wanted[ours] = theirs
        elif named or ours in ("path", "label"):
            there = ", ".join(map(str, table.columns))
            near = alike(table.columns, usual, f"--{ours}-column")
            raise UserError(f"the table {path} has no column {asked!r} for the {ours} (it has: {there}){near}.")
    if table.empty:
        raise UserError(f"the table {path} has no rows.")
    clips = pd.DataFrame({ours: _filled(path, table[theirs], theirs) for ours, theirs in wanted.items()})
    clips["path"] = [os.path.normpath(path.parent.absolute() / name) for name in clips["path"]]
    absent = [name for name in clips["path"] if not Path(name).is_file()]
    if absent:
        raise UserError(
            f"{len(absent):,} of the {len(clips):,} files that {path} names do not exist, first {absent[0]}; "
            "paths are absolute or relative to the table's folder."
        )
    return clips


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{path} is neither a folder nor a table whose name ends in .csv or .parquet.")
    return read_table(path)


def _filled(path: Path, cells: pd.Series, name: str) -> pd.Series:
    """Text of a column without surrounding blanks; an empty cell is an error."""
    text = text_of(cells, f"the table {path}")
    empty = text == ""
    if empty.any():
        row = int(cells.index[int(empty.to_numpy().argmax())]) + 1
        raise UserError(f"row {row} of the table {path} (its header not counted) has nothing in the column {name!r}.")
    return text


def _ids(paths: list[str], home: Path, source: Path) -> list[str]:
    """Clip ids: paths relative to ``home`` without extension; two files of one id are an error."""
    owners: dict[str, str] = {}
    for row, name in enumerate(paths, start=1):
        clip = Path(os.path.relpath(name, home.absolute())).with_suffix("").as_posix()
        if owners.get(clip) == name:
            raise UserError(f"row {row} of the table {source} (its header not counted) names {name} again.")
        if clip in owners:
            raise UserError(
                f"{owners[clip]} and {name} would both be the clip {clip!r} of {source}; keep or rename one of them."
            )
        owners[clip] = name
    return list(owners)


def _safe_name(path: Path) -> str:
    """Give the name of a folder that results can be written to."""
    stem = path.absolute().name if path.is_dir() else path.stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "own"
