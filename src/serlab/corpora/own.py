"""The user's own corpus: a folder ``label/clip.wav``, or a CSV or Parquet table of files and labels."""

from __future__ import annotations

import math
import os
import re
from functools import cache
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from serlab.audio import find_audio
from serlab.core import Exclusion, UserError
from serlab.core.progress import say, say_once
from serlab.corpora import spelling
from serlab.corpora.audformat import is_audformat, read_audformat
from serlab.corpora.base import Columns, Corpus, fingerprint
from serlab.corpora.levels import read_levels
from serlab.corpora.listed import Listed, read_listed, take_listed
from serlab.corpora.parts import cut
from serlab.corpora.scan import describe_files, scan
from serlab.corpora.spans import seconds_of

_TABLE_HELP = "give a CSV or Parquet table with the columns path, label and speaker instead"
_WITHOUT_AUDIO = "a folder without audio"
NOT_UTF8 = "its name is not UTF-8; rename it"
"""Why a file with such a name is left out."""
_MOST_SAID = 100


def load(path: Path, columns: Columns | None = None, *, fewest_labels: int = 2) -> Corpus:
    """Load the user's own corpus.

    Args:
        path: a folder with one folder per label (or per speaker and label), a database in
            audformat, or a CSV (UTF-8) or Parquet table.
        columns: the names of the table's columns, if they are not the usual ones.
        fewest_labels: minimum number of labels.

    Returns:
        The corpus, named after the folder or table. A clip's id is its path without extension,
        relative to the folder or to the table's folder. Every file that looks like a recording is a
        clip; screening finds those that cannot be used.

    Raises:
        UserError: the folder or table is incomplete, or names files that do not exist.
    """
    if not is_utf8(str(path.absolute())):
        raise UserError(f"the path {str(path)!a} is not UTF-8; rename its folders or files.")
    listed: Listed | None = None
    excluded: list[Exclusion] = []
    if path.is_dir() and is_audformat(path):
        listed = take_listed(path, read_audformat(path), columns or Columns())
        clips, home = listed.clips, path
    elif path.is_dir():
        if columns is not None:
            raise UserError(f"{path} is a folder, which has no columns; {_TABLE_HELP}.")
        clips, excluded = _clips_of_folder(path)
        home = path
    else:
        listed = read_listed(path, columns or Columns())
        clips, home = listed.clips, path.parent
    clips = _with_one_spelling(path, clips)
    lost = _lost(clips, excluded)
    labels = tuple(sorted(clips["label"].unique()))
    _say_exclusions(path, tuple(excluded))
    if len(labels) < fewest_labels:
        others = f" ({'; '.join(f'{label}: {reason}' for label, reason in lost.items())})" if lost else ""
        raise UserError(f"{path} has only the label {labels[0]!r}{others}; expected at least two.")
    files = scan(clips["path"].tolist(), f"looking at {path.name}")
    names = clips["path"].tolist()
    parts = None
    if listed is not None:
        parts = seconds_of(path, listed.spans, pd.concat([clips, files], axis=1), listed.rows)
    if parts is not None and listed is not None:
        count = int((~np.isnan(parts[:, 0])).sum())
        say_once(f"{path}: {count:,} of {len(parts):,} rows are parts of files ({', '.join(listed.spans)}).")
        clips["recording"], rates = names, files["sample_rate"].tolist()
        clips["path"] = cut(names, parts, files["sha256"].tolist(), f"cutting {path.name}")
        # The parts are WAV files at 16 kHz; what is known of the corpus is the rate of its recordings.
        files = scan(clips["path"].tolist(), f"looking at the parts of {path.name}").assign(sample_rate=rates)
        names = [_part_name(name, *part) for name, part in zip(names, parts, strict=True)]
    clips = pd.concat([clips, files], axis=1)
    clips.insert(0, "clip", _ids(names, home, path, listed))
    clips = clips.sort_values("clip", ignore_index=True)
    speakers_known = "speaker" in clips.columns
    if not speakers_known:
        clips["speaker"] = ""
        _warn_speakers_unknown(path)
    _warn_of_people(path, labels, tuple(clips["speaker"]) == tuple(clips["label"]))
    return Corpus(
        name=safe_name(path),
        clips=clips,
        labels=labels,
        licence="not stated (the user's own corpus)",
        citation="not stated (the user's own corpus)",
        fingerprint=fingerprint(clips),
        copy=f"{'parts of ' if parts is not None else ''}the user's own {describe_files(clips)} files",
        speakers_known=speakers_known,
        excluded=tuple(excluded),
        lost=lost,
    )


def _part_name(path: str, start: float, end: float) -> str:
    """Name a part of a recording: milliseconds of start and end after the recording's name."""
    if math.isnan(start):
        return path
    whole = PurePath(path)
    return str(whole.with_name(f"{whole.stem}-{round(1000 * start):07d}-{round(1000 * end):07d}{whole.suffix}"))


@cache
def _warn_speakers_unknown(path: Path) -> None:
    say(
        f"{path} has no speakers: the same voice may be in training and test, and serlab cannot know (give a table "
        "with a speaker column)."
    )


