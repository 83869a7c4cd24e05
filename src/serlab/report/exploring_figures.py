"""The figures of a corpus's page: measures by label, and the clips in the plane of their features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from serlab.core.randomness import keyed
from serlab.report.charts import WIDTH, shortened
from serlab.report.exploring import Exploring, Measure
from serlab.report.exploring_space import Space
from serlab.report.scatter import MOST_GROUPS, MOST_POINTS, Picture, chosen_rows, draw
from serlab.report.svg import INK, SERIES, Drawing, drawing_of, settings
from serlab.report.words import counted, percent

MOST_SPEAKERS = 6
"""Speakers with a mark of their own; the seventh colour is too near to the grey of the others."""

_LARGE_ROWS = 14


def draw_measures(view: Exploring) -> list[Drawing]:
    """A figure per measure that is known for some clips."""
    with settings():
        return [_draw(measure) for measure in view.measures if measure.whole.quantiles]


def _draw(measure: Measure) -> Drawing:
    rows = [spread for spread in (*measure.labels, measure.whole) if spread.quantiles]
    large = len(rows) <= _LARGE_ROWS
    figure = Figure(figsize=(WIDTH, 0.7 + (0.27 if large else 0.14) * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    quantiles = np.array([spread.quantiles for spread in rows])
    last = len(rows) - 1
    for part, colour in ((places[places < last], SERIES[0]), (places[places == last], INK)):
        axes.hlines(part, quantiles[part, 0], quantiles[part, 4], colors=colour, linewidth=1.2)
        axes.hlines(
            part, quantiles[part, 1], quantiles[part, 3], colors=colour, linewidth=5.5 if large else 3, alpha=0.6
        )
        axes.plot(quantiles[part, 2], part, "o", color=colour, markersize=5.5 if large else 3.5)
    names = [shortened(spread.name) for spread in rows[:-1]]
    axes.set_yticks(places, labels=[*names, "all clips"], fontsize=None if large else 6.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"{measure.title}, {measure.unit}")
    middles = "; ".join(f"{spread.name} {measure.quantile(spread, 2)}" for spread in rows)
    return drawing_of(
        figure,
        measure.key,
        f"{measure.title} by label",
        f"Mark: median; thick: the middle half of the clips; thin: the middle 90 %. {measure.how[0].upper()}"
        f"{measure.how[1:]}.",
        f"Median of {measure.title} in {measure.unit}: {middles}.",
    )


def draw_space(view: Exploring, table: pd.DataFrame) -> list[Picture]:
    """The clips in the plane of their features, coloured by label and by speaker.

    Args:
        view: the corpus.
        table: its clips, with the columns ``x`` and ``y``.
    """
    if view.space is None:
        return []
    rows = table[table["x"].notna()]
    clips = rows["clip"].astype(str).tolist()
    some = rows.iloc[chosen_rows(clips, [], keyed("explore", "picture", view.about.fingerprint))]
    frequent = list(rows["label"].value_counts(sort=True).index)
    labels = [label for label in view.about.labels if label in frequent[:MOST_GROUPS]]
    pictures = [_picture(view, view.space, some, "label", labels)]
    if view.about.speakers is not None:
        marked = _speakers(rows)
        theirs = np.flatnonzero(rows["speaker"].isin(marked)).tolist()
        some = rows.iloc[chosen_rows(clips, theirs, keyed("explore", "picture", view.about.fingerprint))]
        pictures.append(_picture(view, view.space, some, "speaker", marked))
    return pictures


def _speakers(rows: pd.DataFrame) -> list[str]:
    """All speakers, or some that are evenly spaced along the first axis, so that the choice is not by hand."""
    middles = rows.groupby("speaker")["x"].mean().sort_values(kind="stable")
    if len(middles) <= MOST_SPEAKERS:
        return sorted(middles.index)
    places = np.linspace(0, len(middles) - 1, MOST_SPEAKERS).round().astype(int)
    return sorted(middles.index[places])


def _picture(view: Exploring, space: Space, some: pd.DataFrame, column: str, marked: list[str]) -> Picture:
    groups = some[column].astype(str).tolist()
    drawn = "All" if len(some) == space.clips else f"{len(some):,} of {space.clips:,}"
    found = space.of(column)
    share = "" if found is None else f" {column.capitalize()}s explain {percent(found.adjusted)} % of the variance."
    total = view.about.speakers if column == "speaker" else len(view.about.labels)
    few = f" {len(marked)} of {total} {column}s have colours" if total and len(marked) < total else ""
    if few:
        few += ", evenly spaced along the first axis." if column == "speaker" else ", the most frequent ones."
    alternative = (
        f"Clips in the plane of the first two principal components of the {space.features}, coloured by {column}."
        f"{share}"
    )
    axes = tuple(
        f"component {n}, {percent(axis)} % of the variance" for n, axis in zip((1, 2), space.axes, strict=True)
    )
    svg = draw(
        f"space-{column}",
        some[["x", "y"]].to_numpy(np.float64),
        some["clip"].astype(str).tolist(),
        groups,
        marked,
        (axes[0], axes[1]),
        alternative,
    )
    return Picture(
        f"space-{column}",
        f"Coloured by {column}",
        f"{drawn} clips{' (at random)' if len(some) == MOST_POINTS < space.clips else ''}; hover over a mark to see "
        f"its clip, or look it up in clips.csv. Large marks are means.{few}{share}",
        alternative,
        svg,
    )


def describe_points(space: Space) -> str:
    """What a point of the pictures is, in a sentence."""
    return (
        f"Each clip is described by {counted(space.size, 'number')} ({space.features}), standardised over the corpus. "
        f"The pictures show the two directions in which clips vary most, {percent(sum(space.axes))} % of the variance."
    )
