"""Smoothing against the sum over all paths of the hidden states, and what it does to a recording."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.model.segments import Segment, Segmenter, Segmenting
from serlab.model.smoothing import AHEAD, HiddenMarkov, Median, default_stay

Rows = list[list[float] | None]


def smoothed(average, rows: Rows) -> list[np.ndarray | None]:
    """What an average makes of all rows of a recording."""
    arrays = [None if row is None else np.array(row) for row in rows]
    return [average(arrays[place : place + average.ahead + 1]) for place in range(len(arrays))]


def by_all_paths(rows: Rows, place: int, stay: float, weight: float) -> np.ndarray:
    """The probability of each state of a segment, summed over every path of a chain that ends ``AHEAD`` later."""
    labels = len(next(row for row in rows if row is not None))
    rows = rows[: place + AHEAD + 1]
    found = np.zeros(labels)
    for path in product(range(labels), repeat=len(rows)):
        share = 1 / labels
        for before, after in pairwise(path):
            share *= stay if before == after else (1 - stay) / (labels - 1)
        for state, row in zip(path, rows, strict=True):
            share *= 1.0 if row is None else row[state] ** weight
        found[path[place]] += share
    return found / found.sum()


row = st.tuples(*[st.floats(0.01, 1)] * 2).map(lambda values: [value / sum(values) for value in values])


@given(
    rows=st.lists(st.none() | row, min_size=1, max_size=AHEAD + 3).filter(any),
    stay=st.floats(0.05, 0.95),
    weight=st.floats(0.1, 1),
)
def test_the_hidden_markov_model_sums_over_all_paths(rows, stay, weight):
    found = smoothed(HiddenMarkov(stay, weight), rows)
    for place in {0, len(rows) // 2, len(rows) - 1}:
        if rows[place] is None:
            assert found[place] is None
        else:
            np.testing.assert_allclose(found[place], by_all_paths(rows, place, stay, weight), rtol=1e-9)


def test_a_segment_does_not_depend_on_more_than_ten_after_it():
    rows: Rows = [[0.5, 0.5]] * 12
    other = [*rows[:11], [0.01, 0.99]]
    assert smoothed(HiddenMarkov(0.9, 1), rows)[0] == pytest.approx([0.5, 0.5])
    assert smoothed(HiddenMarkov(0.9, 1), other)[0] == pytest.approx([0.5, 0.5])
    assert smoothed(HiddenMarkov(0.9, 1), other)[1] != pytest.approx([0.5, 0.5])


def test_without_memory_and_with_full_weight_nothing_changes():
    rows: Rows = [[0.9, 0.1], None, [0.2, 0.8], [1.0, 0.0]]
    for one, other in zip(smoothed(HiddenMarkov(0.5, 1), rows), rows, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_lone_outlier_is_smoothed_away_and_a_change_that_lasts_stays():
    rows: Rows = [[0.8, 0.2]] * 4 + [[0.3, 0.7]] + [[0.8, 0.2]] * 4 + [[0.2, 0.8]] * 6
    labels = [int(np.argmax(found)) for found in smoothed(HiddenMarkov(0.9, 1), rows)]
    assert labels == [0] * 9 + [1] * 6


def test_a_long_pause_lets_the_emotion_be_forgotten():
    before: Rows = [[0.9, 0.1]] * 5
    near = smoothed(HiddenMarkov(0.9, 1), [*before, [0.4, 0.6]])[-1]
    far = smoothed(HiddenMarkov(0.9, 1), [*before, *[None] * 60, [0.4, 0.6]])[-1]
    assert near.argmax() == 0
    np.testing.assert_allclose(far, [0.4, 0.6], atol=1e-4)


def test_the_median_of_nothing_in_common_is_the_segments_own():
    rows: Rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert [list(found) for found in smoothed(Median(3), rows)][1] == [0.0, 1.0, 0.0]


def test_the_default_lasts_ten_seconds_on_average_whatever_the_hop():
    assert default_stay(1, 6) == pytest.approx(0.9)
    assert default_stay(0.5, 6) ** 2 == pytest.approx(0.9)
    assert default_stay(60, 4) == 0.25


def labels_of(rows: Rows, **how) -> list[Segment]:
    scored = iter(np.array(one) for one in rows if one is not None)
    segmenting = Segmenting(window=0.2, hop=0.1, vad="none", **how)
    segmenter = Segmenter(segmenting, ("calm", "sad"), lambda windows: [next(scored) for _ in windows], lambda _: True)
    noise = np.random.default_rng(0).normal(0, 0.1, 1600 * (len(rows) + 1)).astype(np.float32)
    fed: list[Segment] = []
    for place in range(0, len(noise), 1600):
        fed += segmenter.feed(noise[place : place + 1600])
        # Those whose ten followers have not arrived are held back.
        assert len(fed) == max(0, place // 1600 - AHEAD)
    return fed + segmenter.flush()


def test_segments_come_ten_later_and_keep_their_times():
    rows: Rows = [[0.8, 0.2]] * 7 + [[0.4, 0.6]] + [[0.8, 0.2]] * 7
    found = labels_of(rows, smoothing="hmm", stay=0.9)
    assert [one.label for one in found] == ["calm"] * 15
    assert [one.start for one in found] == pytest.approx([0.1 * place for place in range(15)])
    expected = smoothed(HiddenMarkov(0.9, 0.5), rows)
    for one, shares in zip(found, expected, strict=True):
        assert list(one.probabilities.values()) == pytest.approx(list(shares))
    assert Segmenting(hop=0.5, smoothing="hmm").delay == 5
    assert Segmenting(smoothing=5).delay == 2
