"""Emotion diarization error rate, by its definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import UserError
from serlab.evaluation.diarization import Span, diarization_errors, timeline

TRUTH = [Span(0, 2, "neutral"), Span(2, 5, "happy"), Span(5, 6, "neutral")]


def test_a_perfect_prediction_has_no_error() -> None:
    assert diarization_errors(TRUTH, TRUTH).rate == 0


@pytest.mark.parametrize(
    ("predicted", "missed", "false_alarm", "confusion"),
    [
        ([Span(0, 6, "neutral")], 3, 0, 0),
        ([Span(0, 6, "happy")], 0, 3, 0),
        ([Span(0, 6, "sad")], 0, 3, 3),
        ([Span(0, 1, "neutral"), Span(1, 4, "happy"), Span(4, 6, "sad")], 0, 2, 1),
        ([], 3, 0, 0),
        ([Span(2, 5, None)], 3, 0, 0),
        ([Span(2, 9, "happy")], 0, 1, 0),
    ],
)
def test_errors_by_hand(predicted: list[Span], missed: float, false_alarm: float, confusion: float) -> None:
    found = diarization_errors(TRUTH, predicted)
    assert (found.missed, found.false_alarm, found.confusion, found.total) == (missed, false_alarm, confusion, 6)
    assert found.rate == pytest.approx((missed + false_alarm + confusion) / 6)


LABELS = st.sampled_from(["neutral", "happy", "sad", None])


@st.composite
def divisions(draw: st.DrawFn) -> list[Span]:
    edges = [0, *sorted(draw(st.sets(st.integers(1, 99), max_size=8))), 100]
    return [Span(a / 10, b / 10, draw(LABELS)) for a, b in pairwise(edges)]


@given(divisions(), divisions())
def test_it_equals_counting_frames(reference: list[Span], predicted: list[Span]) -> None:
    found = diarization_errors(reference, predicted)

    def frames(spans: list[Span]) -> list[str]:
        labels = [next(s.label for s in spans if s.start <= t < s.end) for t in np.arange(0.05, 10, 0.1)]
        return ["neutral" if label is None else label for label in labels]

    wrong = sum(one != other for one, other in zip(frames(reference), frames(predicted), strict=True))
    assert found.rate == pytest.approx(wrong / 100)


def test_windows_become_spans_without_overlap() -> None:
    windows = [Span(0, 3, "sad"), Span(1, 4, "angry"), Span(2, 5, "angry"), Span(3, 6, None)]
    assert timeline(windows) == [Span(0, 2, "sad"), Span(2, 4, "angry"), Span(4, 6, None)]
    assert timeline([]) == []


def test_overlap_and_reversed_spans_are_refused() -> None:
    with pytest.raises(UserError, match="the prediction has spans that overlap at 1 s"):
        diarization_errors(TRUTH, [Span(0, 2, "sad"), Span(1, 3, "sad")])
    with pytest.raises(UserError, match="the reference has a span from 2 to 1 s"):
        diarization_errors([Span(2, 1, "sad")], [])
    with pytest.raises(UserError, match="the reference is empty"):
        diarization_errors([], [Span(0, 1, "sad")])
