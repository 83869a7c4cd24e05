"""Prediction sets hold the true label as often as they say, for speakers who had no part in making them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import UserError
from serlab.evaluation.conformal import fewest_speakers, judge_sets, nonconformity, sets, threshold
from serlab.evaluation.resampling import Resampling


def dev_and_test(random: np.random.Generator, speakers: int):
    """Scores of dev speakers and of one new speaker; the harder a speaker, the fewer clips."""
    hardness = random.normal(size=speakers + 1)
    clips = np.where(hardness > 0, 5, 50)
    speaker = np.repeat(np.arange(speakers + 1), clips)
    scores = hardness[speaker] + 0.3 * random.normal(size=len(speaker))
    new = speaker == speakers
    return scores[~new], speaker[~new], scores[new]


def coverage_of_new_speakers(speakers: int, level: float, trials: int = 3000):
    """How often a new speaker's clips are covered, hierarchically and pooled; one speaker a trial."""
    random = np.random.default_rng(0)
    covered = np.empty((trials, 2))
    for trial in range(trials):
        scores, speaker, new = dev_and_test(random, speakers)
        thresholds = threshold(scores, speaker, level), threshold(scores, None, level)
        covered[trial] = [(new <= each).mean() for each in thresholds]
    return covered.mean(axis=0)


def test_the_hierarchical_threshold_by_hand():
    # Four speakers: weights in units of 1/5 are 1/2 on the first speaker's clips, 1 on each
    # other's.
    scores = np.array([0.1, 0.9, 0.2, 0.4, 0.6])
    speaker = np.array([0, 0, 1, 2, 3])
    # Reached from the least score on: 0.5, 1.5, 2.5, 3.5, 4 of 5.
    assert threshold(scores, speaker, 0.1) == 0.1
    assert threshold(scores, speaker, 0.3) == 0.2
    assert threshold(scores, speaker, 0.5) == 0.4
    assert threshold(scores, speaker, 0.7) == 0.6
    assert threshold(scores, speaker, 0.8) == 0.9
    assert threshold(scores, speaker, 0.81) is None


@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_pooled_is_the_split_conformal_quantile(clips, level):
    scores = np.random.default_rng(clips).random(clips)
    rank = int(np.ceil((clips + 1) * level - 1e-9))
    assert threshold(scores, None, level) == (np.sort(scores)[rank - 1] if rank <= clips else None)


@given(st.integers(1, 30), st.integers(1, 5), st.sampled_from([0.8, 0.9, 0.95]))
def test_a_level_is_attained_where_a_new_speaker_weighs_no_more_than_the_rest(speakers, clips, level):
    scores = np.random.default_rng(speakers).random(speakers * clips)
    found = threshold(scores, np.repeat(np.arange(speakers), clips), level)
    assert (found is not None) == (1 / (speakers + 1) <= 1 - level + 1e-12)
    assert (found is not None) == (speakers >= fewest_speakers(level))


def test_copies_of_a_speakers_clips_change_nothing():
    random = np.random.default_rng(0)
    scores, speaker = random.random(60), np.arange(60) % 12
    twice = speaker == 3
    more = np.concatenate([scores, scores[twice]]), np.concatenate([speaker, speaker[twice]])
    assert threshold(*more, 0.8) == threshold(scores, speaker, 0.8)


@pytest.mark.parametrize(("speakers", "level"), [(9, 0.8), (19, 0.9)])
def test_new_speakers_are_covered_by_hierarchical_sets_where_pooled_ones_fall_short(speakers, level):
    hierarchical, pooled = coverage_of_new_speakers(speakers, level)
    assert level - 0.02 < hierarchical < level + 1 / speakers
    assert pooled < level - 0.05


def test_clips_that_are_independent_are_covered_by_both():
    random = np.random.default_rng(1)
    covered = []
    for _ in range(2000):
        scores, new = random.random(60), random.random(20)
        thresholds = threshold(scores, np.arange(60) % 12, 0.8), threshold(scores, None, 0.8)
        covered.append([(new <= each).mean() for each in thresholds])
    by_speakers, by_clips = np.mean(covered, axis=0)
    assert by_clips == pytest.approx(0.8, abs=0.03)
    # The new speaker's own weight, on infinity, is what few speakers cost.
    assert 0.8 <= by_speakers <= 0.8 + 1 / 13


def test_a_clip_is_covered_exactly_where_its_score_reaches_the_threshold():
    random = np.random.default_rng(2)
    probabilities, truth = random.dirichlet(np.ones(6), 300), random.integers(0, 6, 300)
    scores = nonconformity(probabilities, truth)
    limit = threshold(scores, np.arange(300) % 30, 0.9)
    held = sets(probabilities, limit)
    assert held[np.arange(300), truth].tolist() == (scores <= limit).tolist()
    assert held.sum() == sum((1 - p) <= limit for p in probabilities.ravel())


def test_what_is_said_of_sets_by_hand():
    held = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
    truth, speaker = np.array([0, 2, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    found = judge_sets(held, truth, speaker)
    assert found.speakers == pytest.approx((1 / 3, 1.0))
    assert found.by_speaker.value == pytest.approx(2 / 3)
    assert found.by_clip.value == pytest.approx(3 / 5)
    assert (found.mean_size, found.empty, found.single) == pytest.approx((7 / 5, 1 / 5, 2 / 5))
    assert found.quartiles == pytest.approx((1 / 3, 1 / 2, 2 / 3, 5 / 6, 1))
    assert found.by_clip.reason == "fewer than 10 speakers (2)"


def test_intervals_of_coverage_lie_around_it_and_are_plain_data():
    random = np.random.default_rng(3)
    held, truth = random.random((400, 4)) < 0.7, random.integers(0, 4, 400)
    found = judge_sets(held, truth, np.arange(400) % 20)
    for each in (found.by_speaker, found.by_clip):
        assert 0.6 < each.low < each.value < each.high < 0.8
    # With as many clips a speaker both means are one.
    assert asdict(found.by_speaker) == pytest.approx(asdict(found.by_clip))
    assert len(json.loads(json.dumps(asdict(found), allow_nan=False))["speakers"]) == 20
    assert judge_sets(held, truth, np.arange(400) % 20, resampling=Resampling(known=False)).by_clip.low is None


def test_impossible_levels_and_broken_scores_are_refused():
    with pytest.raises(UserError, match="between 0 and 1, not 90"):
        threshold(np.zeros(3), None, 90)
    with pytest.raises(UserError, match="not finite"):
        threshold(np.array([0.1, np.nan]), None, 0.5)


def test_a_probability_that_is_the_thresholds_but_for_rounding_is_in_the_set():
    limit = threshold(1 - np.full(30, 0.1), None, 0.8)
    assert sets(np.array([[0.1 - 1e-15, 0.9 + 1e-15]]), limit).all()
