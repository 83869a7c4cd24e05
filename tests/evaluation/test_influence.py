"""Influences, CR2 and degrees of freedom, against the regression that they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import influences, standard_error
from serlab.evaluation.metrics import METRICS, UAR, WA, Metric
from serlab.evaluation.resampling import Resampling


def experiment(clips: NDArray[np.int64], seed: int = 0) -> SpeakerCounts:
    """Counts of one seed for clips by speaker and label."""
    random = np.random.default_rng(seed)
    labels = clips.shape[1]
    chances = np.full((labels, labels), 0.1) + (1 - 0.1 * labels) * np.eye(labels)
    counts = [[random.multinomial(count, chances[label]) for label, count in enumerate(row)] for row in clips]
    return counts_of([counts])


UNEVEN = np.array([[3, 5, 0], [4, 1, 6], [2, 2, 2], [9, 4, 1], [1, 0, 3]])


def test_cr2_and_freedom_equal_those_of_the_regression_on_labels() -> None:
    counts = experiment(UNEVEN)
    found = standard_error([counts], UAR)
    assert found is not None
    right, design, speaker = [], [], []
    for place, matrix in enumerate(counts.by_speaker[0]):
        for label, row in enumerate(matrix):
            for guess, number in enumerate(row):
                right += [float(guess == label)] * number
                design += [np.eye(3)[label]] * number
                speaker += [place] * number
    y, x, cluster = np.array(right), np.array(design), np.array(speaker)
    bread = np.linalg.inv(x.T @ x)
    contrast = np.full(3, 1 / 3)
    hat = x @ bread @ x.T
    rows, rest = [], np.eye(len(y)) - hat
    for place in range(len(UNEVEN)):
        mine = cluster == place
        adjust = np.linalg.inv(np.real(sqrtm(np.eye(mine.sum()) - hat[np.ix_(mine, mine)])))
        rows.append(contrast @ bread @ x[mine].T @ adjust @ rest[mine])
    g = np.array(rows)
    covariance = g @ g.T
    assert found.error == pytest.approx(np.sqrt(((g @ y) ** 2).sum()), rel=1e-6)
    assert found.freedom == pytest.approx(np.trace(covariance) ** 2 / (covariance**2).sum(), rel=1e-9)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_balanced_design_has_one_degree_less_than_speakers(metric: Metric) -> None:
    counts = experiment(np.full((12, 3), 8))
    found = standard_error([counts], metric)
    assert found is not None
    assert found.freedom == pytest.approx(11)
    plain = influences([counts], metric).sum(axis=1)
    assert found.error == pytest.approx(np.sqrt(12 / 11 * (plain**2).sum()))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_influences_tell_what_leaving_a_speaker_out_changes(metric: Metric) -> None:
    clips = np.full((200, 3), 4)
    one, other = experiment(clips, 1), experiment(clips, 2)
    found = influences([one, other], metric).sum(axis=1)
    assert found.sum() == pytest.approx(0, abs=1e-9)

    def difference(kept: NDArray[np.bool_]) -> float:
        sums = [each.of_speakers(metric)[:, kept].sum(axis=1) for each in (one, other)]
        return float((metric.score(sums[0]) - metric.score(sums[1]))[0])

    whole = difference(np.ones(200, bool))
    left_out = [whole - difference(np.arange(200) != speaker) for speaker in range(20)]
    assert found[:20] == pytest.approx(left_out, rel=0.05, abs=1e-5)


def test_a_rare_label_leaves_few_degrees_of_freedom() -> None:
    clips = np.full((50, 2), 10)
    clips[3:, 1] = 0
    found = standard_error([experiment(clips)], UAR)
    assert found is not None
    assert 2 < found.freedom < 3


def test_one_speaker_for_a_label_gives_no_error() -> None:
    clips = np.full((20, 2), 10)
    clips[1:, 1] = 0
    assert standard_error([experiment(clips)], UAR) is None
    assert standard_error([experiment(clips)], WA) is not None


def test_a_label_without_clips_changes_nothing() -> None:
    counts = experiment(UNEVEN)
    padded = np.zeros((1, 5, 4, 4), np.int64)
    padded[..., :3, :3] = counts.by_speaker
    found, without = standard_error([counts_of(padded)], UAR), standard_error([counts], UAR)
    assert found is not None
    assert without is not None
    assert (found.error, found.freedom) == pytest.approx((without.error, without.freedom))


def halves() -> SpeakerCounts:
    """Two seeds that judge different clips: two speakers said the last label under one, twelve under the other."""
    clips = np.full((2, 24, 3), 4)
    clips[0, 12:], clips[1, :12], clips[0, 2:, 2] = 0, 0, 0
    return counts_of([experiment(each, seed).matrices[0] for seed, each in enumerate(clips)])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_seeds_that_judge_different_clips_may_come_in_any_order(metric: Metric) -> None:
    counts = halves()
    found = standard_error([counts], metric)
    swapped = standard_error([replace(counts, matrices=counts.matrices[::-1])], metric)
    assert found is not None
    assert swapped is not None
    assert (found.error, found.freedom) == pytest.approx((swapped.error, swapped.freedom), rel=1e-12)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_seeds_of_other_speakers_add_up_like_independent_scores(metric: Metric) -> None:
    """The score is the mean of two of independent speakers, and so is its variance a quarter of the sum of theirs."""
    counts = halves()
    parts = (counts_of(counts.matrices[[0], :12]), counts_of(counts.matrices[[1], 12:]))
    each = [standard_error([part], metric) for part in parts]
    found = standard_error([counts], metric)
    assert found is not None
    assert found.error == pytest.approx(np.hypot(*(part.error for part in each if part)) / 2)


def test_seeds_of_the_same_clips_have_the_degrees_of_freedom_of_one() -> None:
    one, other = experiment(UNEVEN, 0), experiment(UNEVEN, 1)
    found = standard_error([counts_of([one.matrices[0], other.matrices[0]])], UAR)
    alone = standard_error([one], UAR)
    assert found is not None
    assert alone is not None
    assert found.freedom == alone.freedom


def test_one_speaker_for_a_label_under_one_seed_gives_no_error() -> None:
    counts = halves()
    matrices = counts.matrices.copy()
    matrices[0, 1, 2] = 0
    assert standard_error([replace(counts, matrices=matrices)], UAR) is None
    assert standard_error([replace(counts, matrices=matrices[::-1])], UAR) is None
    found = intervals(replace(counts, matrices=matrices), resampling=Resampling(replicates=400))["uar"]
    assert found.reason == "under one of the seeds, a label is spoken by one speaker alone"
