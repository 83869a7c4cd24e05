"""Risk-coverage curves are what counting gives, in whatever order the clips come."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, recall_score

from serlab.core import UserError
from serlab.evaluation import abstention
from serlab.evaluation.abstention import aurc, excess_aurc, judge_abstention, risk_coverage, threshold_for
from serlab.evaluation.calibration import at_temperature, decompose, ece
from serlab.evaluation.resampling import Resampling

some_clips = st.lists(st.tuples(st.sampled_from([0.6, 0.7, 0.8, 0.9]), st.booleans()), min_size=1, max_size=6)


def clips_of(confidence, right):
    """Clips of two labels with these confidences; the right ones are of the first label."""
    confidence = np.asarray(confidence, float)
    return np.column_stack([confidence, 1 - confidence]), np.where(right, 0, 1)


def people(seed: int = 0, speakers: int = 12, clips: int = 20, classes: int = 3):
    """Clips that are the likelier right the surer the model is; confidences are rounded, so that many tie."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    confidence = random.uniform(0.4, 1, len(speaker)).round(2)
    truth = random.integers(0, classes, len(speaker))
    guess = np.where(random.random(len(truth)) < confidence, truth, (truth + 1) % classes)
    probabilities = np.repeat(((1 - confidence) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(len(truth)), guess] = confidence
    return probabilities, truth, speaker


def test_the_curve_and_its_area_by_hand():
    case = clips_of([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    coverage, risk = risk_coverage(*case)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 2 / 4])
    assert aurc(*case) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    # The best order has both errors last: risks 0, 0, 1/3, 2/4.
    assert excess_aurc(*case) == pytest.approx(1 / 8)


def test_confidences_all_alike_have_the_error_rate_at_every_coverage():
    case = clips_of([0.7] * 8, [True] * 5 + [False] * 3)
    np.testing.assert_allclose(risk_coverage(*case)[1], 3 / 8)
    assert aurc(*case) == pytest.approx(3 / 8)


def test_the_excess_is_nought_in_the_best_order_and_most_in_the_worst():
    best, worst = ([True, True, False, False], [False, False, True, True])
    assert excess_aurc(*clips_of([0.9, 0.8, 0.7, 0.6], best)) == pytest.approx(0, abs=1e-15)
    # Risks 1, 1, 2/3, 2/4 rather than 0, 0, 1/3, 2/4.
    assert excess_aurc(*clips_of([0.9, 0.8, 0.7, 0.6], worst)) == pytest.approx((1 + 1 + 1 / 3) / 4)


@given(some_clips)
@settings(max_examples=60)
def test_ties_count_as_the_mean_over_their_orders(clips):
    confidence, right = map(np.array, zip(*clips, strict=True))
    runs = [np.flatnonzero(confidence == level) for level in sorted(set(confidence), reverse=True)]
    areas = []
    for order in itertools.product(*map(itertools.permutations, runs)):
        wrong = ~right[np.concatenate(order)]
        areas.append((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())
    assert aurc(*clips_of(confidence, right)) == pytest.approx(np.mean(areas), abs=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_the_order_of_clips_never_matters(seed):
    probabilities, truth, speaker = people(seed)
    order = np.random.default_rng(seed).permutation(len(truth))
    one, other = (
        judge_abstention(probabilities[rows], truth[rows], speaker[rows], resampling=Resampling(replicates=50))
        for rows in (np.arange(len(truth)), order)
    )
    assert asdict(one.aurc) == pytest.approx(asdict(other.aurc), abs=1e-12)
    assert np.array(one.curve) == pytest.approx(np.array(other.curve), abs=1e-12)
    for here, there in zip(one.at, other.at, strict=True):
        assert asdict(here.uar) == pytest.approx(asdict(there.uar), abs=1e-12)


def test_intervals_equal_resampling_of_rows():
    probabilities, truth, speaker = people()

    def brute(weights):
        rows = (np.repeat(np.arange(len(truth)), each.astype(int)[speaker]) for each in weights)
        return np.array([aurc(probabilities[row], truth[row]) for row in rows])

    wanted = Resampling(replicates=200).interval(aurc(probabilities, truth), brute, 12)
    assert asdict(
        judge_abstention(probabilities, truth, speaker, resampling=Resampling(replicates=200)).aurc
    ) == pytest.approx(asdict(wanted), abs=1e-12)


def test_scores_at_a_coverage_are_those_of_the_surest_clips():
    probabilities, truth, speaker = people(seed=1)
    probabilities = probabilities - 1e-6 * np.arange(len(truth))[:, None]  # no two alike
    judged = judge_abstention(
        probabilities, truth, speaker, coverages=[0.25, 1.0], resampling=Resampling(replicates=100)
    )
    surest = np.argsort(-probabilities.max(axis=1))[: len(truth) // 4]
    for selective, rows in zip(judged.at, (surest, np.arange(len(truth))), strict=True):
        guess = probabilities[rows].argmax(axis=1)
        assert selective.accuracy.value == pytest.approx(accuracy_score(truth[rows], guess))
        assert selective.uar.value == pytest.approx(recall_score(truth[rows], guess, average="macro"))
        assert selective.threshold == probabilities[rows].max(axis=1).min()
        assert selective.accuracy.low < selective.accuracy.value < selective.accuracy.high
        shares = [(truth[rows] == label).sum() / (truth == label).sum() for label in range(3)]
        assert selective.kept == pytest.approx(shares)
    assert judged.at[0].accuracy.value == pytest.approx(1 - risk_coverage(probabilities, truth)[1][len(surest) - 1])


def test_tied_clips_are_answered_in_part():
    case = clips_of([0.9, 0.7, 0.7, 0.7], [True, True, False, False])
    half = judge_abstention(*case, np.arange(4), coverages=[0.5]).at[0]
    assert half.accuracy.value == pytest.approx((1 + 1 / 3) / 2)
    assert half.kept == pytest.approx(((1 + 1 / 3) / 2, 1 / 3))


def test_a_label_that_is_never_answered_is_said_not_left_out():
    probabilities, truth = clips_of([0.9, 0.8, 0.7, 0.6], [True, True, False, False])
    with_third = np.column_stack([probabilities, np.zeros(4)])
    half, whole = judge_abstention(with_third, truth, np.arange(4), coverages=[0.5, 1.0]).at
    assert (half.uar, half.kept) == (None, (1.0, 0.0, None))
    assert whole.uar.value == 0.5


def test_what_is_found_is_plain_data():
    judged = judge_abstention(*people(speakers=5))
    assert json.loads(json.dumps(asdict(judged), allow_nan=False))["aurc"]["reason"] == "fewer than 10 speakers (5)"
    assert len(judged.curve) == 50
    assert judged.curve[-1][0] == 1.0


def test_the_threshold_answers_the_most_clips_within_the_risk():
    case = clips_of([0.9, 0.8, 0.8, 0.7, 0.6], [True, True, False, True, False])
    # Risks down to each confidence: 0, 1/3, 1/4, 2/5.
    assert [threshold_for(*case, risk) for risk in (0.0, 0.2, 0.25, 0.3, 0.4, 1.0)] == [0.9, 0.9, 0.7, 0.7, 0.6, 0.6]


def test_there_is_no_threshold_where_the_surest_clip_is_wrong():
    assert threshold_for(*clips_of([0.9, 0.8], [False, True]), 0.4) is None


@given(some_clips, st.sampled_from([0.0, 0.1, 1 / 3, 0.5]))
def test_the_threshold_keeps_its_word_on_dev(clips, risk):
    confidence, right = map(np.array, zip(*clips, strict=True))
    found = threshold_for(*clips_of(confidence, right), risk)
    risks = {level: 1 - right[confidence >= level].mean() for level in confidence}
    allowed = [level for level, value in risks.items() if value <= risk + 1e-9]
    assert found == (min(allowed) if allowed else None)


def test_impossible_thresholds_are_refused():
    with pytest.raises(UserError, match=r"risk=1\.5 is not a share"):
        threshold_for(*clips_of([0.9], [True]), 1.5)
    with pytest.raises(UserError, match="no dev clip"):
        threshold_for(np.empty((0, 2)), np.empty(0, int), 0.1)


def test_many_clips_have_the_interval_of_all_their_levels(monkeypatch):
    """Above 50,000 clips replicates use levels of confidence; the ends stay the same to five digits."""
    random = np.random.default_rng(3)
    clips, speakers = 30_000, 25
    confidence = np.round(random.uniform(0.5, 1, clips), 5)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    speaker = random.integers(speakers, size=clips)
    truth = (random.random(clips) > confidence * (0.8 + 0.2 * speaker / speakers)).astype(int)
    exact = judge_abstention(probabilities, truth, speaker).aurc
    monkeypatch.setattr(abstention, "_MOST_CLIPS", 10_000)
    monkeypatch.setattr(abstention, "_MOST_LEVELS", 2_000)
    merged = judge_abstention(probabilities, truth, speaker).aurc
    assert merged.value == exact.value
    assert (merged.low, merged.high) == pytest.approx((exact.low, exact.high), abs=1e-5)
    assert (merged.low, merged.high) != (exact.low, exact.high)
    monkeypatch.setattr(abstention, "_MOST_CELLS", 0)
    assert asdict(judge_abstention(probabilities, truth, speaker).aurc) == pytest.approx(asdict(merged), abs=1e-12)


def as_written(clips: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two digits whose highest are 0.9 or 0.8, and the truth."""
    random = np.random.default_rng(0)
    top = np.where(np.arange(clips) % 2, 90, 80)
    second = random.integers(0, 101 - top)
    rows = np.stack([top, second, 100 - top - second], axis=1) / 100
    shift = random.integers(3, size=clips)
    return np.array([np.roll(row, by) for row, by in zip(rows, shift, strict=True)]), random.integers(3, size=clips)


def test_confidences_that_were_written_alike_are_ties_after_normalising():
    written, truth = as_written()
    # What a table of probabilities becomes: logarithms, floored, and their softmax.
    read = at_temperature(np.log(np.maximum(written, 1e-12)), 1.0)
    assert len(np.unique(read.max(axis=1))) > 2
    np.testing.assert_allclose(risk_coverage(read, truth)[1], risk_coverage(written, truth)[1])
    speaker = np.arange(len(truth)) % 12
    found, expected = (
        judge_abstention(each, truth, speaker, resampling=Resampling(replicates=200)) for each in (read, written)
    )
    assert found.aurc.value == pytest.approx(expected.aurc.value)
    assert (found.aurc.low, found.aurc.high) == pytest.approx((expected.aurc.low, expected.aurc.high))
    for one, other in zip(found.at, expected.at, strict=True):
        assert one.accuracy.value == pytest.approx(other.accuracy.value)
    for risk in (0.6, 0.7, 0.8):
        one, other = (threshold_for(each, truth, risk) for each in (read, written))
        assert (one is None) == (other is None)
        if one is not None:
            assert (read.max(axis=1) >= one).sum() == (written.max(axis=1) >= other).sum()


def test_confidences_that_were_written_alike_share_a_bin():
    written, truth = as_written()
    read = at_temperature(np.log(np.maximum(written, 1e-12)), 1.0)
    assert ece(read, truth) == pytest.approx(ece(written, truth))
    assert decompose(read, truth).reliability == pytest.approx(decompose(written, truth).reliability)
