"""What a picture of one recording shows: its waveform, and its segments in columns of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, blocks
from serlab.core.progress import bar
from serlab.evaluation.diarization import Span
from serlab.inference.export import spans_of
from serlab.model.prediction import Prediction

_FINEST = 0.02
"""Shortest column of the waveform, in seconds."""


@dataclass(frozen=True)
class Timeline:
    """One recording over time.

    Attributes:
        path: the file.
        seconds: its length.
        waveform: largest absolute sample of each column, 0 to 1, shape (columns,).
        labels: of the model.
        probabilities: of each column, shape (columns, labels); NaN without speech.
        spans: the label of each moment, as in subtitles.
        whole: the prediction.
    """

    path: str
    seconds: float
    waveform: NDArray[np.float32]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    spans: tuple[Span, ...]
    whole: Prediction


def timeline_of(prediction: Prediction, labels: Sequence[str], columns: int) -> Timeline:
    """Read the recording once more, for its waveform, and gather what is shown.

    Args:
        prediction: of a file, with segments.
        labels: of the model.
        columns: the most columns of time.

    Raises:
        AudioError: the file cannot be read any more.
    """
    assert prediction.path is not None
    seconds = prediction.segments[-1].end
    count = max(1, min(columns, round(seconds / _FINEST)))
    with bar("reading the waveform", round(seconds)) as progress:
        waveform = envelope(blocks(prediction.path), round(seconds * SAMPLE_RATE), count, progress.advance)
    return Timeline(
        prediction.path,
        seconds,
        waveform,
        tuple(labels),
        _columns(prediction, labels, min(count, _needed(prediction))),
        tuple(spans_of(prediction)),
        prediction,
    )


def envelope(
    pieces: Iterable[NDArray[np.float32]], samples: int, columns: int, advance: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Largest absolute value in each of ``columns`` equal parts of a recording that arrives in pieces."""
    found = np.zeros(columns, np.float32)
    place = 0
    for piece in pieces:
        at = np.minimum((np.arange(place, place + len(piece)) * columns) // samples, columns - 1)
        first, starts = np.unique(at, return_index=True)
        found[first] = np.maximum(found[first], np.maximum.reduceat(np.abs(piece), starts))
        place += len(piece)
        if advance is not None:
            advance((place // SAMPLE_RATE) - ((place - len(piece)) // SAMPLE_RATE))
    return np.minimum(found, 1)


def _needed(prediction: Prediction) -> int:
    """Two columns per hop, so that changes are at the right time."""
    starts = [one.start for one in prediction.segments]
    shortest = min((float(hop) for hop in np.diff(starts) if hop > 0), default=prediction.segments[-1].end)
    return max(1, round(2 * prediction.segments[-1].end / shortest))


def _columns(prediction: Prediction, labels: Sequence[str], columns: int) -> NDArray[np.float64]:
    """Mean of the segments whose middle is in the column, or the segment with the nearest middle if there is none."""
    segments = prediction.segments
    middles = np.array([(one.start + one.end) / 2 for one in segments])
    rows = np.array([list(one.probabilities.values()) or [np.nan] * len(labels) for one in segments])
    edges = np.linspace(0, segments[-1].end, columns + 1)
    own = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, columns - 1)
    known = ~np.isnan(rows[:, 0])
    sums, counts = np.zeros((columns, len(labels))), np.zeros((columns, 1))
    np.add.at(sums, own[known], rows[known])
    np.add.at(counts, own[known], 1)
    nearest = np.searchsorted((middles[1:] + middles[:-1]) / 2, (edges[1:] + edges[:-1]) / 2)
    empty = np.bincount(own, minlength=columns) == 0
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return np.where(empty[:, np.newaxis], rows[nearest], means)
