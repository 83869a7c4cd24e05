"""Figures of paired differences: between recipes, label by label, speaker by speaker."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serlab.evaluation.breakdown import Breakdown, excludes_zero
from serlab.report.charts import (
    WIDEST_TITLE,
    WIDTH,
    broken,
    dot,
    dots,
    row_axes,
    row_height,
    row_title,
    shortened,
)
from serlab.report.letters import differ
from serlab.report.pairs import PairReport
from serlab.report.summary import Report
from serlab.report.svg import INK, LINE, MUTED, SERIES, Drawing, drawing_of
from serlab.report.words import interval_text, percent, points, wins_text

_EQUAL = 1e-6
_MOST_PAIRS = 3
_MOST_NAMED = 30
"""Speakers up to which each has a row with a name."""


def draw_differences(summary: Report) -> list[Drawing]:
    """The difference of every pair in one figure; nothing without a pair."""
    pairs = [(pair, pair.comparison.differences["uar"]) for pair in summary.pairs if pair.comparison]
    if not pairs:
        return []
    titles = _titles(summary)
    names = [_pair_title(titles[pair.first], titles[pair.second]) for pair, _ in pairs]
    figure, axes = row_axes(len(pairs), row_height(names, 0.56))
    seen = []
    for row, (pair, difference) in enumerate(pairs):
        row_title(axes, row, names[row], points(difference.value))
        dot(axes, row, difference, 0, hollow=not differ(pair))
        seen.append(
            f"{titles[pair.first]} minus {titles[pair.second]}: {points(difference.value)} "
            f"({interval_text(difference)})"
        )
    _zero_line(axes)
    axes.set_xlabel("Difference in UAR, points")
    return [
        drawing_of(
            figure,
            "differences",
            f"Differences between {summary.noun}s",
            "Each pair on the same clips and the same resampled speakers, with its 95 % interval. A hollow mark: "
            f"no difference can be shown{' after Holm over all pairs' if len(pairs) > 1 else ''}."
            if summary.tests_pairs
            else "Each pair on the same clips, without intervals. A hollow mark: no difference can be shown.",
            f"Paired differences in UAR, in points: {'; '.join(seen)}.",
        )
    ]


def draw_label_gains(summary: Report) -> list[Drawing]:
    """The difference of the two best recipes, label by label; nothing if they cannot be compared."""
    pair, found = next(iter(_of_best(summary)), (None, None))
    if pair is None or found is None or not found.labels:
        return []
    titles = _titles(summary)
    figure, axes = row_axes(len(found.labels), 0.3)
    axes.set_ylim(len(found.labels) - 0.5, -0.5)
    axes.set_yticks(range(len(found.labels)), labels=[shortened(name) for name in found.labels])
    rows = dict(enumerate(found.labels.values()))
    dots(axes, rows, 0, hollow={row for row, difference in rows.items() if not excludes_zero(difference)})
    _zero_line(axes)
    axes.set_xlabel("Difference in recall, points")
    seen = "; ".join(f"{name} {points(each.value)} ({interval_text(each)})" for name, each in found.labels.items())
    together = (
        f" The intervals hold together at 95 %: each has {percent(found.label_level)} % (Bonferroni over the labels)."
        if any(each.low is not None for each in found.labels.values())
        else ""
    )
    pair_name = f"{titles[pair.first]} less {titles[pair.second]}"
    return [
        drawing_of(
            figure,
            "label-gains",
            "Label by label",
            f"{pair_name}, on the same clips.{together} A hollow mark: no difference can be shown.",
            f"Differences in recall, in points, {pair_name}: {seen}.",
        )
    ]


def draw_gains(summary: Report) -> list[Drawing]:
    """The best recipe less each of the next ones, speaker by speaker; nothing if speakers are unknown."""
    titles = _titles(summary)
    shown = [(pair, found) for pair, found in _of_best(summary) if found.gains][:_MOST_PAIRS]
    return [_draw_gains(number, pair, found, titles) for number, (pair, found) in enumerate(shown)]


def _draw_gains(number: int, pair: PairReport, found: Breakdown, titles: Mapping[str, str]) -> Drawing:
    gains = 100 * np.array(list(found.gains.values()))
    first, second = titles[pair.first], titles[pair.second]
    colours = [MUTED if abs(gain) < _EQUAL else SERIES[0] if gain > 0 else SERIES[1] for gain in gains]
    ranks = np.arange(len(gains))
    named = len(gains) <= _MOST_NAMED
    if named:
        figure, axes = row_axes(len(gains), 0.18)
        axes.set_ylim(len(gains) - 0.4, -0.6)
        axes.hlines(ranks, 0, gains, colors=colours, linewidth=1.6)
        axes.scatter(gains, ranks, c=colours, s=22, zorder=3)
        axes.set_yticks(ranks, labels=[shortened(name) for name in found.gains], fontsize=9.5)
        _zero_line(axes)
        axes.axvline(gains.mean(), color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        axes.set_xlabel("Difference in UAR, points (dashed: mean)")
    else:
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.vlines(ranks, 0, gains, colors=colours, linewidth=max(0.8, 180 / len(gains) * 0.6))
        axes.axhline(0, color=INK, linewidth=1)
        axes.axhline(gains.mean(), color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.grid(axis="y", color=LINE)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
        axes.set_xlabel(f"{len(gains)} speakers, sorted (dashed: mean)")
        axes.set_ylabel("Difference in UAR, points")
    names = list(found.gains)
    ends = f"from {points(gains[-1] / 100)} ({names[-1]}) to {points(gains[0] / 100)} ({names[0]})"
    return drawing_of(
        figure,
        f"gains-{number}",
        "Speaker by speaker",
        f"{first} less {second}, sorted: {wins_text(found)}. This describes the speakers at hand; what it says about "
        "others is in the interval of the difference.",
        f"Difference in UAR of each speaker, in points, {first} less {second}: {ends}; {wins_text(found)}.",
    )


def _of_best(summary: Report) -> list[tuple[PairReport, Breakdown]]:
    """Pairs of the best recipe that can be compared, in order of the other's rank."""
    best = summary.recipes[0].name
    return [(pair, pair.breakdown) for pair in summary.pairs if pair.breakdown and pair.first == best]


def _titles(summary: Report) -> dict[str, str]:
    return {recipe.name: recipe.title for recipe in summary.recipes}


def _zero_line(axes: Axes) -> None:
    """A line at zero, at least a point away from the ends of the axis."""
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -1), max(high, 1))


def _pair_title(first: str, second: str) -> str:
    title = f"{first} − {second}"
    return title if len(title) <= WIDEST_TITLE else f"{broken(first)}\n{broken(f'− {second}')}"
