"""Spans of emotion from tables and Praat TextGrids, by recording."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.evaluation.diarization import Span, timeline
from serlab.tables.cells import missing
from serlab.tables.reading import content_of, read_table

Spans = dict[str, list[Span]]
"""Spans in the order of time, by recording."""

# Text in quotes (doubled inside), indices in brackets, which count nothing, and numbers.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|\[\d*\]|([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)')
_TIER = "emotion"


def read_reference(path: Path) -> Spans:
    """Read true spans.

    Args:
        path: a table with the columns ``file``, ``start``, ``end`` (seconds) and ``label``, or a TextGrid, whose tier
            ``emotion``, or else first interval tier, is that of the recording with the same name.

    Raises:
        UserError: it is neither.
    """
    if path.suffix.lower() == ".textgrid":
        return {path.stem: _textgrid(path)}
    return _table(path, "file", "label", "reference")


def read_predicted(path: Path) -> Spans:
    """Read the segments that ``serlab predict`` wrote as CSV, JSON lines or Parquet, as spans without overlap.

    A clip, whose row has no times, is one span to the end of its reference.

    Raises:
        UserError: it is something else.
    """
    return {file: timeline(spans) for file, spans in _table(path, "path", "predicted", "table").items()}


def _table(path: Path, file: str, label: str, what: str) -> Spans:
    table = read_table(path, what)
    columns = (file, "start", "end", label)
    absent = [column for column in columns if column not in table]
    if absent:
        raise UserError(f"the {what} {path} lacks {', '.join(absent)}; expected the columns {', '.join(columns)}.")
    found: Spans = {}
    rows = zip(table.index, *(table[column].tolist() for column in columns), strict=True)
    for place, name, start, end, emotion in rows:
        whole = file == "path" and missing(start) and missing(end)
        times = (0.0, math.inf) if whole else (_seconds(start), _seconds(end))
        span = Span(*times, None if missing(emotion) else str(emotion))
        if missing(name) or not (whole or 0 <= span.start < span.end < math.inf):
            raise UserError(
                f"row {place + 1} of the {what} {path} is not a span of a recording; expected a {file}, and a start "
                "before an end in seconds."
            )
        found.setdefault(str(name), []).append(span)
    return {name: sorted(spans, key=lambda span: (span.start, span.end)) for name, spans in found.items()}


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _textgrid(path: Path) -> list[Span]:
    content = content_of(path, "reference")
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        tiers = dict(reversed(list(_tiers(content.decode("utf-16" if utf16 else "utf-8-sig")))))
    except (ValueError, StopIteration, RuntimeError) as error:
        raise UserError(f"the reference {path} is not a whole TextGrid; save it again with Praat, as text.") from error
    if not tiers:
        raise UserError(f"the reference {path} has no interval tier; expected one called {_TIER}.")
    return tiers.get(_TIER) or list(tiers.values())[-1]


def _tiers(text: str) -> Iterator[tuple[str, list[Span]]]:
    """The interval tiers of a TextGrid in its long or short form, which have the same values in the same order."""
    values = (
        found[1].replace('""', '"') if found[1] is not None else float(found[2])
        for found in _TOKEN.finditer(text)
        if found[1] is not None or found[2]
    )
    if list(islice(values, 2)) != ["ooTextFile", "TextGrid"]:
        raise ValueError("another kind of file")
    _, _, tiers = _numbers(values, 3)
    for _ in range(int(tiers)):
        kind, name = next(values), next(values)
        _, _, size = _numbers(values, 3)
        intervals = kind == "IntervalTier"
        spans = []
        for _ in range(int(size)):
            times = _numbers(values, 2 if intervals else 1)
            label = str(next(values)).strip()
            spans.append(Span(times[0], times[-1], label or None))
        if intervals:
            yield str(name), spans


def _numbers(values: Iterator[str | float], count: int) -> list[float]:
    found = [value for value in islice(values, count) if isinstance(value, float)]
    if len(found) != count:
        raise ValueError("a number is missing")
    return found
