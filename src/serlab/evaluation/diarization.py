"""Emotion diarization: which emotion is heard when, scored against a reference.

The emotion diarization error rate (EDER; Wang, Ravanelli and Yacoubi 2023, "Speech Emotion
Diarization: Which Emotion Appears When?", ASRU) is the share of time that is wrong: emotion that was
missed (called neutral, or nothing), false alarms (neutral called an emotion) and confusion of one
emotion with another. Time is cut at every boundary of either side, so no grid of frames rounds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.core import Exclusion, UserError
from serlab.core.progress import say
from serlab.corpora.spelling import misspelt, without_case
from serlab.evaluation.resampling import FEWEST_SPEAKERS, STANDARD, Interval, Resampling


@dataclass(frozen=True)
class Span:
    """A stretch of a recording with one label.

    Attributes:
        start, end: in seconds.
        label: the emotion; None for no speech or no answer.
    """

    start: float
    end: float
    label: str | None


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of a recording by kind of error.

    Attributes:
        missed: an emotion that was called neutral or nothing.
        false_alarm: neutral, or nothing, that was called an emotion.
        confusion: an emotion that was called another emotion.
        total: length of the recording that is scored.
    """

    missed: float
    false_alarm: float
    confusion: float
    total: float

    @property
    def rate(self) -> float:
        """EDER: the share of wrong time."""
        return (self.missed + self.false_alarm + self.confusion) / self.total


def diarization_errors(
    reference: Sequence[Span], predicted: Sequence[Span], *, neutral: str | None = "neutral", total: float | None = None
) -> DiarizationErrors:
    """Compare two ways to divide a recording into emotions.

    Args:
        reference: true spans, without overlap; time outside them counts as neutral.
        predicted: predicted spans, without overlap (see :func:`timeline`).
        neutral: the label of no emotion; None if the labels have no such.
        total: length of the recording in seconds; the last end of the reference by default. Time beyond is not scored.

    Raises:
        UserError: spans overlap, or end before they start.

    >>> truth = [Span(0, 2, "neutral"), Span(2, 6, "angry")]
    >>> diarization_errors(truth, [Span(0, 3, "neutral"), Span(3, 5, "angry"), Span(5, 6, "sad")])
    DiarizationErrors(missed=1.0, false_alarm=0.0, confusion=1.0, total=6.0)
    """
    _check(reference, "the reference")
    _check(predicted, "the prediction")
    end = max((span.end for span in reference), default=0.0) if total is None else total
    if not end > 0:
        raise UserError("the reference is empty; expected at least one span of time.")
    cuts = {0.0, end, *(edge for span in (*reference, *predicted) for edge in (span.start, span.end) if 0 < edge < end)}
    edges = np.array(sorted(cuts))
    seconds, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    truth, guess = (_at(spans, middle, neutral) for spans in (reference, predicted))
    emotion, answered = truth != "", guess != ""
    return DiarizationErrors(
        missed=float(seconds[emotion & ~answered].sum()),
        false_alarm=float(seconds[~emotion & answered].sum()),
        confusion=float(seconds[emotion & answered & (truth != guess)].sum()),
        total=float(end),
    )


def timeline(segments: Sequence[Span]) -> list[Span]:
    """Turn overlapping windows into spans: each moment belongs to the window whose middle is nearest.

    Args:
        segments: windows in the order of time.

    Returns:
        Spans without overlap; neighbours with one label are joined.

    >>> timeline([Span(0, 3, "sad"), Span(1, 4, "sad"), Span(2, 5, "angry")])
    [Span(start=0, end=3.0, label='sad'), Span(start=3.0, end=5, label='angry')]
    """
    if not segments:
        return []
    middles = [(span.start + span.end) / 2 for span in segments]
    between = [(one + other) / 2 for one, other in pairwise(middles)]
    joined: list[Span] = []
    for span, start, end in zip(segments, [segments[0].start, *between], [*between, segments[-1].end], strict=True):
        if start > span.end or end < span.start:  # a gap between windows, which no segment describes
            start, end = max(start, span.start), min(end, span.end)
        if joined and joined[-1].label == span.label and joined[-1].end == start:
            joined[-1] = Span(joined[-1].start, end, span.label)
        else:
            joined.append(Span(start, end, span.label))
    return joined


@dataclass(frozen=True)
class DiarizationEvaluation:
    """How well spans of several recordings were predicted.

    Attributes:
        eder: the error rate over the time of all recordings, with its interval over recordings.
        errors: seconds by kind of error, of all recordings.
        recordings: seconds by kind of error, by recording.
        exclusions: recordings of one side that the other lacks.
    """

    eder: Interval
    errors: DiarizationErrors
    recordings: Mapping[str, DiarizationErrors]
    exclusions: tuple[Exclusion, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "eder": asdict(self.eder),
            "seconds": asdict(self.errors),
            "recordings": {name: asdict(found) | {"eder": found.rate} for name, found in self.recordings.items()},
            "excluded": [{"path": entry.path, "reason": entry.reason} for entry in self.exclusions],
        }


