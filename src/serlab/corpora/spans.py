"""Columns of a table that restrict a row to a part of a recording.

A table whose rows are parts of files (one long recording, many turns) would otherwise be read as
many clips with the same audio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.core.progress import say_once

_AROUND = r"(?:seg|segment|utt|utterance|clip|turn|time|t|x)?"
_UNIT = r"(?:time|timestamp|s|sec|secs|second|seconds|ms|msec|millis|milliseconds|sample|samples|frame|frames)?"
_STARTS = re.compile(rf"{_AROUND}(?:start|begin|beginning|onset|offset|from){_UNIT}|[tx]min")
_ENDS = re.compile(rf"{_AROUND}(?:end|stop|finish|to){_UNIT}|[tx]max")
_DURATIONS = re.compile(rf"{_AROUND}(?:duration|dur){_UNIT}")
# Without a start column, these may be the length of a text or a number of bytes.
_LENGTHS = re.compile(rf"{_AROUND}(?:length|len){_UNIT}|(?:n|num|numberof)(?:samples|frames)")
_SLACK_SECONDS, _SLACK_SHARE = 0.1, 0.02
_WHOLE_WITHIN = 0.001


def span_columns(table: pd.DataFrame, others: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Find the columns with the start, end or length of a clip.

    Args:
        table: as it was read.
        others: columns that are used for something else.

    Returns:
        The numbers of each such column, by its name; NaN for an empty cell, infinity for a cell
        that is not a number. A column must have more numbers and clock times than other text.
    """
    kinds = [_STARTS, _ENDS, _DURATIONS]
    if any(_STARTS.fullmatch(_bare(name)) for name in table.columns):
        kinds.append(_LENGTHS)
    found: dict[str, NDArray[np.float64]] = {}
    for place, name in enumerate(table.columns):
        if name in others or not any(kind.fullmatch(_bare(name)) for kind in kinds):
            continue
        values = [_number(cell) for cell in table.iloc[:, place]]
        known = np.array([np.inf if value is None else value for value in values])
        if np.isfinite(known).sum() > np.isinf(known).sum():
            found[str(name)] = known
    return found


def seconds_of(
    source: object, spans: Mapping[str, NDArray[np.float64]], clips: pd.DataFrame, rows: Sequence[int]
) -> NDArray[np.float64] | None:
    """Read the start and end of each clip.

    Args:
        source: the table, for errors.
        spans: from :func:`span_columns`.
        clips: one row per span: ``path``, and ``duration`` and ``sample_rate`` of the file, NaN and
            0 if unknown.
        rows: the number of each row in the table, for errors.

    Returns:
        Start and end in seconds, shape ``(clips, 2)``, NaN for a whole file; None if all clips are
        whole files.

    Raises:
        UserError: the columns can mean several things, or a part is empty or outside its file.
    """
    if not spans:
        return None
    shared = clips["path"].duplicated(keep=False)
    if not shared.any() and all(_whole(name, values, clips) for name, values in spans.items()):
        return None
    roles = _roles(list(spans))
    if roles and set(roles) == {"duration"}:
        # Lengths that differ from those of the files: rounded, or of the speech alone.
        if not shared.any():
            say_once(f"{source}: the column {roles['duration']!r} differs from the lengths of the files; not used.")
            return None
        roles = None
    if roles is None:
        names = " and ".join(map(repr, spans))
        raise UserError(
            f"the table {source} gives parts of files in {names}, which is ambiguous; name the columns "
            "start and end (seconds or HH:MM:SS), or drop them if each file is one clip."
        )
    rates = clips["sample_rate"].to_numpy(np.float64)
    whole = clips["duration"].to_numpy(np.float64)
    read = {role: spans[name] / _unit(name, rates) for role, name in roles.items()}
    start = np.nan_to_num(read.get("start", np.zeros(len(clips))), nan=0.0, posinf=np.inf)
    end = read["end"] if "end" in read else start + read.get("duration", np.full(len(clips), np.nan))
    end = np.where(np.isnan(end), whole, end)
    for row, first, last, length in zip(rows, start, end, whole, strict=True):
        _check_part(source, row, first, last, length)
    end = np.fmin(end, whole)
    parts = np.stack([start, end], axis=1)
    parts[np.isnan(whole) | ((start <= 0) & (end >= whole - _WHOLE_WITHIN))] = np.nan
    return parts


