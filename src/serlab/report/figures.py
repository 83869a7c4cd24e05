"""The report's figures, drawn from the report alone; narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from serlab.report.charts import (
    WIDEST_TITLE,
    WIDTH,
    broken,
    dot,
    legend,
    legend_rows,
    line_of,
    mark_of,
    row_axes,
    row_height,
    row_title,
    shortened,
    spans,
)
from serlab.report.pair_figures import draw_differences, draw_gains, draw_label_gains
from serlab.report.recipe import RecipeReport
from serlab.report.summary import Report
from serlab.report.svg import INK, LINE, MUTED, SERIES, Drawing, drawing_of, settings
from serlab.report.words import interval_text, listed, percent

_STRONGEST_FILL = 0.55
_STRONG_SHARE = 0.25
_SHADES = 140
"""Of a cell's fill: as many as 8 bits of opacity hold up to the strongest."""
MOST_COUNTED = 10
"""Labels up to which a confusion matrix has room for clips below the shares."""
MOST_WRITTEN = 20
"""Labels up to which a confusion matrix has room for numbers."""


def draw_all(summary: Report) -> list[Drawing]:
    """Draw every figure that the report has data for.

    Args:
        summary: from :func:`serlab.report.summary.summarise`.

    Returns:
        The drawings, in the order of the page.
    """
    with settings():
        first = [_draw_uar(summary), *draw_differences(summary), _draw_recalls(summary), *draw_label_gains(summary)]
        of_speakers = [_draw_speakers(summary), *draw_gains(summary), _draw_curves(summary)]
        confusions = [_draw_confusion(summary, index) for index in range(len(summary.recipes))]
    return [drawing for drawing in (*first, *of_speakers, *confusions) if drawing is not None]


def _draw_uar(summary: Report) -> Drawing:
    recipes = summary.recipes
    titles = [broken(recipe.title) for recipe in recipes]
    figure, axes = row_axes(len(recipes), row_height(titles, 0.52))
    chance = 100 * summary.chance
    for row, recipe in enumerate(recipes):
        score = recipe.scores["uar"]
        row_title(axes, row, titles[row], percent(score.value))
        dot(axes, row, score, row, hollow=recipe.learned is False)
    highest = max(chance, *(100 * (recipe.scores["uar"].high or recipe.scores["uar"].value) for recipe in recipes))
    axes.set_xlim(0, min(100, 10 * np.ceil((highest + 4) / 10)))
    axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.set_xlabel(f"UAR, % (dashed: chance, {chance:.1f} %)")
    seen = "; ".join(f"{r.title} {percent(r.scores['uar'].value)} %, {_interval(r)}" for r in recipes)
    return drawing_of(
        figure,
        "uar",
        f"UAR of each {summary.noun}",
        f"Unweighted average recall, {summary.intervals_text}."
        + (" A hollow mark: not shown to be above chance." if summary.has_intervals else ""),
        f"UAR by {summary.noun}: {seen}. Chance is {chance:.1f} %.",
    )


def _draw_recalls(summary: Report) -> Drawing:
    recipes, labels = summary.recipes, summary.corpus["labels"]
    titles = [recipe.title for recipe in recipes]
    figure, axes = row_axes(len(labels), 0.24 + 0.1 * len(recipes), extra=0.26 * legend_rows(titles))
    offsets = np.linspace(-0.3, 0.3, len(recipes)) if len(recipes) > 1 else np.zeros(1)
    for index, recipe in enumerate(recipes):
        places = {label: row + offsets[index] for row, label in enumerate(labels) if label in recipe.recalls}
        spans(axes, {place: recipe.recalls[label] for label, place in places.items()}, index, width=1.3)
        values = [100 * recipe.recalls[label].value for label in places]
        mark = mark_of(index) | {"linestyle": "none", "markersize": 5, "label": recipe.title}
        axes.plot(values, list(places.values()), zorder=4, **mark)
    between = np.arange(1, len(labels)) - 0.5
    axes.hlines(between, 0, 1, transform=axes.get_yaxis_transform(), color=LINE, linewidth=0.6)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=[shortened(label) for label in labels])
    axes.set_xlim(0, 100)
    axes.set_xlabel("Recall, %")
    legend(axes, titles)
    seen = "; ".join(
        f"{recipe.title}: " + ", ".join(f"{name} {percent(found.value)}" for name, found in recipe.recalls.items())
        for recipe in recipes
    )
    shown = any(found.low is not None for recipe in recipes for found in recipe.recalls.values())
    alone = (
        f" Each interval holds at 95 % on its own; they are of single {summary.noun}s, not of differences."
        if shown
        else ""
    )
    return drawing_of(
        figure,
        "recalls",
        "Recall of each label",
        f"The share of each label's clips that a {summary.noun} gets right.{alone}",
        f"Recall by label in %: {seen}.",
    )


