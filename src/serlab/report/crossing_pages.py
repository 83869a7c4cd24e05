"""The report of cross-corpus runs as a page, as Markdown and as JSON."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from serlab.core import files
from serlab.report import crossing_counts
from serlab.report.crossing import Cell, Crossing
from serlab.report.render import markdown, page
from serlab.report.words import percent

COUNTS = "speakers.csv"
"""Confusion counts by speaker, beside the page."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT = 220.0, 34.0, 6.0, 6.0


def write(found: Crossing, counts: pd.DataFrame, folder: Path) -> Path:
    """Write the report.

    Args:
        found: the judgement.
        counts: the confusion counts that it is made from.
        folder: where it goes; an older report is replaced.

    Returns:
        The path of ``index.html``; beside it are ``report.md``, ``report.json`` and ``speakers.csv``.

    Raises:
        MachineError: the report cannot be written.
    """
    crossing_counts.write(folder / COUNTS, counts)
    files.write_json(folder / "report.json", found.to_dict())
    files.write_text(folder / "report.md", markdown("crossing.md.jinja", found=found, dropped=dropped_text))
    content = page("crossing.html.jinja", found=found, dropped=dropped_text, strip=strip)
    files.write_text(folder / "index.html", content)
    return folder / "index.html"


def dropped_text(cell: Cell) -> str:
    """What was dropped because the other side has no counterpart, in a sentence.

    >>> dropped_text(Cell("a", "b", "r", "R", dropped={"calm": 3}, source_dropped={"a": {}}))
    'Not tested, because a has no counterpart: calm (3 clips).'
    """
    parts = []
    if cell.dropped:
        listed = _counts(cell.dropped)
        parts.append(
            f"Not tested, because {cell.source.replace('+', ' + ') or 'the model'} has no counterpart: {listed}."
        )
    for source, labels in (cell.source_dropped or {}).items():
        if labels:
            parts.append(f"Dropped from {source} before training: {_counts(labels)}.")
    return " ".join(parts)


def _counts(labels: object) -> str:
    assert isinstance(labels, dict)
    return ", ".join(f"{label} ({clips:,} clip{'s' * (clips != 1)})" for label, clips in labels.items())


def strip(cell: Cell) -> Markup:
    """A cell as a small picture from 0 to 100 %: chance, UAR, and its interval or one point per speaker."""
    if cell.uar is None:
        return Markup("")
    middle = _HEIGHT / 2 - 4

    def at(value: float) -> str:
        return f"{_LEFT + value * (_WIDTH - _LEFT - _RIGHT):.1f}"

    points = (cell.by_speaker or {}).items()
    said = f"UAR {cell.score_text} on a scale from 0 to 100 %, chance {percent(cell.chance)} %"
    if points:
        said += "; " + ", ".join(f"{name} {percent(value)} %" for name, value in points)
    parts = [
        f'<line x1="{at(0)}" x2="{at(1)}" y1="{middle}" y2="{middle}" stroke="var(--line)"/>',
        f'<line x1="{at(cell.chance)}" x2="{at(cell.chance)}" y1="{middle - 10}" y2="{middle + 10}" '
        'stroke="var(--muted)" stroke-dasharray="2 2"/>',
    ]
    if cell.uar.low is not None and cell.uar.high is not None:
        parts.append(
            f'<line x1="{at(cell.uar.low)}" x2="{at(cell.uar.high)}" y1="{middle}" y2="{middle}" '
            'stroke="var(--s0)" stroke-width="3"/>'
        )
    parts += [
        f'<circle cx="{at(value)}" cy="{middle}" r="3.5" fill="none" stroke="var(--s0)"><title>{escape(name)}: '
        f"{percent(value)} %</title></circle>"
        for name, value in points
    ]
    parts.append(
        f'<line x1="{at(cell.uar.value)}" x2="{at(cell.uar.value)}" y1="{middle - 8}" y2="{middle + 8}" '
        'stroke="var(--s0)" stroke-width="2.5"/>'
    )
    parts += [
        f'<text x="{at(value)}" y="{_HEIGHT - 1}" font-size="9" fill="var(--muted)" text-anchor="{anchor}">'
        f"{text}</text>"
        for value, anchor, text in ((0.0, "start", "0 %"), (1.0, "end", "100 %"))
    ]
    return Markup(
        f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" width="{_WIDTH:g}" '
        f'height="{_HEIGHT:g}">{"".join(parts)}</svg>'
    )
