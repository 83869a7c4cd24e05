"""A recording's predictions as one page: waveform, labels and probabilities over time, and a player.

The page is one file without network requests; its content policy forbids them, and allows one script by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from serlab.core.files import write_text
from serlab.core.progress import clock as duration
from serlab.core.progress import shown
from serlab.inference.timeline import Timeline
from serlab.model.card import LIMITS
from serlab.model.prediction import NO_SPEECH, word_of
from serlab.report.render import embedded, link_to
from serlab.report.svg import colour_variables, label_colour_in_page

Audio = Literal["link", "embed", "none"]
COLUMNS = 4000
"""The most columns of time; an hour's are nine tenths of a second."""

_UNSURE = "can't tell"
_MOST_ROWS = 2000
_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
_TICKS = 6


def write_page(timeline: Timeline, target: Path, *, audio: Audio = "link") -> None:
    """Write the page.

    Args:
        timeline: what it shows.
        target: the HTML file.
        audio: ``link`` plays the user's file from where it is, relative to the page; ``embed`` copies it into the page;
            ``none`` has no player.

    Raises:
        UserError: the recording cannot be embedded.
        MachineError: the page cannot be written.
    """
    path, address = Path(timeline.path), ""
    if audio != "none":
        address = embedded(path) if audio == "embed" else link_to(path, target.parent)
    write_text(target, render(timeline, address))


def render(timeline: Timeline, address: str = "") -> str:
    """The page's text; ``address`` is that of the sound, if it has a player."""
    columns, seconds = len(timeline.probabilities), timeline.seconds
    fills = {label: label_colour_in_page(place) for place, label in enumerate(timeline.labels)}
    spans = [
        {
            "x": _short(columns * one.start / seconds), "width": _short(columns * (one.end - one.start) / seconds),
            "start": round(one.start, 3), "from": moment(one.start, 1), "to": moment(one.end, 1),
            "label": shown(one.label or ""),
            "fill": "" if one.label == NO_SPEECH else fills.get(one.label or "", "url(#hatch)"),
            "title": f"{moment(one.start, 1)} to {moment(one.end, 1)}: {shown(one.label or '')}",
        }
        for one in timeline.spans
    ]  # fmt: skip
    data = {
        "seconds": seconds,
        "labels": [shown(label) for label in timeline.labels],
        "spans": [[one["start"], one["label"]] for one in spans],
        "columns": [None if np.isnan(row[0]) else [round(float(p), 3) for p in row] for row in timeline.probabilities],
        "most": 2 ** int(np.ceil(np.log2(max(4.0, columns / 400)))),
    }
    script = (resources.files(__package__) / "templates" / "timeline.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("serlab.inference"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    words = {one.label for one in timeline.spans}
    return environment.get_template("timeline.html.jinja").render(
        name=shown(Path(timeline.path).name),
        length=duration(seconds),
        seconds=round(seconds, 3),
        whole=_whole(timeline),
        about=_about(timeline),
        audio=address,
        columns=columns,
        stripe=_short(columns / 120),
        waveform={"columns": len(timeline.waveform), "path": Markup(_wave(timeline.waveform))},
        lanes=[
            {"label": shown(label), "fill": fills[label], "path": Markup(_area(timeline.probabilities[:, place]))}
            for place, label in enumerate(timeline.labels)
        ],
        spans=spans,
        quiet=lambda wide: Markup(_quiet(timeline, wide)),
        unsure=_UNSURE in words,
        silent=NO_SPEECH in words,
        ticks=[{"left": _short(100 * at / seconds), "text": moment(at)} for at in _ticks(seconds)],
        coarse=f"{seconds / columns:.1f} s" if columns < len(timeline.whole.segments) else "",
        most=_MOST_ROWS,
        limits=LIMITS,
        light=Markup(colour_variables(dark=False)),
        dark=Markup(colour_variables(dark=True)),
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def moment(seconds: float, digits: int = 0) -> str:
    """A time in a recording, with the fraction of its second in so many digits.

    >>> moment(75), moment(3725.4), moment(59.96, 1)
    ('1:15', '1:02:05', '1:00.0')
    """
    shown = round(seconds, digits) if digits else int(seconds)
    whole = int(shown)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    fraction = f"{shown - whole:.{digits}f}"[1:] if digits else ""
    return f"{hours}:{whole % 60:02}{fraction}"


def _whole(timeline: Timeline) -> str:
    found = timeline.whole
    share = f" ({found.probabilities[found.label]:.2f})" if found.label else ""
    return f"{shown(word_of(found))}{share}"


def _about(timeline: Timeline) -> str:
    segments = timeline.whole.segments
    if len(segments) == 1:
        return "One segment."
    spoken = sum(one.speech for one in segments)
    if not spoken:
        return f"None of the {len(segments):,} segments has speech."
    return f"The mean over {spoken:,} of {len(segments):,} segments, those with speech."


def _ticks(seconds: float) -> list[float]:
    step = next((step for step in _STEPS if seconds / step <= _TICKS), _STEPS[-1])
    return [float(at) for at in np.arange(0, seconds, step) if at <= 0.97 * seconds]


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _wave(values: NDArray[np.float32]) -> str:
    """An outline around the middle, as high as the loudest sample."""
    heights = np.round(48 * values / max(float(values.max()), 0.02), 1)
    upper = "".join(f"V{50 - h:g}H{place + 1}" for place, h in enumerate(heights))
    lower = "".join(f"V{50 + h:g}H{len(heights) - 1 - place}" for place, h in enumerate(heights[::-1]))
    return f"M0 50{upper}{lower}Z"


def _area(values: NDArray[np.float64]) -> str:
    """The area below steps from 0 to 1; nothing without speech."""
    heights = np.round(100 * (1 - np.nan_to_num(values)), 1)
    ends = np.flatnonzero(np.diff(heights, append=np.nan) != 0)
    return "M0 100" + "".join(f"V{heights[end]:g}H{end + 1}" for end in ends) + "V100Z"


def _quiet(timeline: Timeline, columns: int) -> str:
    """Grey where there is no speech."""
    scale = columns / timeline.seconds
    return "".join(
        f'<rect x="{_short(scale * one.start)}" y="0" width="{_short(scale * (one.end - one.start))}" height="100" '
        'fill="var(--quiet)"/>'
        for one in timeline.spans
        if one.label == NO_SPEECH
    )
