"""Which populations a reader is warned of, and the mean over speakers beside the pooled score."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import standard_error
from serlab.evaluation.metrics import METRICS, UAR_SPEAKERS, recall
from serlab.evaluation.population import cautions
from serlab.evaluation.resampling import Resampling

FAST = Resampling(replicates=400)


def population(clips: np.ndarray, skill: np.ndarray, seed: int = 0) -> SpeakerCounts:
    """Counts for clips by speaker and label, each right with its speaker's probability."""
    random = np.random.default_rng(seed)
    hits = random.binomial(clips, skill[:, np.newaxis])
    labels = clips.shape[1]
    matrices = np.zeros((1, *clips.shape, labels), int)
    for label in range(labels):
        matrices[0, :, label, label] = hits[:, label]
        matrices[0, :, label, (label + 1) % labels] = clips[:, label] - hits[:, label]
    return counts_of(matrices)


def codes(counts: SpeakerCounts) -> list[str]:
    return [caution.code for caution in cautions(counts)]


def test_a_balanced_population_is_not_warned_of():
    assert codes(population(np.full((30, 3), 10), np.linspace(0.4, 0.9, 30))) == []


def test_a_label_of_few_speakers_is_named_and_still_has_an_honest_interval():
    clips = np.full((50, 2), 20)
    clips[3:, 1] = 0
    counts = population(clips, np.full(50, 0.6))
    (caution,) = cautions(counts)
    assert caution.code == "rare-label"
    assert "Few of the 50 speakers spoke b (3)." in caution.text
    assert "held the true value in 93 %" in caution.meaning
    found = intervals(counts, resampling=FAST)["uar"]
    assert found.high - found.low > 0.1


@pytest.mark.parametrize("few", [2, 3])
def test_the_interval_of_a_rare_label_holds_the_truth(few):
    clips = np.full((30, 2), 10)
    clips[few:, 1] = 0
    inside = []
    for seed in range(150):
        skill = np.clip(np.random.default_rng(seed).normal(0.6, 0.15, 30), 0, 1)
        found = intervals(population(clips, skill, seed), resampling=FAST)["uar"]
        inside.append(found.low <= 0.6 <= found.high)
    assert np.mean(inside) > 0.91


def test_a_label_that_one_speaker_alone_spoke_has_no_interval():
    clips = np.full((30, 2), 10)
    clips[1:, 1] = 0
    found = intervals(population(clips, np.full(30, 0.6)), resampling=FAST)["uar"]
    assert (found.low, found.reason) == (None, "a label is spoken by one speaker alone")


def test_a_speaker_with_much_of_the_clips_is_named():
    clips = np.full((20, 2), 10)
    clips[7] = 190
    (caution,) = cautions(population(clips, np.full(20, 0.6)))
    assert caution.code == "large-speaker"
    assert "s007 alone has 50 % of the clips" in caution.text


def test_size_that_goes_with_ease_is_named_with_both_scores():
    size = np.linspace(4, 60, 40).astype(int)
    counts = population(np.stack([size, size], axis=1), np.linspace(0.2, 0.95, 40))
    (caution,) = cautions(counts)
    assert caution.code == "size-and-ease"
    pooled, alike = (100 * counts.scores(METRICS[key])[0] for key in ("uar", "uar_speakers"))
    assert pooled > alike + 5
    assert f"{pooled:.1f} % over clips and {alike:.1f} % with all speakers counted alike" in caution.text
    assert codes(population(np.stack([size, size], axis=1), np.full(40, 0.6))) == []


def test_the_mean_over_speakers_counts_each_speaker_alike():
    clips = np.array([[2, 4], [10, 0], [6, 6]] * 5)
    counts = population(clips, np.linspace(0.3, 0.9, 15))
    of_speakers = recall(counts.by_speaker[0])
    assert counts.scores(UAR_SPEAKERS)[0] == pytest.approx(np.nanmean(np.nanmean(of_speakers, axis=0)), abs=1e-12)


def test_its_standard_error_is_that_of_a_mean_over_speakers():
    counts = population(np.full((25, 2), 12), np.linspace(0.3, 0.9, 25))
    found = standard_error([counts], UAR_SPEAKERS)
    own = recall(counts.by_speaker[0]).mean(axis=1)
    assert found.error == pytest.approx(own.std(ddof=1) / 5, rel=1e-6)
    assert found.freedom == pytest.approx(24)


