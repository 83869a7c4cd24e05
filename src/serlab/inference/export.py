"""The segments of one recording in formats of players and annotation tools: WebVTT, Praat TextGrid, Audacity labels.

Segments overlap, which these formats show badly or not at all. So each moment gets the label of the segment whose
middle is nearest, and neighbours with one label are joined.
"""

from __future__ import annotations

import html
from collections.abc import Callable

from serlab.core.progress import shown
from serlab.evaluation.diarization import Span, timeline
from serlab.model.prediction import NO_SPEECH, Prediction, word_of


def spans_of(prediction: Prediction) -> list[Span]:
    """The spans of a divided recording, with words for segments without a label."""
    return timeline([Span(one.start, one.end, word_of(one)) for one in prediction.segments])


def webvtt(prediction: Prediction) -> str:
    """Subtitles for players and browsers; nothing is shown where there is no speech."""
    cues = (
        f"{clock(span.start)} --> {clock(span.end)}\n{html.escape(shown(span.label or ''), quote=False)}\n"
        for span in spans_of(prediction)
        if span.label != NO_SPEECH
    )
    return "\n".join(["WEBVTT\n", *cues])


def textgrid(prediction: Prediction) -> str:
    """One interval tier for Praat, called ``emotion``; intervals without speech are empty."""
    spans = spans_of(prediction)
    end = spans[-1].end
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end!r}", "tiers? <exists>",
        "size = 1", "item []:", "    item [1]:", '        class = "IntervalTier"', '        name = "emotion"',
        "        xmin = 0", f"        xmax = {end!r}", f"        intervals: size = {len(spans)}",
    ]  # fmt: skip
    for number, span in enumerate(spans, 1):
        text = "" if span.label == NO_SPEECH else shown(span.label or "").replace('"', '""')
        lines += [
            f"        intervals [{number}]:", f"            xmin = {span.start!r}", f"            xmax = {span.end!r}",
            f'            text = "{text}"',
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def audacity(prediction: Prediction) -> str:
    """A label track of Audacity: start, end and label, separated by tabs."""
    return "".join(f"{span.start:.6f}\t{span.end:.6f}\t{shown(span.label or '')}\n" for span in spans_of(prediction))


WRITERS: dict[str, Callable[[Prediction], str]] = {"vtt": webvtt, "textgrid": textgrid, "audacity": audacity}
"""Formats of one recording, by name."""


def clock(seconds: float) -> str:
    """Format a time as hours, minutes, seconds and milliseconds.

    >>> clock(3725.5)
    '01:02:05.500'
    """
    whole = round(1000 * seconds)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"
