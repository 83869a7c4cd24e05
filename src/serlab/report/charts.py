"""Parts that the report's figures share: rows with a title, marks, intervals, legends.

Figures are as wide as a phone shows them and still have letters of 7 points when they are printed
8 cm wide, a column of a paper.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence, Set
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serlab.evaluation.resampling import Interval
from serlab.report.svg import MARKERS, PAGE, SERIES

WIDTH = 4.2
"""Of every figure, in inches."""
WIDEST_TITLE = 38
_LONGEST_NAME = 16


def row_axes(rows: int, height: float, extra: float = 0.0) -> tuple[Figure, Axes]:
    """A figure with horizontal rows, the first on top."""
    figure = Figure(figsize=(WIDTH, 0.66 + height * rows + extra), layout="constrained")
    axes = figure.subplots()
    axes.set_ylim(rows - 0.6, -0.75)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(axis="x")
    return figure, axes


def broken(title: str, width: int = WIDEST_TITLE) -> str:
    """A title broken into lines that leave room for the value beside it, or that are narrower than a figure."""
    return textwrap.fill(title, width)


def shortened(name: str) -> str:
    """A label's or a speaker's name, cut off where it would leave no room for the figure.

    >>> shortened("sad"), shortened("a name that goes on")
    ('sad', 'a name that goe…')
    """
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def row_height(titles: Sequence[str], height: float) -> float:
    """Height of a row, in inches, that holds the longest of the titles; ``height`` holds one line."""
    return height + 0.18 * max(title.count("\n") for title in titles)


def row_title(axes: Axes, row: int, title: str, value: str, lift: float = 0.2) -> None:
    """Name on the left and value on the right, just above the row, on a background that hides the grid."""
    backing = {"facecolor": PAGE, "edgecolor": "none", "pad": 0.8}
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "bottom", "bbox": backing, "zorder": 2.5}
    axes.text(0.0, row - lift, title, ha="left", **place)
    axes.text(1.0, row - lift, value, ha="right", weight="bold", **place)


def dot(axes: Axes, row: int, score: Interval, index: int, *, hollow: bool) -> None:
    """An estimate with its interval, in per cent or points."""
    dots(axes, {row: score}, index, hollow={row} if hollow else set())


def dots(axes: Axes, scores: Mapping[int, Interval], index: int, *, hollow: Set[int]) -> None:
    """Estimates of rows with their intervals, in per cent or points; those of the rows in ``hollow`` are hollow."""
    spans(axes, scores, index, width=2.4)
    for empty in (False, True):
        rows = [row for row in scores if (row in hollow) == empty]
        if rows:
            mark = mark_of(index) | ({"markerfacecolor": PAGE} if empty else {})
            values = [100 * scores[row].value for row in rows]
            axes.plot(values, rows, markersize=7.5, zorder=4, linestyle="none", **mark)


def spans(axes: Axes, scores: Mapping[int, Interval] | Mapping[float, Interval], index: int, *, width: float) -> None:
    """Intervals of rows as lines, in per cent or points; nothing for a score that has none."""
    known = [
        (row, 100 * score.low, 100 * score.high)
        for row, score in scores.items()
        if score.low is not None and score.high is not None
    ]
    if known:
        rows, low, high = zip(*known, strict=True)
        axes.hlines(rows, low, high, colors=SERIES[index % len(SERIES)], linewidth=width, zorder=3)


def mark_of(index: int) -> dict[str, Any]:
    """Marker and colour of a recipe, by its place; colours repeat with another marker."""
    colour = SERIES[index % len(SERIES)]
    marker = MARKERS[(index + 3 * (index // len(SERIES))) % len(MARKERS)]
    return {"marker": marker, "color": colour, "markeredgecolor": colour, "markeredgewidth": 1.6}


def line_of(index: int) -> dict[str, Any]:
    """Colour and style of a recipe's line, by its place; colours repeat in another style."""
    styles = ("-", "--", ":")
    return {"color": SERIES[index % len(SERIES)], "linestyle": styles[index // len(SERIES) % len(styles)]}


def _legend_columns(titles: Sequence[str]) -> int:
    return 2 if len(titles) > 1 and max(map(len, titles)) <= WIDEST_TITLE // 2 else 1


def legend_rows(titles: Sequence[str]) -> int:
    """Lines that a legend of these titles takes."""
    columns = _legend_columns(titles)
    return -(-len(titles) // columns) if columns > 1 else sum(1 + broken(title).count("\n") for title in titles)


def legend(axes: Axes, titles: Sequence[str]) -> None:
    """A legend above the axes, of the lines whose labels are titles."""
    # Named one by one, because matplotlib leaves out labels that begin with an underscore.
    lines = [line for line in axes.get_lines() if line.get_label() in titles]
    axes.legend(
        lines,
        [broken(str(line.get_label())) for line in lines],
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=_legend_columns(titles),
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.2,
    )