def _draw_speakers(summary: Report) -> Drawing | None:
    recipes = [recipe for recipe in summary.recipes if recipe.per_speaker]
    if not recipes:
        return None
    titles = [broken(recipe.title, WIDEST_TITLE - 8) for recipe in recipes]
    figure, axes = row_axes(len(recipes), row_height(titles, 0.62))
    seen = []
    for row, recipe in enumerate(recipes):
        scores = np.sort([100 * speaker.uar for speaker in recipe.per_speaker])
        spread = 0.26 * np.sin(np.arange(len(scores)) * 2.4)
        mark = mark_of(row) | {"markeredgewidth": 0}
        axes.plot(scores, row + 0.12 + spread * 0.7, linestyle="none", markersize=4.5, alpha=0.6, **mark)
        median = float(np.median(scores))
        axes.plot([median, median], [row - 0.14, row + 0.38], color=INK, linewidth=1.6, zorder=4)
        row_title(axes, row, titles[row], f"median {median:.1f}", lift=0.24)
        seen.append(f"{recipe.title} {scores[0]:.1f} to {scores[-1]:.1f}, median {median:.1f}")
    axes.set_ylim(len(recipes) - 0.45, -0.6)
    axes.set_xlim(0, 100)
    axes.axvline(100 * summary.chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.set_xlabel("UAR of one speaker, % (dashed: chance)")
    return drawing_of(
        figure,
        "speakers",
        "UAR of each speaker",
        "One mark per speaker; the vertical line is the median. The wider the strip, the more the speaker matters.",
        f"Range of the speakers' UAR in %: {'; '.join(seen)}.",
    )


def _draw_curves(summary: Report) -> Drawing | None:
    recipes = [(index, recipe) for index, recipe in enumerate(summary.recipes) if recipe.curves]
    if not recipes:
        return None
    titles = [recipe.title for _, recipe in recipes]
    figure = Figure(figsize=(WIDTH, 3.9 + 0.26 * legend_rows(titles)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    seen = []
    for index, recipe in recipes:
        best = []
        for number, curve in enumerate(recipe.curves):
            epochs = [epoch["epoch"] for epoch in curve.epochs]
            style = line_of(index) | {"alpha": 0.85, "linewidth": 1.4}
            losses = [epoch["loss"] for epoch in curve.epochs]
            scores = {epoch["epoch"]: 100 * epoch["dev_uar"] for epoch in curve.epochs}
            above.plot(epochs, losses, **style, label="_" if number else recipe.title)
            below.plot(epochs, list(scores.values()), **style)
            if curve.best_epoch in scores:
                top = scores[curve.best_epoch]
                below.plot(curve.best_epoch, top, markersize=5.5, linestyle="none", **mark_of(index))
                best.append(f"{top:.1f}")
        seen.append(f"{recipe.title} {listed(best)}")
    above.set_ylabel("Training loss")
    below.set_ylabel("Dev UAR, %")
    below.set_xlabel("Epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
    legend(above, titles)
    return drawing_of(
        figure,
        "curves",
        "Learning curves",
        "One line per run. A mark shows the epoch that was kept; the details of each recipe say how it was chosen.",
        f"Training loss and dev UAR by epoch; dev UAR in % of the kept epochs: {'; '.join(seen)}.",
    )


def _draw_confusion(summary: Report, index: int) -> Drawing:
    recipe, labels = summary.recipes[index], summary.corpus["labels"]
    figure, worst = draw_counts(np.array(recipe.confusion), labels, said="predicted", what="clips")
    return drawing_of(
        figure,
        f"confusion-{index}",
        f"Confusions of {recipe.title}",
        counts_caption("true", labels, "clips" + (", summed over seeds" if len(recipe.seeds) > 1 else "")),
        f"Confusion matrix of {recipe.title}; {worst}.",
    )


def counts_caption(rows: str, labels: Sequence[str], small: str) -> str:
    """How to read :func:`draw_counts`."""
    if len(labels) <= MOST_COUNTED:
        how = f"Large: per cent of the row; small: {small}."
    elif len(labels) <= MOST_WRITTEN:
        how = "Per cent of the row."
    else:
        how = "The darker a cell, the larger its share of the row; report.json has the numbers."
    return f"Rows: the {rows} label. {how}"


def draw_counts(counts: NDArray[np.int64], labels: Sequence[str], said: str, what: str) -> tuple[Figure, str]:
    """A confusion matrix; also its most frequent error in words.

    Args:
        counts: rows true labels, columns said ones.
        labels: their names.
        said: what the columns are.
        what: what was counted.
    """
    names = [shortened(label) for label in labels]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    counted = len(labels) <= MOST_COUNTED
    written = len(labels) <= MOST_WRITTEN
    height = 0.52 if counted else 0.19 if written else 0.1
    figure = Figure(figsize=(WIDTH, 0.9 + height * len(labels)), layout="constrained")
    axes = figure.subplots()
    small = min(10.0, 72 / len(labels)) if counted else 6.0 if written else min(6.0, 300 / len(labels))
    # Without numbers, small shares must be seen: the square root is darker.
    axes.add_collection(_cells(shares if written else np.sqrt(shares), everywhere=counted), autolim=False)
    for row, column in np.ndindex(counts.shape) if written else ():
        share = float(shares[row, column])
        if not counted and not share:
            continue
        weight = "bold" if row == column else "normal"
        if not counted:
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=small, weight=weight)
            continue
        axes.text(column, row - 0.02, f"{100 * share:.0f}", ha="center", va="bottom", fontsize=small, weight=weight)
        axes.text(
            column,
            row + 0.06,
            f"{counts[row, column]}",
            ha="center",
            va="top",
            fontsize=0.8 * small,
            color=INK if share > _STRONG_SHARE else MUTED,
        )
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks(range(len(labels)), labels=names, rotation=0 if _short(names) else 45 if counted else 90)
    axes.set_yticks(range(len(labels)), labels=names)
    axes.tick_params(length=0, labelsize=small, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.set_xlabel(said, loc="left", labelpad=7)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("true label", loc="top")
    for spine in axes.spines.values():
        spine.set_visible(False)
    off = shares * (1 - np.eye(len(labels)))
    row, column = np.unravel_index(off.argmax(), off.shape)
    often = f"{percent(off[row, column], 0)} % of its {what}"
    error = f"most frequent error: {labels[row]} heard as {labels[column]}, {often}"
    return figure, error if off.any() else "no errors"


def _cells(shares: NDArray[np.float64], *, everywhere: bool) -> PathCollection:
    """The squares of a confusion matrix, the darker the larger the share.

    Squares of one shade are one path: matplotlib takes its time, and files their bytes, by path.
    """
    rows, columns = np.nonzero(np.ones_like(shares) if everywhere else shares)
    corners = np.array([(-0.48, -0.47), (0.48, -0.47), (0.48, 0.47), (-0.48, 0.47), (-0.48, -0.47)])
    squares = np.stack([columns, rows], axis=1)[:, np.newaxis] + corners
    shades, shade = np.unique(np.ceil(_SHADES * shares[rows, columns]) / _SHADES, return_inverse=True)
    codes = np.array([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], Path.code_type)
    alike = [squares[shade == place] for place in range(len(shades))]
    paths = [Path(each.reshape(-1, 2), np.tile(codes, len(each))) for each in alike]
    colours = [to_rgba(SERIES[0], _STRONGEST_FILL * strength) for strength in shades]
    return PathCollection(paths, facecolors=colours, linewidths=0)


def _short(labels: Sequence[str]) -> bool:
    return max(map(len, labels)) * len(labels) <= 42


def _interval(recipe: RecipeReport) -> str:
    score = recipe.scores["uar"]
    text = interval_text(score)
    return text if score.low is None else f"95 % interval {text}"