@cache
def _warn_of_people(path: Path, labels: tuple[str, ...], speakers_are_labels: bool) -> None:
    if not speakers_are_labels and not spelling.named_like_people(labels):
        return
    shown = ", ".join(labels[:3]) + (", …" if len(labels) > 3 else "")
    remedy = "name the column of the labels" if path.is_file() else f"{_TABLE_HELP}, or describe the names of the files"
    say(
        f"warning: the {len(labels)} labels of {path} look like people ({shown}), so models would learn who speaks; "
        f"if they are, {remedy}."
    )


@cache
def _say_exclusions(path: Path, excluded: tuple[Exclusion, ...]) -> None:
    for entry in excluded[:_MOST_SAID]:
        say(f"left out: {entry.path} ({entry.reason})")
    if len(excluded) > _MOST_SAID:
        say(f"left out: {len(excluded) - _MOST_SAID:,} more entries of {path}; its verification lists all.")


def _clips_of_folder(folder: Path) -> tuple[pd.DataFrame, list[Exclusion]]:
    found = find_audio([folder])
    home = str(folder.absolute())
    names, excluded = [], []
    for file in found.files:
        name = os.path.relpath(file, folder)
        if is_utf8(name):
            names.append(name)
        else:
            excluded.append(left_out(folder, name, NOT_UTF8))
    excluded += [left_out(folder, os.path.relpath(entry.path, folder), entry.reason) for entry in found.excluded]
    bare = [os.path.relpath(each, folder) for each in found.bare]
    excluded += [left_out(folder, name, _WITHOUT_AUDIO) for name in bare if "/" not in name and name != os.curdir]
    if not names:
        first = excluded[0]
        raise UserError(f"the folder {folder} holds no audio that can be used (first {first.path}: {first.reason}).")
    levels = read_levels(names)
    if levels is None:
        wrong = next(name for name in names if name.count("/") != 1)
        where = "is deeper than label/clip" if "/" in wrong else "is not in a label's folder"
        raise UserError(f"{folder / wrong} {where}; put each clip into {folder}/LABEL/, or {_TABLE_HELP}.")
    clips = pd.DataFrame({"path": [f"{home}/{name}" for name in names]})
    for column, place in levels.items():
        clips[column] = [name.split("/")[place] for name in names]
    if len(levels) > 1 or levels["label"]:
        what = " and ".join(f"folders of level {place + 1} are {column}s" for column, place in levels.items())
        say_once(f"{folder}: {what}.")
    return clips, excluded


def left_out(folder: Path, name: str, reason: str) -> Exclusion:
    """A file of a folder that is not read."""
    shown = shown_name(name)
    return Exclusion(shown, str(folder / shown), reason)


def _lost(clips: pd.DataFrame, excluded: list[Exclusion]) -> dict[str, str]:
    """Labels with a folder but no clip, with the reason of the first entry in it."""
    labels = set(clips["label"])
    lost: dict[str, str] = {}
    for entry in excluded:
        label, inside, _ = entry.clip.partition("/")
        # A file beside the label folders is not a label, unless it replaces a missing folder.
        if not inside and Path(entry.path).is_file():
            if not label.endswith(".dvc"):
                continue
            label = label.removesuffix(".dvc")
        if not label.startswith(".") and label not in labels:
            lost.setdefault(label, entry.reason)
    return lost


def _with_one_spelling(source: Path, clips: pd.DataFrame) -> pd.DataFrame:
    """Give labels and speakers that look the same one spelling; refuse or name near duplicates."""
    clips = clips.copy()
    for column in {"label", "speaker"} & set(clips.columns):
        clips[column], notes = spelling.joined(clips[column].tolist())
        for note in notes:
            say_once(f"{source}: the {column} {note}, which looks the same.")
    spelling.check_labels_differ(clips["label"].tolist(), source)
    if "speaker" in clips.columns:
        for group in spelling.nearly_same(clips["speaker"].unique()):
            listed = " and ".join(map(repr, group))
            apart = spelling.difference(group)
            say_once(
                f"warning: {source} has speakers that differ only in {apart} and count as different ones: {listed}."
            )
    return clips


def _ids(paths: list[str], home: Path, source: Path, listed: Listed | None) -> list[str]:
    """Clip ids: paths relative to ``home`` without extension; two files with one id are an error."""
    owners: dict[str, str] = {}
    for place, name in enumerate(paths):
        # Tables cannot hold names that begin or end with a blank.
        clip = Path(os.path.relpath(name, home.absolute())).with_suffix("").as_posix().strip()
        if owners.get(clip) == name and listed is not None:
            row = listed.rows[place]
            raise UserError(f"row {row} of the table {source} (its header not counted) names {name} again.")
        if clip in owners:
            raise UserError(
                f"{owners[clip]} and {name} would both be the clip {clip!r} of {source}; keep or rename one of them."
            )
        owners[clip] = name
    return list(owners)


def shown_name(name: str) -> str:
    """A file's name with escapes for what is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def is_utf8(text: str) -> bool:
    """Whether a file's name, as Python gives it, was UTF-8 on the disk."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def safe_name(path: Path) -> str:
    """Name of a folder that results can be written to."""
    stem = path.absolute().name if path.is_dir() else path.stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "own"
