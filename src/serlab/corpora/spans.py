"""Columns of a table that restrict a row to a part of a recording.

In serlab, a clip is a whole file. A table whose rows are parts of files (one long recording, many
turns) would otherwise be read as many clips with the same audio.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError

_AROUND = r"(?:seg|segment|utt|utterance|clip|turn|time|t|x)?"
_UNIT = r"(?:time|timestamp|s|sec|secs|second|seconds|ms|msec|millis|milliseconds|sample|samples|frame|frames)?"
_STARTS = re.compile(rf"{_AROUND}(?:start|begin|beginning|onset|offset|from){_UNIT}|[tx]min")
_ENDS = re.compile(rf"{_AROUND}(?:end|stop|finish|to){_UNIT}|[tx]max")
_DURATIONS = re.compile(rf"{_AROUND}(?:duration|dur){_UNIT}")
# Without a start column, these may be the length of a text or a number of bytes.
_LENGTHS = re.compile(rf"{_AROUND}(?:length|len){_UNIT}|(?:n|num|numberof)(?:samples|frames)")
_SLACK_SECONDS, _SLACK_SHARE = 0.1, 0.02


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


def check_spans(source: object, spans: dict[str, NDArray[np.float64]], clips: pd.DataFrame) -> None:
    """Refuse spans that are not the whole file.

    Args:
        source: the table, for the error.
        spans: from :func:`span_columns`.
        clips: one row per span: ``path``, and ``duration`` and ``sample_rate`` of the file, NaN and
            0 if unknown.

    Raises:
        UserError: a row is a part of its file.
    """
    if not spans:
        return
    shared = clips["path"].duplicated(keep=False)
    if not shared.any() and all(_whole(name, values, clips) for name, values in spans.items()):
        return
    names = " and ".join(map(repr, spans))
    raise UserError(
        f"the table {source} gives parts of files in {names}, and serlab reads whole files; cut the files first and "
        f"name the pieces, or drop {'these columns' if len(spans) > 1 else 'this column'} if each file is one clip."
    )


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
    if text.lower() in ("", "nan", "none", "null", "<na>"):
        return float("nan")
    if match := re.fullmatch(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)", text):
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    try:
        return float(text.replace(",", ".") if re.fullmatch(r"\d+,\d+", text) else text)
    except ValueError:
        return None
