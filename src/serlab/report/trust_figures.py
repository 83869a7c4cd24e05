"""Figures of how far answers can be trusted: reliability, risk and coverage, people beside the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from serlab.report.figures import Summary, draw_counts, drawing_of, legend, legend_rows, mark_of
from serlab.report.svg import MUTED, SERIES, Drawing, settings
from serlab.report.words import percent

_WIDTH = 4.2


def draw_trust(summary: Summary) -> list[Drawing]:
    """Draw what the summary has data for.

    Args:
        summary: from :func:`serlab.report.summary.summarise`.
    """
    with settings():
        drawings = [_draw_reliability(summary), _draw_abstention(summary)]
        return drawings + ([_draw_people(summary)] if summary["people"] else [])


def _draw_reliability(summary: Summary) -> Drawing:
    figure, axes = _square(summary)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    seen = []
    for index, recipe in enumerate(summary["recipes"]):
        found = recipe["trust"]["calibration"]
        after = found["after"] or found["before"]
        points = after["reliability"]
        confidence = [100 * point["confidence"] for point in points]
        axes.plot(confidence, [100 * p["accuracy"]["value"] for p in points], markersize=4.5, **_line(index, recipe))
        for place, point in zip(confidence, points, strict=True):
            if point["accuracy"]["low"] is not None:
                ends = [100 * point["accuracy"]["low"], 100 * point["accuracy"]["high"]]
                axes.plot([place, place], ends, color=SERIES[index % len(SERIES)], linewidth=0.8, alpha=0.6)
        seen.append(f"{recipe['title']} {percent(found['before']['ece'])} before, {percent(after['ece'])} after")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="Confidence, %", ylabel="Right, %")
    legend(axes, [recipe["title"] for recipe in summary["recipes"]])
    return drawing_of(
        figure,
        "reliability",
        "What confidence is worth",
        "Bins of about equally many clips, after a temperature that each fold's dev side chose; intervals over "
        "speakers. Below the dashed line: surer than right.",
        f"Expected calibration error in % before and after: {'; '.join(seen)}.",
    )


def _draw_abstention(summary: Summary) -> Drawing:
    figure, axes = _square(summary)
    seen = []
    for index, recipe in enumerate(summary["recipes"]):
        found = recipe["trust"]["abstention"]
        coverage, risk = 100 * np.array(found["curve"]).T
        style = _line(index, recipe) | {"marker": ""}
        axes.plot(coverage, 100 - risk, **style)
        at = ", ".join(f"{percent(s['accuracy']['value'])} at {percent(s['coverage'], 0)}" for s in found["at"])
        seen.append(f"{recipe['title']} {at}")
    axes.set(xlim=(0, 100), xlabel="Answered, %", ylabel="Right among the answers, %")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    legend(axes, [recipe["title"] for recipe in summary["recipes"]])
    return drawing_of(
        figure,
        "abstention",
        "What saying “I can't tell” buys",
        "Accuracy on the clips of which the model is surest.",
        f"Accuracy in % at a share answered in %: {'; '.join(seen)}.",
    )


def _draw_people(summary: Summary) -> Drawing:
    labels = summary["corpus"]["labels"]
    raters = summary["people"]["people"]["raters"]
    figure, row, column, share = draw_counts(np.array(raters["confusion"]), labels, said="said by raters")
    alternative = (
        f"Confusion matrix of {raters['count']:,} ratings; UAR {percent(raters['scores']['uar']['value'])} %; most "
        f"frequent error: {labels[row]} heard as {labels[column]}, {100 * share:.0f} % of its ratings."
    )
    caption = "Every vote of those who heard the voice alone. Rows: the intended label. Large: per cent of the row."
    return drawing_of(figure, "people", "Confusions of people", caption, alternative)


def _square(summary: Summary) -> tuple[Figure, Axes]:
    rows = legend_rows([recipe["title"] for recipe in summary["recipes"]])
    figure = Figure(figsize=(_WIDTH, 3.3 + 0.24 * rows), layout="constrained")
    axes = figure.subplots()
    axes.grid()
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=MUTED, labelsize=8.5)
    return figure, axes


def _line(index: int, recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {**mark_of(index), "linewidth": 1.4, "label": recipe["title"]}
