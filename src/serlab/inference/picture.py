"""A recording's predictions as a picture: waveform, labels and probabilities over time, drawn by matplotlib."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from serlab.core.files import write_bytes
from serlab.core.progress import shown
from serlab.inference.page import moment
from serlab.inference.timeline import Timeline
from serlab.model.prediction import NO_SPEECH
from serlab.report.svg import INK, LINE, MUTED, PAGE, label_colour, settings

COLUMNS = 1600
"""The most columns of time."""

_QUIET = "#e9e7e2"
_LONGEST_NAME = 100


def write_picture(timeline: Timeline, target: Path) -> None:
    """Write the picture as PNG.

    Raises:
        MachineError: it cannot be written.
    """
    content = io.BytesIO()
    with settings():
        draw(timeline).savefig(content, format="png", dpi=150, facecolor=PAGE)
    write_bytes(target, content.getvalue())


def draw(timeline: Timeline) -> Figure:
    """The figure, within :func:`serlab.report.svg.settings`."""
    labels, seconds = timeline.labels, timeline.seconds
    colours = {label: label_colour(place) for place, label in enumerate(labels)}
    figure = Figure(figsize=(10, 1.9 + 0.55 * len(labels)), layout="constrained")
    rows = figure.subplots(2 + len(labels), 1, sharex=True, height_ratios=[1.4, 0.5, *[1] * len(labels)])
    wave, ribbon, *lanes = rows
    figure.suptitle(_shortened(shown(Path(timeline.path).name)), x=0.01, ha="left", fontsize=11, weight="bold")
    edges = np.linspace(0, seconds, len(timeline.waveform) + 1)
    wave.fill_between(edges[:-1], -timeline.waveform, timeline.waveform, color=MUTED, linewidth=0)
    highest = max(float(timeline.waveform.max()), 0.02)
    wave.set_ylim(-1.05 * highest, 1.05 * highest)
    for span in timeline.spans:
        if span.label == NO_SPEECH:
            for axes in rows:
                axes.axvspan(span.start, span.end, color=_QUIET, linewidth=0, zorder=0)
        elif span.label in colours:
            ribbon.axvspan(span.start, span.end, color=colours[span.label], linewidth=0)
        else:
            ribbon.axvspan(span.start, span.end, facecolor=PAGE, edgecolor=MUTED, hatch="////", linewidth=0)
    edges = np.linspace(0, seconds, len(timeline.probabilities) + 1)
    for place, (label, axes) in enumerate(zip(labels, lanes, strict=True)):
        axes.stairs(np.nan_to_num(timeline.probabilities[:, place]), edges, fill=True, color=colours[label])
        axes.set_ylim(0, 1)
    for axes, name in zip(rows, ["", "label", *labels], strict=True):
        axes.set_ylabel(shown(name), rotation=0, ha="right", va="center", color=INK)
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False)
        axes.set_xlim(0, seconds)
        for side in axes.spines.values():
            side.set_color(LINE)
    rows[-1].xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 3, 6, 10]))
    rows[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: moment(value)))
    words = {span.label for span in timeline.spans}
    patches = [Patch(facecolor=_QUIET, edgecolor=LINE, label=NO_SPEECH)] if NO_SPEECH in words else []
    if words - {NO_SPEECH, *labels}:
        patches.append(Patch(facecolor=PAGE, edgecolor=MUTED, hatch="////", label="can't tell"))
    if patches:
        figure.legend(handles=patches, loc="outside upper right", ncols=2)
    return figure


def _shortened(name: str) -> str:
    """A file's name that fits above the picture: of a longer one, both ends."""
    half = (_LONGEST_NAME - 1) // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"
