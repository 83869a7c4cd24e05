import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from serlab.evaluation.bootstrap import FEWEST_SPEAKERS, differences, intervals
from serlab.evaluation.metrics import confusion

CLASSES = 3


def rows_of(speakers: int, clips: int, seed: int, skill: float = 0.5):
    """Speaker, truth and guess of each clip; speakers differ in how well they are understood."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    truth = np.tile(np.arange(clips) % CLASSES, speakers)
    right = random.random(len(truth)) < np.clip(skill + 0.25 * np.sin(speaker), 0, 1)
    guess = np.where(right, truth, random.integers(0, CLASSES, len(truth)))
    return speaker, truth, guess


def matrices_of(speaker, truth, guess):
    return confusion(truth, guess, CLASSES, group=speaker, groups=speaker.max() + 1)[None]


def test_equals_resampling_of_rows():
    speaker, truth, first = rows_of(12, 9, seed=1)
    _, _, second = rows_of(12, 9, seed=2, skill=0.3)
    found = intervals(matrices_of(speaker, truth, first), replicates=300, seed=7)
    difference = differences(
        matrices_of(speaker, truth, first), matrices_of(speaker, truth, second), replicates=300, seed=7
    )
    weights = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=300)
    brute = {"uar": [], "macro_f1": [], "difference": []}
    for weight in weights:
        rows = np.repeat(np.arange(len(truth)), weight[speaker])
        one, other = (recall_score(truth[rows], guess[rows], average="macro") for guess in (first, second))
        brute["uar"].append(one)
        brute["difference"].append(one - other)
        brute["macro_f1"].append(f1_score(truth[rows], first[rows], average="macro"))
    for interval, values in (
        (found["uar"], brute["uar"]),
        (found["macro_f1"], brute["macro_f1"]),
        (difference["uar"], brute["difference"]),
    ):
        np.testing.assert_allclose((interval.low, interval.high), np.quantile(values, (0.025, 0.975)), atol=1e-12)
    assert found["uar"].value == pytest.approx(recall_score(truth, first, average="macro"), abs=1e-12)


def test_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for trial in range(150):
        random = np.random.default_rng(trial)
        hits = random.binomial(20, np.clip(random.normal(0.6, 0.1, 40), 0, 1))
        matrices = np.zeros((1, 40, 2, 2), int)
        matrices[0, :, 0, 0], matrices[0, :, 0, 1], matrices[0, :, 1, 1] = hits, 20 - hits, 1
        interval = intervals(matrices, replicates=400)["uar"]
        inside += interval.low <= (0.6 + 1) / 2 <= interval.high
    assert 0.88 <= inside / 150 <= 0.99


@given(st.integers(FEWEST_SPEAKERS, 20), st.integers(0, 99))
@settings(max_examples=20)
def test_identical_recipes_differ_by_nothing(speakers, seed):
    matrices = matrices_of(*rows_of(speakers, 6, seed))
    for difference in differences(matrices, matrices, replicates=50).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


@given(st.integers(0, 99))
@settings(max_examples=20)
def test_the_difference_is_antisymmetric(seed):
    speaker, truth, first = rows_of(11, 6, seed)
    second = rows_of(11, 6, seed + 100)[2]
    one, other = matrices_of(speaker, truth, first), matrices_of(speaker, truth, second)
    there, back = (differences(a, b, replicates=200)["uar"] for a, b in ((one, other), (other, one)))
    np.testing.assert_allclose(
        (there.value, there.low, there.high), (-back.value, -back.high, -back.low), rtol=0, atol=1e-12
    )


def test_several_seeds_are_averaged_on_the_same_speakers():
    speaker, truth, first = rows_of(12, 6, seed=1)
    second = rows_of(12, 6, seed=2)[2]
    each = [matrices_of(speaker, truth, guess) for guess in (first, second)]
    both = intervals(np.concatenate(each), replicates=200)["uar"]
    alone = [intervals(matrices, replicates=200)["uar"] for matrices in each]
    assert both.value == pytest.approx(np.mean([interval.value for interval in alone]), abs=1e-12)
    twice = intervals(np.concatenate([each[0], each[0]]), replicates=200)["uar"]
    assert (twice.low, twice.high) == pytest.approx((alone[0].low, alone[0].high), abs=1e-12)


@pytest.mark.parametrize(("speakers", "known", "reason"), [(9, True, "fewer than 10"), (40, False, "unknown")])
def test_no_interval_without_enough_known_speakers(speakers, known, reason):
    matrices = matrices_of(*rows_of(speakers, 6, seed=0))
    for interval in intervals(matrices, speakers_known=known).values():
        assert (interval.low, interval.high) == (None, None)
        assert reason in interval.reason
        assert 0 < interval.value < 1


def test_no_interval_where_a_label_hangs_on_one_speaker():
    matrices = np.zeros((1, 12, 2, 2), int)
    matrices[0, :, 0, 0] = 5
    matrices[0, 3, 1, 1] = 2
    interval = intervals(matrices, replicates=200)["uar"]
    assert interval.low is None
    assert "too few speakers" in interval.reason


def test_a_label_that_nobody_says_does_not_stop_the_interval():
    matrices = np.zeros((1, 12, 3, 3), int)
    matrices[0, :, 0, 0], matrices[0, :, 1, 1], matrices[0, :, 1, 2] = 3, 2, range(12)
    assert intervals(matrices, replicates=200)["uar"].low is not None


def test_different_clips_are_no_pair():
    matrices = matrices_of(*rows_of(12, 6, seed=0))
    with pytest.raises(ValueError, match="same clips"):
        differences(matrices, 2 * matrices)


def test_ten_thousand_replicates_of_three_recipes_take_less_than_a_second():
    random = np.random.default_rng(0)
    recipes = [random.integers(0, 8, (1, 91, 6, 6)) for _ in range(3)]
    start = time.process_time()
    for matrices in recipes:
        intervals(matrices)
    assert time.process_time() - start < 1.0
