"""From a matplotlib figure to an SVG that takes its colours from its page, and to files with colours of their own.

Figures are drawn in a few fixed colours. In a page each becomes a CSS variable (the text's becomes
``currentColor``), so that one drawing serves light, dark and paper. Files keep the colours, since
few programs beside browsers know CSS variables. Text stays text. Every id gets the figure's name in
front.
"""

from __future__ import annotations

import functools
import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

INK, MUTED, LINE, PAGE = "#1d2126", "#5c6570", "#d8d5ce", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b3548a", "#8a6d00", "#3f9ad0", "#4d5358")
"""Okabe and Ito's hues in an order that is safe for the colour-blind; the pale ones darkened for white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_VARIABLES = {INK: "currentColor", MUTED: f"var(--muted, {MUTED})", LINE: f"var(--line, {LINE})"}
_VARIABLES |= {PAGE: f"var(--page, {PAGE})"}
_VARIABLES |= {colour: f"var(--s{index}, {colour})" for index, colour in enumerate(SERIES)}
_PAGE_FONT = "system-ui, sans-serif"
_FILE_FONT = "'DejaVu Sans', Verdana, sans-serif"
_FALLBACKS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"),
    *("WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS"),
)
_DPI = {"svg": 72, "pdf": 72, "png": 200}
_MIXTURES = (("ink", INK, 0.0), ("ink", INK, 0.45), ("page", PAGE, 0.5))
_DARK_SERIES = ("#56b4e9", "#f0843c", "#2fc795", "#e08fbc", "#e6c229", "#9fd3f2", "#b9bfc5")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "serlab",
    "text.parse_math": False,
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.edgecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for a page.

    Attributes:
        name: unique within the report, also the file's name.
        title: what it shows, in a few words.
        caption: how to read it.
        alternative: what can be seen in it, for who cannot see it.
        svg: the ``<svg>`` element for a page that defines the colours.
        plain: the same for a file, in plain colours on white.
        figure: what it was rendered from.
    """

    name: str
    title: str
    caption: str
    alternative: str
    svg: str
    plain: str
    figure: Figure


@contextmanager
def settings() -> Iterator[None]:
    """Draw the block's figures in the report's style."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS | {"font.family": ["DejaVu Sans", *_other_scripts()]})
        # A user's label in a script for which this machine has no font: pages and SVGs keep it as text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@functools.cache
def _other_scripts() -> tuple[str, ...]:
    """Installed fonts for what DejaVu Sans lacks."""
    there = set(get_font_names())
    return tuple(name for name in _FALLBACKS if name in there)


def colour_variables(*, dark: bool) -> str:
    """CSS declarations of the series' colours.

    >>> colour_variables(dark=False)[:13]
    '--s0: #0072b2'
    """
    return "; ".join(f"--s{index}: {colour}" for index, colour in enumerate(_DARK_SERIES if dark else SERIES))


def label_colour(place: int) -> str:
    """The colour of the label at a place, for files; the 8th to 21st are mixed with ink or paper.

    >>> label_colour(2), label_colour(9)
    ('#009e73', '#0d6650')
    """
    _, other, share = _MIXTURES[place // len(SERIES) % len(_MIXTURES)]
    pair = zip(to_rgb(SERIES[place % len(SERIES)]), to_rgb(other), strict=True)
    red, green, blue = ((1 - share) * own + share * mixed for own, mixed in pair)
    return to_hex((red, green, blue))


def label_colour_in_page(place: int) -> str:
    """The same for a page, from its variables ``--s0`` to ``--s6``, ``--ink`` and ``--page``.

    >>> label_colour_in_page(9)
    'color-mix(in srgb, var(--ink) 45%, var(--s2))'
    """
    other, _, share = _MIXTURES[place // len(SERIES) % len(_MIXTURES)]
    own = f"var(--s{place % len(SERIES)})"
    return f"color-mix(in srgb, var(--{other}) {100 * share:.0f}%, {own})" if share else own


def drawing_of(figure: Figure, name: str, title: str, caption: str, alternative: str) -> Drawing:
    """The figure, rendered for a page, with its words.

    Args:
        figure: drawn within :func:`settings`.
        name: unique within the report; the prefix of every id.
        title: what it shows, in a few words.
        caption: how to read it.
        alternative: the text alternative.
    """
    # Every file gets the page's layout, and none computes it again.
    figure.set_dpi(_DPI["svg"])
    FigureCanvasSVG(figure)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")
    plain = _svg(figure, f"figure-{name}", alternative)
    svg = re.sub(rf'<g id="figure-{re.escape(name)}-patch_1">.*?</g>\s*', "", plain, count=1, flags=re.DOTALL)
    svg = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _variable, svg.replace(_FILE_FONT, _PAGE_FONT))
    return Drawing(name, title, caption, alternative, svg, plain, figure)


def exports(drawing: Drawing) -> dict[str, bytes]:
    """The drawing as files for papers and slides, by ending: ``svg``, ``pdf`` and ``png``.

    They have plain colours on white, for whatever program opens them, and no date, so that drawing
    again gives the same bytes. In the SVG and the PDF text stays text.
    """
    # No producer and no software: a version of matplotlib is not a part of a figure.
    pdf = {"Title": drawing.title, "Creator": None, "Producer": None, "CreationDate": None}
    return {
        "svg": export_svg(drawing),
        "pdf": _rendered(drawing.figure, "pdf", pdf),
        "png": _rendered(drawing.figure, "png", {"Title": drawing.title, "Software": None}),
    }


def export_svg(drawing: Drawing) -> bytes:
    """The SVG alone of :func:`exports`."""
    start = drawing.plain.index(">") + 1
    return f"{drawing.plain[:start]}<title>{html.escape(drawing.title)}</title>{drawing.plain[start:]}\n".encode()


def _svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an ``<svg>`` element without a prolog, with its text alternative."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = _rendered(figure, "svg", nothing).decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text[text.index("<svg ") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    # Before 3.10 or so matplotlib writes the short form, "font: bold 9px 'DejaVu Sans'".
    text = re.sub(r"(font-family:|font: [\w. ]*px) [^;\"]*", rf"\1 {_FILE_FONT}", text)
    label = html.escape(alternative, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def _rendered(figure: Figure, kind: Literal["svg", "pdf", "png"], metadata: dict[str, str | None]) -> bytes:
    stream = io.BytesIO()
    with settings():
        # Not savefig, which draws figures twice that have had a layout engine.
        figure.set_facecolor(PAGE)
        figure.set_dpi(_DPI[kind])
        canvas: Any = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}[kind](figure)
        getattr(canvas, f"print_{kind}")(stream, metadata=metadata)
    return stream.getvalue()


def _variable(match: re.Match[str]) -> str:
    return f"{match[1]}: {_VARIABLES.get(match[2], match[2])}"