def _check_part(source: object, row: int, start: float, end: float, whole: float) -> None:
    where = f"row {row} of the table {source} (its header not counted)"
    if np.isinf(start) or np.isinf(end):
        raise UserError(f"{where} has a start or end that is not a time; write seconds or HH:MM:SS.")
    if np.isnan(whole):
        return
    slack = max(_SLACK_SECONDS, _SLACK_SHARE * whole)
    if start < 0 or end > whole + slack:
        raise UserError(
            f"{where} is the part from {start:g} to {end:g} s of a file of {whole:.2f} s; write seconds or HH:MM:SS, "
            "or name the unit in the column, such as start_ms."
        )
    if not end > start:
        raise UserError(f"{where} ends at {end:g} s, which is not after its start at {start:g} s.")


def _roles(names: Sequence[str]) -> dict[str, str] | None:
    """Which column is the start, the end and the duration; None if that is not clear."""
    starts = [name for name in names if _STARTS.fullmatch(_bare(name))]
    ends = [name for name in names if _ENDS.fullmatch(_bare(name))]
    lengths = [name for name in names if name not in starts and name not in ends]
    offsets = [name for name in starts if "offset" in _bare(name)]
    if len(starts) == 2 and len(offsets) == 1:
        # onset and offset
        starts, ends = [name for name in starts if name not in offsets], [*ends, *offsets]
    elif offsets:
        return None
    if max(map(len, (starts, ends, lengths))) > 1 or (ends and lengths):
        return None
    found = {"start": starts, "end": ends, "duration": lengths}
    return {role: there[0] for role, there in found.items() if there}


def _unit(name: str, rates: NDArray[np.float64]) -> float | NDArray[np.float64]:
    """How many of a column's units are a second."""
    bare = _bare(name)
    if re.search(r"(?:ms|msec|millis|milliseconds)$", bare):
        return 1000.0
    return np.where(rates > 0, rates, 1.0) if re.search(r"(?:samples?|frames?)$", bare) else 1.0


def _whole(name: str, values: NDArray[np.float64], clips: pd.DataFrame) -> bool:
    """Whether a column only contains the start 0, or the length of each file, in a single unit."""
    given = ~np.isnan(values)
    if not np.any(values[given]):
        return bool(_STARTS.fullmatch(_bare(name)))
    seconds = clips["duration"].to_numpy(np.float64)
    units = (1.0, 1000.0, clips["sample_rate"].to_numpy(np.float64))
    known = given & ~np.isnan(seconds)
    slack = np.maximum(_SLACK_SECONDS, _SLACK_SHARE * seconds[known])
    return any(
        bool((np.abs(values / np.where(np.asarray(unit) > 0, unit, 1.0) - seconds)[known] <= slack).all())
        for unit in units
    )


def _bare(name: object) -> str:
    return re.sub(r"[^a-z]", "", str(name).lower())


def _number(cell: object) -> float | None:
    """A cell as a number, or a clock time in seconds; NaN if it is empty, None if it is something else."""
    text = "" if cell is None else str(cell).strip()
    if text.lower() in ("", "nan", "nat", "none", "null", "<na>"):
        return float("nan")
    if match := re.fullmatch(r"(?:(\d+) days? )?(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)", text):
        days, hours, minutes, seconds = match.groups()
        whole = 24 * int(days or 0) + int(hours or 0)
        return 3600 * whole + 60 * int(minutes) + float(seconds.replace(",", "."))
    try:
        return float(text.replace(",", ".") if re.fullmatch(r"\d+,\d+", text) else text)
    except ValueError:
        return None
