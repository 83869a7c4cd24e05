"""The report's figures, drawn from the report alone; narrow enough for a phone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from serlab.evaluation.resampling import Interval
from serlab.report.recipe import RecipeReport
from serlab.report.summary import Report
from serlab.report.svg import INK, LINE, MARKERS, MUTED, PAGE, SERIES, Drawing, drawing_of, settings
from serlab.report.words import interval_text, listed, percent, points

_WIDTH = 4.2
_STRONGEST_FILL = 0.55
_STRONG_SHARE = 0.25
_WIDEST_TITLE = 42


def draw_all(summary: Report) -> list[Drawing]:
    """Draw every figure that the report has data for.

    Args:
        summary: from :func:`serlab.report.summary.summarise`.

    Returns:
        The drawings, in the order of the page.
    """
    makers = (_draw_uar, _draw_differences, _draw_recalls, _draw_speakers, _draw_curves)
    with settings():
        drawings = [drawing for make in makers if (drawing := make(summary)) is not None]
        confusions = [_draw_confusion(summary, index) for index in range(len(summary.recipes))]
    return drawings + confusions


def _draw_uar(summary: Report) -> Drawing:
    recipes = summary.recipes
    titles = [_broken(recipe.title) for recipe in recipes]
    figure, axes = _rows(len(recipes), _row_height(titles, 0.52))
    chance = 100 * summary.chance
    for row, recipe in enumerate(recipes):
        score = recipe.scores["uar"]
        _row_title(axes, row, titles[row], percent(score.value))
        _dot(axes, row, score, row, hollow=recipe.learned is False)
    highest = max(100 * (recipe.scores["uar"].high or recipe.scores["uar"].value) for recipe in recipes)
    axes.set_xlim(0, min(100, 10 * np.ceil((highest + 4) / 10)))
    axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.set_xlabel(f"UAR, % (dashed: chance, {chance:.1f} %)")
    seen = "; ".join(f"{r.title} {percent(r.scores['uar'].value)} %, {_interval(r)}" for r in recipes)
    return drawing_of(
        figure,
        "uar",
        "UAR of each recipe",
        "Unweighted average recall with its 95 % interval over speakers. A hollow mark: not shown to be above chance.",
        f"UAR by recipe: {seen}. Chance is {chance:.1f} %.",
    )


def _draw_differences(summary: Report) -> Drawing | None:
    pairs = [(pair, pair.comparison.differences["uar"]) for pair in summary.pairs if pair.comparison]
    if not pairs:
        return None
    titles = {recipe.name: recipe.title for recipe in summary.recipes}
    rows = [_pair_title(titles[pair.first], titles[pair.second]) for pair, _ in pairs]
    figure, axes = _rows(len(pairs), _row_height(rows, 0.52))
    seen = []
    for row, (pair, difference) in enumerate(pairs):
        _row_title(axes, row, rows[row], points(difference.value))
        _dot(axes, row, difference, 0, hollow=_open(difference))
        seen.append(
            f"{titles[pair.first]} minus {titles[pair.second]}: {points(difference.value)} "
            f"({interval_text(difference)})"
        )
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -1), max(high, 1))
    axes.set_xlabel("Difference in UAR, points")
    return drawing_of(
        figure,
        "differences",
        "Differences between recipes",
        "Each pair on the same clips and the same resampled speakers, with its 95 % interval. A hollow mark: "
        "no difference can be shown.",
        f"Paired differences in UAR, in points: {'; '.join(seen)}.",
    )


def _draw_recalls(summary: Report) -> Drawing:
    recipes, labels = summary.recipes, summary.corpus["labels"]
    titles = [recipe.title for recipe in recipes]
    figure, axes = _rows(len(labels), 0.36 + 0.03 * len(recipes), extra=0.24 * legend_rows(titles))
    offsets = np.linspace(-0.24, 0.24, len(recipes)) if len(recipes) > 1 else np.zeros(1)
    for index, recipe in enumerate(recipes):
        recalls = [(row, c.recall) for row, c in enumerate(recipe.per_class) if c.recall is not None]
        axes.plot(
            [100 * recall for _, recall in recalls],
            [row + offsets[index] for row, _ in recalls],
            linestyle="none",
            markersize=6,
            label=recipe.title,
            **mark_of(index),
        )
    for row in range(1, len(labels)):
        axes.axhline(row - 0.5, color=LINE, linewidth=0.6)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.set_xlim(0, 100)
    axes.set_xlabel("Recall, %")
    legend(axes, titles)
    seen = "; ".join(
        f"{recipe.title}: " + ", ".join(f"{c.label} {percent(c.recall)}" for c in recipe.per_class)
        for recipe in recipes
    )
    return drawing_of(
        figure,
        "recalls",
        "Recall of each label",
        "The share of each label's clips that a recipe gets right.",
        f"Recall by label in %: {seen}.",
    )


def _draw_speakers(summary: Report) -> Drawing | None:
    recipes = [recipe for recipe in summary.recipes if recipe.per_speaker]
    if not recipes:
        return None
    titles = [_broken(recipe.title, _WIDEST_TITLE - 8) for recipe in recipes]
    figure, axes = _rows(len(recipes), _row_height(titles, 0.62))
    seen = []
    for row, recipe in enumerate(recipes):
        scores = np.sort([100 * speaker.uar for speaker in recipe.per_speaker])
        spread = 0.26 * np.sin(np.arange(len(scores)) * 2.4)
        mark = mark_of(row) | {"markeredgewidth": 0}
        axes.plot(scores, row + 0.12 + spread * 0.7, linestyle="none", markersize=4.5, alpha=0.6, **mark)
        median = float(np.median(scores))
        axes.plot([median, median], [row - 0.14, row + 0.38], color=INK, linewidth=1.6, zorder=4)
        _row_title(axes, row, titles[row], f"median {median:.1f}", lift=0.24)
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
    figure = Figure(figsize=(_WIDTH, 3.9 + 0.24 * legend_rows(titles)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    seen = []
    for index, recipe in recipes:
        best = []
        for number, curve in enumerate(recipe.curves):
            epochs = [epoch["epoch"] for epoch in curve.epochs]
            style = {"color": SERIES[index % len(SERIES)], "alpha": 0.85, "linewidth": 1.4}
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
        axes.tick_params(axis="y", labelcolor=MUTED, labelsize=8.5)
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
    figure, row, column, share = draw_counts(np.array(recipe.confusion), labels, said="predicted")
    return drawing_of(
        figure,
        f"confusion-{index}",
        f"Confusions of {recipe.title}",
        "Rows: the true label. Large: per cent of the row; small: clips"
        + (", summed over seeds." if len(recipe.seeds) > 1 else "."),
        f"Confusion matrix of {recipe.title}; most frequent error: {labels[row]} heard as {labels[column]}, "
        f"{100 * share:.0f} % of its clips.",
    )


def draw_counts(counts: NDArray[np.int64], labels: Sequence[str], said: str) -> tuple[Figure, int, int, float]:
    """A confusion matrix; also the row, column and share of the most frequent error.

    Args:
        counts: rows true labels, columns said ones.
        labels: their names.
        said: what the columns are.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.52 * len(labels)), layout="constrained")
    axes = figure.subplots()
    small = min(9.0, 60 / len(labels))
    for row, column in np.ndindex(counts.shape):
        share = float(shares[row, column])
        axes.add_patch(
            Rectangle(
                (column - 0.48, row - 0.47), 0.96, 0.94, facecolor=SERIES[0], alpha=_STRONGEST_FILL * share, linewidth=0
            )
        )
        weight = "bold" if row == column else "normal"
        axes.text(column, row - 0.02, f"{100 * share:.0f}", ha="center", va="bottom", fontsize=small, weight=weight)
        axes.text(
            column,
            row + 0.06,
            f"{counts[row, column]}",
            ha="center",
            va="top",
            fontsize=0.75 * small,
            color=INK if share > _STRONG_SHARE else MUTED,
        )
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks(range(len(labels)), labels=labels, rotation=0 if _short(labels) else 45)
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(length=0, labelsize=small, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.set_xlabel(said, loc="left", labelpad=7)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("true label", loc="top")
    for spine in axes.spines.values():
        spine.set_visible(False)
    off = shares * (1 - np.eye(len(labels)))
    row, column = np.unravel_index(off.argmax(), off.shape)
    return figure, int(row), int(column), float(off[row, column])


def _rows(rows: int, height: float, extra: float = 0.0) -> tuple[Figure, Axes]:
    """A figure with horizontal rows, the first on top."""
    figure = Figure(figsize=(_WIDTH, 0.62 + height * rows + extra), layout="constrained")
    axes = figure.subplots()
    axes.set_ylim(rows - 0.6, -0.75)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(axis="x")
    return figure, axes


def _broken(title: str, width: int = _WIDEST_TITLE) -> str:
    """A title broken into lines that leave room for the value beside it."""
    return textwrap.fill(title, width)


def _pair_title(first: str, second: str) -> str:
    title = f"{first} − {second}"
    return title if len(title) <= _WIDEST_TITLE else f"{_broken(first)}\n{_broken(f'− {second}')}"


def _row_height(titles: Sequence[str], height: float) -> float:
    """Height of a row, in inches, that holds the longest of the titles; ``height`` holds one line."""
    return height + 0.16 * max(title.count("\n") for title in titles)


def _row_title(axes: Axes, row: int, title: str, value: str, lift: float = 0.2) -> None:
    """Name on the left and value on the right, just above the row, on a background that hides the grid."""
    backing = {"facecolor": PAGE, "edgecolor": "none", "pad": 0.8}
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "bottom", "bbox": backing, "zorder": 2.5}
    axes.text(0.0, row - lift, title, ha="left", **place)
    axes.text(1.0, row - lift, value, ha="right", weight="bold", **place)


