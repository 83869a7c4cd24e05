"""From a matplotlib figure to an SVG that takes its colours from the page and can stand beside others in it.

Figures are drawn in a few fixed colours; each becomes a CSS variable here (the text's becomes ``currentColor``), so
that one drawing serves light, dark and paper. Text stays text. Every id gets the figure's name in front.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, MUTED, LINE, PAGE = "#1d2126", "#5c6570", "#d8d5ce", "#fdfcfa"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b3548a", "#8a6d00", "#3f9ad0", "#4d5358")
"""Okabe and Ito's hues in an order that is safe for the colour-blind; the pale ones darkened for white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_VARIABLES = {INK: "currentColor", MUTED: f"var(--muted, {MUTED})", LINE: f"var(--line, {LINE})"}
_VARIABLES |= {PAGE: f"var(--page, {PAGE})"}
_VARIABLES |= {colour: f"var(--s{index}, {colour})" for index, colour in enumerate(SERIES)}
_DARK_SERIES = ("#56b4e9", "#f0843c", "#2fc795", "#e08fbc", "#e6c229", "#9fd3f2", "#b9bfc5")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "serlab",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.edgecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for a page.

    Attributes:
        name: unique within the report, also the file's name.
        title: what it shows, in a few words.
        caption: how to read it.
        alternative: what can be seen in it, for who cannot see it.
        svg: the ``<svg>`` element.
    """

    name: str
    title: str
    caption: str
    alternative: str
    svg: str


@contextmanager
def settings() -> Iterator[None]:
    """Draw the block's figures in the report's style."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def colour_variables(*, dark: bool) -> str:
    """CSS declarations of the series' colours.

    >>> colour_variables(dark=False)[:13]
    '--s0: #0072b2'
    """
    return "; ".join(f"--s{index}: {colour}" for index, colour in enumerate(_DARK_SERIES if dark else SERIES))


def to_svg(figure: Figure, name: str, alternative: str) -> str:
    """Render a figure as an ``<svg>`` element without a prolog, with its text alternative.

    Args:
        figure: drawn within :func:`settings`.
        name: prefix of every id.
        alternative: the text alternative.
    """
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg ") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", text)
    text = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _variable, text)
    label = html.escape(alternative, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def standalone(drawing: Drawing) -> str:
    """The drawing as a file of its own, light or dark as its reader prefers."""
    light = f"svg {{ color: {INK}; background: {PAGE}; --page: {PAGE}; {colour_variables(dark=False)} }}"
    dark = (
        "svg { color: #e8eaec; background: #14171a; --page: #14171a; --muted: #a2abb4; --line: #343b41; "
        f"{colour_variables(dark=True)} }}"
    )
    style = f"<style>{light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
    start = drawing.svg.index(">") + 1
    return drawing.svg[:start] + f"<title>{html.escape(drawing.title)}</title>{style}" + drawing.svg[start:] + "\n"


def _variable(match: re.Match[str]) -> str:
    return f"{match[1]}: {_VARIABLES.get(match[2], match[2])}"
