"""Figures of how far answers can be trusted: reliability, risk and coverage, human raters."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from serlab.evaluation.trust import HumanReference
from serlab.report.charts import WIDTH, legend, legend_rows, line_of, mark_of
from serlab.report.figures import counts_caption, draw_counts
from serlab.report.recipe import RecipeReport
from serlab.report.summary import Report
from serlab.report.svg import MUTED, SERIES, Drawing, drawing_of, settings
from serlab.report.words import percent

_PANELS = 3


def draw_trust(summary: Report) -> list[Drawing]:
    """Draw what the report has data for.

    Args:
        summary: from :func:`serlab.report.summary.summarise`.
    """
    with settings():
        scored = any(recipe.confidence.calibration for recipe in summary.recipes)
        drawings = [_draw_reliability(summary), _draw_abstention(summary)] if scored else []
        return drawings + ([_draw_raters(summary.corpus["labels"], summary.people)] if summary.people else [])


def _draw_reliability(summary: Report) -> Drawing:
    """One panel per recipe, because lines of several would hide each other near the diagonal."""
    recipes = _scored(summary)
    columns = min(_PANELS, len(recipes))
    rows = -(-len(recipes) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + rows * (4.0 / columns + 0.25)), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in panels.flat[len(recipes) :]:
        spare.set_axis_off()
    seen = []
    for axes, (index, recipe) in zip(panels.flat, recipes, strict=False):
        found = recipe.confidence.calibration
        if found is None:
            continue
        after = found.after or found.before
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        for point in after.reliability:
            place, accuracy = 100 * point.confidence, point.accuracy
            if accuracy.low is not None and accuracy.high is not None:
                ends = [100 * accuracy.low, 100 * accuracy.high]
                axes.plot([place, place], ends, color=SERIES[index % len(SERIES)], linewidth=1, alpha=0.6)
            axes.plot(place, 100 * accuracy.value, markersize=3.5, linestyle="none", **mark_of(index))
        axes.set_title(textwrap.fill(recipe.title, 44 // columns), fontsize=9.5, loc="left")
        axes.set(xlim=(0, 100), ylim=(0, 100), xticks=(0, 50, 100), yticks=(0, 50, 100))
        axes.grid()
        axes.tick_params(length=0, labelsize=9.5, labelcolor=MUTED)
        then = f" before, {percent(after.ece)} after" if found.after else ""
        seen.append(f"{recipe.title} {percent(found.before.ece)}{then}")
    fitted = any(each.after for _, recipe in recipes if (each := recipe.confidence.calibration))
    tempered = ", after a temperature fitted on each fold's dev subset" if fitted else ""
    figure.supxlabel("Confidence, %", fontsize=9.5, color=MUTED)
    figure.supylabel("Correct, %", fontsize=9.5, color=MUTED)
    return drawing_of(
        figure,
        "reliability",
        "Confidence and accuracy",
        f"Bins of about equally many clips{tempered}{'; intervals over speakers' if summary.has_intervals else ''}. "
        "Below the dashed line: overconfident.",
        f"Expected calibration error in %: {'; '.join(seen)}.",
    )


def _draw_abstention(summary: Report) -> Drawing:
    figure, axes = _square(summary)
    seen = []
    for index, recipe in _scored(summary):
        found = recipe.confidence.abstention
        if found is None:
            continue
        coverage, risk = 100 * np.array(found.curve).T
        style = _line(index, recipe) | {"marker": ""}
        axes.plot(coverage, 100 - risk, **style)
        at = ", ".join(f"{percent(s.accuracy.value)} at {percent(s.coverage, 0)}" for s in found.at)
        seen.append(f"{recipe.title} {at}")
    axes.set(xlim=(0, 100), xlabel="Answered, %", ylabel="Correct answers, %")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    legend(axes, [recipe.title for _, recipe in _scored(summary)])
    return drawing_of(
        figure,
        "abstention",
        "What saying “I can't tell” gains",
        "Accuracy on the clips with the highest confidence.",
        f"Accuracy in % at a share answered in %: {'; '.join(seen)}.",
    )


def _scored(summary: Report) -> list[tuple[int, RecipeReport]]:
    """Recipes with probabilities, each with its index among all, which sets its colour."""
    return [(place, recipe) for place, recipe in enumerate(summary.recipes) if recipe.confidence.calibration]


def _draw_raters(labels: Sequence[str], reference: HumanReference) -> Drawing:
    raters = reference.people.raters
    figure, worst = draw_counts(np.array(raters.confusion), labels, said="said by raters", what="ratings")
    alternative = f"Confusion matrix of {raters.count:,} ratings; UAR {percent(raters.scores['uar'].value)} %; {worst}."
    caption = "All votes of raters who heard the voice alone. " + counts_caption("intended", labels, "ratings")
    return drawing_of(figure, "people", "Confusions of human raters", caption, alternative)


def _square(summary: Report) -> tuple[Figure, Axes]:
    rows = legend_rows([recipe.title for _, recipe in _scored(summary)])
    figure = Figure(figsize=(WIDTH, 3.3 + 0.26 * rows), layout="constrained")
    axes = figure.subplots()
    axes.grid()
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
    return figure, axes


def _line(index: int, recipe: RecipeReport) -> dict[str, Any]:
    return {**mark_of(index), **line_of(index), "linewidth": 1.4, "label": recipe.title}