def evaluate_spans(
    reference: Mapping[str, Sequence[Span]],
    predicted: Mapping[str, Sequence[Span]],
    *,
    neutral: str | None = "neutral",
    resampling: Resampling = STANDARD,
) -> DiarizationEvaluation:
    """Evaluate predicted spans; the interval is over recordings, and needs ten of them.

    Args:
        reference: true spans by recording.
        predicted: predicted spans by recording. Recordings may be named by path, the end of a path, or file name
            without suffix on either side.
        neutral: the label of no emotion.
        resampling: how recordings are resampled.

    Raises:
        UserError: a name fits several recordings, no recording is on both sides, a label of one side is that of the
            other but for case, or spans overlap.
    """
    exact = {name for name in reference if name in predicted}
    free = [name for name in predicted if name not in exact]
    pairs = {name: name if name in exact else _named(name, free) for name in reference}
    _check_once(pairs)
    _check_spellings(_labels(reference.values()) | ({neutral} if neutral else set()), _labels(predicted.values()))
    both = {name: other for name, other in pairs.items() if other is not None}
    if not both:
        raise UserError("no recording of the reference was predicted; compare the names of the files.")
    found = {
        name: diarization_errors(reference[name], predicted[other], neutral=neutral) for name, other in both.items()
    }
    lacking = [Exclusion(name, name, "not predicted") for name, other in pairs.items() if other is None]
    used = set(both.values())
    lacking += [Exclusion(name, name, "not in the reference") for name in predicted if name not in used]
    parts = np.array([[one.missed, one.false_alarm, one.confusion, one.total] for one in found.values()])
    errors = DiarizationErrors(*map(float, parts.sum(axis=0)))
    if len(found) < FEWEST_SPEAKERS:
        eder = Interval(errors.rate, None, None, f"fewer than {FEWEST_SPEAKERS} recordings ({len(found)})")
    else:
        wrong, total = parts[:, :3].sum(axis=1), parts[:, 3]
        eder = resampling.interval(errors.rate, lambda drawn: (drawn @ wrong) / (drawn @ total), len(found))
    return DiarizationEvaluation(eder, errors, found, tuple(lacking))


def _named(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that means the same recording."""
    listed = list(names)
    fitting = [other for other in listed if f"/{other}".endswith(f"/{name}") or f"/{name}".endswith(f"/{other}")]
    fitting = fitting or [other for other in listed if PurePath(other).stem == PurePath(name).stem]
    if len(fitting) > 1:
        raise UserError(f"{name} may be {fitting[0]} or {fitting[1]}; name the files by more of their paths.")
    return fitting[0] if fitting else None


def _check_once(pairs: Mapping[str, str | None]) -> None:
    """Refuse a prediction whose name fits several recordings of the reference."""
    owners: dict[str, str] = {}
    for name, other in pairs.items():
        if other is not None and (first := owners.setdefault(other, name)) != name:
            raise UserError(
                f"the prediction of {other} may be that of {first} or {name}; name the files by more of their paths."
            )


def _labels(sides: Iterable[Sequence[Span]]) -> set[str]:
    return {span.label for spans in sides for span in spans if span.label is not None}


def _check_spellings(true: set[str], predicted: set[str]) -> None:
    """Refuse a label that differs from another only in case or blanks, and say if one is nearly another."""
    spelt: dict[str, str] = {}
    for label in (*sorted(true), *sorted(predicted)):
        other = spelt.setdefault(without_case(label), label)
        if other != label:
            raise UserError(f"the labels {other!r} and {label!r} differ only in case or blanks; use one spelling.")
    for label in sorted(predicted - true):
        if near := [other for other in sorted(true) if misspelt(label, other)]:
            say(f"{label!r} is predicted and no label of the reference; {near[0]!r} is taken for another emotion.")


def _at(spans: Sequence[Span], moments: NDArray[np.float64], neutral: str | None) -> NDArray[np.object_]:
    """The emotion at each moment; empty for neutral and for time outside the spans."""
    found = np.full(len(moments), "", dtype=object)
    for span in spans:
        if span.label not in (None, neutral):
            found[(moments > span.start) & (moments < span.end)] = span.label
    return found


def _check(spans: Sequence[Span], name: str) -> None:
    ordered = sorted(spans, key=lambda span: span.start)
    for span in ordered:
        if not 0 <= span.start < span.end:
            raise UserError(f"{name} has a span from {span.start:g} to {span.end:g} s; expected start before end.")
    for one, other in pairwise(ordered):
        if other.start < one.end:
            raise UserError(f"{name} has spans that overlap at {other.start:g} s; give each moment one label.")