def _dot(axes: Axes, row: int, score: Interval, index: int, *, hollow: bool) -> None:
    """An estimate with its interval, in per cent or points."""
    colour = SERIES[index % len(SERIES)]
    if score.low is not None and score.high is not None:
        axes.plot([100 * score.low, 100 * score.high], [row, row], color=colour, linewidth=2.4, zorder=3)
    mark = mark_of(index) | ({"markerfacecolor": PAGE} if hollow else {})
    axes.plot(100 * score.value, row, markersize=7.5, zorder=4, linestyle="none", **mark)


def mark_of(index: int) -> dict[str, Any]:
    """Marker and colour of a recipe, by its place."""
    colour = SERIES[index % len(SERIES)]
    return {"marker": MARKERS[index % len(MARKERS)], "color": colour, "markeredgecolor": colour, "markeredgewidth": 1.6}


def _legend_columns(titles: Sequence[str]) -> int:
    return 2 if len(titles) > 1 and max(map(len, titles)) <= _WIDEST_TITLE // 2 else 1


def legend_rows(titles: Sequence[str]) -> int:
    """Rows that a legend of these titles takes."""
    return -(-len(titles) // _legend_columns(titles))


def legend(axes: Axes, titles: Sequence[str]) -> None:
    """A legend above the axes."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=_legend_columns(titles),
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.2,
    )


def _open(difference: Interval) -> bool:
    """Whether no difference is shown."""
    return difference.low is None or difference.high is None or difference.low <= 0 <= difference.high


def _short(labels: Sequence[str]) -> bool:
    return max(map(len, labels)) * len(labels) <= 48


def _interval(recipe: RecipeReport) -> str:
    score = recipe.scores["uar"]
    text = interval_text(score)
    return text if score.low is None else f"95 % interval {text}"