def test_its_interval_holds_the_truth_where_size_goes_with_ease():
    size = np.linspace(4, 40, 20).astype(int)
    inside = []
    for seed in range(150):
        random = np.random.default_rng(seed)
        drawn = size[random.integers(20, size=20)]
        skill = np.clip(0.3 + drawn / 100 + random.normal(0, 0.1, 20), 0, 1)
        counts = population(np.stack([drawn, drawn], axis=1), skill, seed)
        truth = 0.3 + size.mean() / 100
        found = intervals(counts, resampling=FAST)["uar_speakers"]
        inside.append(found.low <= truth <= found.high)
    assert np.mean(inside) > 0.9


def test_below_ten_but_not_below_six_nothing_is_said_to_fall_short():
    clips = np.full((50, 2), 20)
    clips[6:, 1] = 0
    (caution,) = cautions(population(clips, np.full(50, 0.6)))
    assert (caution.code, caution.meaning) == ("rare-label", "")


def test_speakers_far_from_the_others_are_named():
    skill = np.full(20, 0.8)
    skill[[3, 11]] = 0.1
    (caution,) = cautions(population(np.full((20, 3), 10), skill))
    assert caution.code == "far-speakers"
    assert re.match(r"2 of the 20 speakers are recognised far worse or better .*: s003 \(\d+ %\), s011", caution.text)
    assert "held the true value in 89 %" in caution.meaning


def test_a_fifth_far_speaker_is_counted_and_not_named():
    skill = np.full(50, 0.8)
    skill[:5] = 0.05
    (caution,) = cautions(population(np.full((50, 3), 10), skill))
    assert caution.text.endswith("and 2 more.")
    assert "s003" not in caution.text


def test_speakers_who_are_all_alike_but_for_chance_are_not_called_far():
    """With equal or normally varying speakers and ten clips of each label, hardly one table in a hundred is named."""
    random = np.random.default_rng(0)
    named = 0
    for seed in range(100):
        skill = np.clip(random.normal(0.7, 0.08, 20), 0, 1)
        named += "far-speakers" in codes(population(np.full((20, 6), 10), skill, seed))
    assert named <= 1
    # Perfect but for one clip: the quartiles do not differ at all.
    clips = np.full((20, 3), 10)
    almost = population(clips, np.full(20, 1.0))
    matrices = almost.matrices.copy()
    matrices[0, 0, 0, :2] = 9, 1
    assert codes(replace(almost, matrices=matrices)) == []


def seeds_of(skills: list[float], folds: int = 1) -> SpeakerCounts:
    """Seeds of one recipe that differ in skill by fold, on equal speakers."""
    of_seeds = [population(np.full((50, 3), 10), np.full(50, skill), seed) for seed, skill in enumerate(skills)]
    return counts_of(np.concatenate([each.matrices for each in of_seeds]), folds)


@pytest.mark.parametrize("skills", [[0.5, 0.6], [0.5, 0.6, 0.55]])
def test_two_or_three_seeds_that_scatter_in_one_fold_are_named(skills):
    (caution,) = cautions(seeds_of(skills))
    assert caution.code == "training-scatter"
    assert f"The {len(skills)} seeds vary by" in caution.text
    assert "in 90 % of experiments with two seeds, and in 93 % with three" in caution.meaning


def test_seeds_that_agree_or_are_many_or_have_several_folds_are_not_named():
    assert codes(seeds_of([0.6, 0.6])) == []
    assert codes(seeds_of([0.5, 0.6, 0.55, 0.52, 0.58])) == []
    assert codes(seeds_of([0.5, 0.6], folds=5)) == []


def seed_by_fold(clips: np.ndarray, seeds: int = 4) -> SpeakerCounts:
    """Each seed judges the clips of its own fold, as where a table's seeds are called like its folds."""
    whole = population(clips, np.full(len(clips), 0.6))
    matrices = np.zeros((seeds, *whole.matrices.shape[1:]), int)
    for seed, speakers in enumerate(np.array_split(np.arange(len(clips)), seeds)):
        matrices[seed, speakers] = whole.matrices[0, speakers]
    return counts_of(matrices, seeds)


def test_seeds_that_judge_different_clips_share_one_population():
    counts = seed_by_fold(np.full((24, 3), 10))
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        assert codes(replace(counts, matrices=counts.matrices[order])) == []
    clips = np.full((24, 3), 10)
    clips[20] = 160
    (caution,) = cautions(seed_by_fold(clips))
    assert "s020 alone has 41 % of the clips" in caution.text


def test_a_label_of_few_speakers_is_named_whatever_the_seeds_judge():
    clips = np.full((24, 2), 20)
    clips[8:, 1] = 0
    matrices = seed_by_fold(clips, 2).matrices
    for order in ([0, 1], [1, 0]):
        found = {caution.code: caution.text for caution in cautions(counts_of(matrices[order]))}
        assert "Few of the 24 speakers spoke b (8)." in found["rare-label"]
