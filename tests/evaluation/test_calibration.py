"""Calibration figures equal scikit-learn's where it has them, and hand-made ones where nobody does."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from serlab.core import UserError
from serlab.evaluation.calibration import (
    TEMPERATURES,
    at_temperature,
    brier,
    decompose,
    ece,
    fit_temperature,
    judge_calibration,
    nll,
    rms_error,
)
from serlab.evaluation.resampling import Resampling

seeds = st.integers(0, 10_000)


def clips_of(seed: int, clips: int = 400, classes: int = 4, sharpness: float = 2.0):
    """Probabilities and true labels of clips that the logits, at temperature 1, tell the truth about."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(clips, classes))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < random.random((clips, 1))).sum(axis=1).clip(max=classes - 1)
    return logits, truth


def two_bins(right_of_low: int, right_of_high: int):
    """20 clips of confidence 0.6 and 20 of 0.9; the first so many of each are right."""
    probabilities = np.repeat([[0.6, 0.4], [0.9, 0.1]], 20, axis=0)
    right = np.concatenate([np.arange(20) < right_of_low, np.arange(20) < right_of_high])
    return probabilities, np.where(right, 0, 1)


def speakers_off_by(gap: float, seed: int, speakers: int = 40, clips: int = 30):
    """Clips whose accuracy lies ``gap`` below their confidence on average, and differs between speakers."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    confidence = random.uniform(0.45, 0.85, len(speaker))
    chance = confidence - gap + random.uniform(-0.1, 0.1, speakers)[speaker]
    probabilities = np.column_stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2])
    return probabilities, np.where(random.random(len(speaker)) < chance, 0, 1), speaker


def ready_made(classes: int) -> LogisticRegression:
    """A classifier whose logits are its input."""
    classifier = LogisticRegression()
    classifier.classes_, classifier.n_features_in_ = np.arange(classes), classes
    classifier.coef_, classifier.intercept_ = np.eye(classes), np.zeros(classes)
    return classifier


@pytest.mark.parametrize("wrong_by", [0.2, 1.0, 5.0])
def test_the_temperature_is_the_one_that_scikit_learn_finds(wrong_by):
    logits, truth = clips_of(seed=3)
    logits = logits * wrong_by
    theirs = CalibratedClassifierCV(FrozenEstimator(ready_made(4)), method="temperature").fit(logits, truth)
    temperature = fit_temperature(logits, truth)
    np.testing.assert_allclose(at_temperature(logits, temperature), theirs.predict_proba(logits), atol=1e-5)
    assert temperature == pytest.approx(wrong_by, rel=0.2)


def test_no_temperature_near_the_one_found_is_better():
    logits, truth = clips_of(seed=4, sharpness=5)
    found = fit_temperature(logits, truth)
    best = nll(at_temperature(logits, found), truth)
    assert all(nll(at_temperature(logits, found * factor), truth) > best for factor in (0.98, 1.02))


def test_temperatures_of_degenerate_dev_sides_are_sane():
    truth = np.array([0, 1, 2] * 5)
    perfect = np.eye(3)[truth]
    assert fit_temperature(perfect, truth) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(perfect, (truth + 1) % 3) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(np.full((15, 3), 7.0), truth) == 1.0
    assert fit_temperature(1e4 * perfect, truth) == 1.0


def test_dev_sides_without_clips_or_with_broken_logits_are_refused():
    with pytest.raises(UserError, match="no dev clip"):
        fit_temperature(np.empty((0, 3)), np.empty(0, int))
    with pytest.raises(UserError, match="not finite"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))


@given(seeds)
@settings(max_examples=25)
def test_scores_equal_scikit_learn(seed):
    logits, truth = clips_of(seed, clips=60)
    probabilities = softmax(logits, axis=1)
    labels = [0, 1, 2, 3]
    assert nll(probabilities, truth) == pytest.approx(log_loss(truth, probabilities, labels=labels), abs=1e-12)
    theirs = brier_score_loss(truth, probabilities, labels=labels, scale_by_half=False)
    assert brier(probabilities, truth) == pytest.approx(theirs, abs=1e-12)


def test_a_true_label_of_probability_nought_costs_a_finite_amount():
    assert nll(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(12 * np.log(10))


def test_the_reliability_diagram_is_scikit_learns_calibration_curve():
    logits, truth = clips_of(seed=5, clips=1001)
    probabilities = softmax(logits, axis=1)
    right = probabilities.argmax(axis=1) == truth
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15, strategy="quantile")
    judged = judge_calibration(probabilities, truth, np.arange(1001) % 20, resampling=Resampling(replicates=200))
    points = judged.reliability
    np.testing.assert_allclose([point.confidence for point in points], confidence, atol=1e-12)
    np.testing.assert_allclose([point.accuracy.value for point in points], accuracy, atol=1e-12)
    clips = np.array([point.clips for point in points])
    assert clips.sum() == 1001
    assert ece(probabilities, truth) == pytest.approx(clips @ np.abs(accuracy - confidence) / 1001, abs=1e-12)
    assert all(point.accuracy.low <= point.accuracy.value <= point.accuracy.high for point in points)


def test_errors_of_two_bins_by_hand():
    probabilities, truth = two_bins(2, 18)
    assert ece(probabilities, truth) == pytest.approx((0.5 + 0.0) / 2)
    # Kumar, Liang and Ma 2019: each squared gap less y (1 - y) / (20 - 1), where y is the bin's
    # accuracy.
    assert rms_error(probabilities, truth) == pytest.approx(np.sqrt(0.5 * (0.25 - 0.09 / 19) + 0.5 * (0 - 0.09 / 19)))
    assert rms_error(*two_bins(11, 18)) == 0.0
    alike = np.tile(np.arange(20) % 2, 2)
    assert rms_error(probabilities, truth, alike) == pytest.approx(np.sqrt(0.5 * 0.25))


def test_noise_that_speakers_share_is_taken_away_too():
    probabilities, truth = two_bins(2, 18)
    halves = np.tile(np.arange(20) // 10, 2)
    # Gaps of the low bin add up to 4 and 6 for the two speakers, of the high one to -1 and 1: both
    # bins have the variance 2 / 1 x (1^2 + 1^2) / 20^2.
    assert rms_error(probabilities, truth, halves) == pytest.approx(np.sqrt(0.5 * (0.25 - 0.01) + 0.5 * (0 - 0.01)))


def test_a_calibrated_model_is_told_so_by_the_debiased_error_alone():
    cases = [clips_of(seed, clips=600) for seed in range(100)]
    cases = [(softmax(logits, axis=1), truth) for logits, truth in cases]
    debiased = np.array([rms_error(*case) for case in cases])
    assert 0.3 < (debiased == 0).mean() < 0.7
    assert min(ece(*case) for case in cases) > 0.02


def test_the_debiased_error_is_right_on_average():
    squares = [rms_error(p, truth, speaker) ** 2 for p, truth, speaker in (speakers_off_by(0.15, s) for s in range(60))]
    assert np.mean(squares) == pytest.approx(0.15**2, rel=0.06)


@given(seeds, st.integers(1, 130))
@settings(max_examples=25)
def test_the_decomposition_adds_up_to_the_score(seed, clips):
    logits, truth = clips_of(seed, clips)
    probabilities = softmax(logits, axis=1).round(1) + 1e-3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    parts = decompose(probabilities, truth)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.remainder
    assert total == pytest.approx(brier(probabilities, truth), abs=1e-12)
    assert parts.reliability >= 0
    assert -1e-12 <= parts.resolution <= parts.uncertainty + 1e-12


def test_the_decomposition_by_hand():
    parts = decompose(*two_bins(12, 18))
    # Two mirror-image labels: each has the bins 0.6 and 0.9, right 12 and 18 times of 20.
    assert parts.reliability == pytest.approx(0, abs=1e-12)
    assert parts.resolution == pytest.approx(2 * 0.15**2)
    assert parts.uncertainty == pytest.approx(2 * 0.75 * 0.25)
    assert parts.remainder == pytest.approx(0, abs=1e-12)


def test_the_remainder_is_what_happens_within_bins():
    probabilities, truth = (np.array([[p, 1 - p] for p in np.linspace(0.5, 0.9, 30)]), np.arange(30) % 3 // 2)
    spread = probabilities - probabilities.mean(axis=0)
    hits = np.eye(2)[truth] - np.eye(2)[truth].mean(axis=0)
    wanted = (spread**2).mean(axis=0).sum() - 2 * (spread * hits).mean(axis=0).sum()
    assert decompose(probabilities, truth).remainder == pytest.approx(wanted, abs=1e-12)


@given(seeds)
@settings(max_examples=10)
def test_neither_the_order_of_clips_nor_ties_matter(seed):
    logits, truth = clips_of(seed, clips=150)
    probabilities = softmax(logits, axis=1).round(1) + 0.01
    speaker = np.arange(150) % 12
    order = np.random.default_rng(seed).permutation(150)
    one = judge_calibration(probabilities, truth, speaker, resampling=Resampling(replicates=50))
    other = judge_calibration(probabilities[order], truth[order], speaker[order], resampling=Resampling(replicates=50))
    for name in ("overconfidence", "rms_error", "brier", "nll"):
        here, there = asdict(getattr(one, name)), asdict(getattr(other, name))
        assert here.pop("reason") == there.pop("reason") == ""
        assert here == pytest.approx(there, abs=1e-7)
    assert one.ece == pytest.approx(other.ece, abs=1e-12)


def test_intervals_equal_resampling_of_rows():
    probabilities, truth, speaker = speakers_off_by(0.1, seed=1, speakers=12, clips=20)
    judged = judge_calibration(probabilities, truth, speaker, resampling=Resampling(replicates=300))

    def brute(score):
        def of_replicates(weights):
            rows = (np.repeat(np.arange(len(truth)), each.astype(int)[speaker]) for each in weights)
            return np.array([score(probabilities[row], truth[row]) for row in rows])

        return Resampling(replicates=300).interval(score(probabilities, truth), of_replicates, 12)

    for found, score in ((judged.brier, brier), (judged.nll, nll)):
        assert asdict(found) == pytest.approx(asdict(brute(score)), abs=1e-12)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    inside = np.zeros(2)
    for trial in range(120):
        judged = judge_calibration(*speakers_off_by(0.1, trial), resampling=Resampling(replicates=400))
        inside += [each.low <= 0.1 <= each.high for each in (judged.overconfidence, judged.rms_error)]
    assert (inside / 120 > 0.88).all()
    assert (inside / 120 < 1).all()


def test_the_interval_of_a_calibrated_model_reaches_nought():
    judged = [
        judge_calibration(*speakers_off_by(0.0, trial), resampling=Resampling(replicates=400)) for trial in range(20)
    ]
    assert sum(each.rms_error.low == 0 for each in judged) >= 17
    assert sum(each.overconfidence.low <= 0 <= each.overconfidence.high for each in judged) >= 16


def test_the_statement_follows_from_both_intervals():
    for trial in range(20):
        judged = judge_calibration(*speakers_off_by(0.1 * (trial % 2), trial), resampling=Resampling(replicates=200))
        over, rms = judged.overconfidence, judged.rms_error
        errs = over.low > 0 or over.high < 0 or rms.low > 0
        assert (judged.shown != "not shown") == errs
        if over.low > 0:
            assert judged.shown == "overconfident"


def test_no_interval_without_known_speakers():
    probabilities, truth, speaker = speakers_off_by(0.1, seed=0)
    judged = judge_calibration(probabilities, truth, 0 * speaker, resampling=Resampling(known=False))
    assert judged.rms_error.value == rms_error(probabilities, truth)
    assert judged.nll.value == nll(probabilities, truth)
    assert {each.reason for each in (judged.rms_error, judged.brier, judged.nll)} == {"the speakers are unknown"}
    assert {point.accuracy.low for point in judged.reliability} == {None}
    assert judged.shown is None


def test_few_clips_have_few_bins():
    probabilities, truth, speaker = speakers_off_by(0.1, seed=0, speakers=10, clips=10)
    judged = judge_calibration(probabilities, truth, speaker, resampling=Resampling(replicates=50))
    assert judged.bins == 5
    assert judge_calibration(probabilities[:15], truth[:15], np.zeros(15, int)).bins == 1
    assert json.loads(json.dumps(asdict(judged), allow_nan=False))["clips"] == 100
