"""A picture of many clips as one small SVG: each mark has the clip's id as its title, which browsers show on hover."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from serlab.report.charts import shortened
from serlab.report.svg import LINE, MUTED, PAGE, SERIES

MOST_GROUPS = 14
"""Groups with a mark of their own; more are not distinguishable."""
MOST_POINTS = 1500
"""Clips that are drawn."""
REST = "others"

_WIDTH, _HEIGHT, _MARGIN, _LINE = 440, 330, 12, 17
# Centred on 0, about 3 units wide in each direction.
_SHAPES = (
    "M-2.4 0a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0-4.8 0z",
    "M-2.2-2.2h4.4v4.4h-4.4z",
    "M0-2.9L2.7 2.1H-2.7z",
    "M0-3L3 0L0 3L-3 0z",
    "M0 2.9L2.7-2.1H-2.7z",
    "M-.9-2.8h1.8v1.9h1.9v1.8h-1.9v1.9h-1.8v-1.9h-1.9v-1.8h1.9z",
    "M-2.7-1.6L-1.6-2.7L0-1.1L1.6-2.7L2.7-1.6L1.1 0L2.7 1.6L1.6 2.7L0 1.1L-1.6 2.7L-2.7 1.6L-1.1 0z",
)


@dataclass(frozen=True)
class Picture:
    """A picture and its words.

    Attributes:
        name: unique within the page; the prefix of every id.
        title: what it shows.
        caption: how to read it.
        alternative: for people who cannot see it.
        svg: the element.
    """

    name: str
    title: str
    caption: str
    alternative: str
    svg: Markup


def draw(
    name: str,
    points: NDArray[np.floating],
    clips: Sequence[str],
    groups: Sequence[str],
    marked: Sequence[str],
    axes: tuple[str, str],
    alternative: str,
) -> Markup:
    """Draw clips as marks of their groups.

    Args:
        name: prefix of every id.
        points: shape (clips, 2).
        clips: their ids.
        groups: the group of each.
        marked: groups with a mark of their own, at most :data:`MOST_GROUPS`; others are grey dots.
        axes: what the axes are.
        alternative: the text alternative.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN) / np.maximum(high - low, 1e-12)
    places = (points - low) * scale + _MARGIN
    places[:, 1] = _HEIGHT - places[:, 1]
    rest = any(group not in marked for group in groups)
    entries = [*marked, *([REST] if rest else [])]
    columns = 3 if max((len(shortened(entry)) for entry in entries), default=0) <= 17 else 2
    top = _LINE * -(-len(entries) // columns) + 4
    members = {group: [i for i, each in enumerate(groups) if each == group] for group in marked}
    others = [i for i, each in enumerate(groups) if each not in members]
    parts = [_defs(name)]
    parts += [
        _legend(name, place, entry, columns, grey=entry == REST and place == len(marked))
        for place, entry in enumerate(entries)
    ]
    size = f'width="{_WIDTH - 1}" height="{_HEIGHT - 1}"'
    parts.append(f'<rect x=".5" y="{top}.5" {size} fill="none" stroke="var(--line,{LINE})"/>')
    inner = [f'<g fill="var(--muted,{MUTED})" fill-opacity=".3">{_marks(name, 0, others, places, clips)}</g>']
    for place, (group, rows) in enumerate(members.items()):
        inner.append(
            f'<g fill="{_colour(place)}" fill-opacity=".72"><desc>{html.escape(group)}</desc>'
            f"{_marks(name, _shape(place), rows, places, clips)}</g>"
        )
    for place, (group, rows) in enumerate(members.items()):
        if rows:
            x, y = places[rows].mean(axis=0)
            inner.append(
                f'<use href="#{name}-{_shape(place)}" transform="translate({x:.1f} {y:.1f}) scale(3)" '
                f'fill="{_colour(place)}" stroke="var(--page,{PAGE})" stroke-width=".6">'
                f"<title>{html.escape(group)}: mean</title></use>"
            )
    parts.append(f'<g transform="translate(0 {top})">{"".join(inner)}</g>')
    bottom = top + _HEIGHT
    label = f'font-size="11" fill="var(--muted,{MUTED})"'
    parts.append(f'<text x="{_WIDTH}" y="{bottom + 15}" text-anchor="end" {label}>→ {html.escape(axes[0])}</text>')
    parts.append(f'<text x="0" y="{bottom + 15}" {label}>↑ {html.escape(axes[1])}</text>')
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(alternative, quote=True)}" '
        f'viewBox="0 0 {_WIDTH} {bottom + 20}" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def chosen_rows(clips: Sequence[str], first: Sequence[int], key: np.random.Generator) -> NDArray[np.int64]:
    """Indices of the clips to draw, sorted: all, or :data:`MOST_POINTS`; at least half are random.

    Args:
        clips: their ids.
        first: indices of clips to prefer.
        key: draws the clips.
    """
    if len(clips) <= MOST_POINTS:
        return np.arange(len(clips))
    kept = np.asarray(first, np.int64)
    if len(kept) > MOST_POINTS // 2:
        kept = key.choice(kept, MOST_POINTS // 2, replace=False)
    others = np.setdiff1d(np.arange(len(clips)), kept)
    return np.sort(np.concatenate([kept, key.choice(others, MOST_POINTS - len(kept), replace=False)]))


def _colour(place: int) -> str:
    index = place % len(SERIES)
    return f"var(--s{index},{SERIES[index]})"


def _shape(place: int) -> int:
    """Shape of a group: another one for the same colour."""
    return (place + 3 * (place // len(SERIES))) % len(_SHAPES)


def _defs(name: str) -> str:
    shapes = "".join(f'<path id="{name}-{number}" d="{shape}"/>' for number, shape in enumerate(_SHAPES))
    return f"<defs>{shapes}</defs>"


def _marks(name: str, shape: int, rows: Sequence[int], places: NDArray[np.floating], clips: Sequence[str]) -> str:
    return "".join(
        f'<use href="#{name}-{shape}" x="{places[row, 0]:.1f}" y="{places[row, 1]:.1f}">'
        f"<title>{html.escape(clips[row])}</title></use>"
        for row in rows
    )


def _legend(name: str, place: int, entry: str, columns: int, *, grey: bool) -> str:
    x, y = (place % columns) * _WIDTH // columns, _LINE * (place // columns) + 9
    colour, shape = (f"var(--muted,{MUTED})", 0) if grey else (_colour(place), _shape(place))
    return (
        f'<use href="#{name}-{shape}" transform="translate({x + 7} {y}) scale(1.8)" fill="{colour}"/>'
        f'<text x="{x + 17}" y="{y + 4}" font-size="12" fill="currentColor">{html.escape(shortened(entry))}</text>'
    )
