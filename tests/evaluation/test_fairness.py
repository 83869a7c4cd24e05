"""Groups are scored by their own speakers, gaps are held against what chance makes of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from math import comb

import numpy as np
import pytest
from sklearn.metrics import recall_score

from serlab.evaluation.fairness import age_bands, judge_groups
from serlab.evaluation.metrics import recall, uar
from serlab.evaluation.resampling import Resampling

LABELS = ("angry", "happy", "sad")


def matrices_of(skill, clips: int = 10, seeds: int = 1, seed: int = 0):
    """Counts of shape (seeds, speakers, 3, 3): each speaker is understood with the probability of its skill."""
    random = np.random.default_rng(seed)
    skill = np.asarray(skill, float)
    hits = random.binomial(clips, np.broadcast_to(skill[None, :, None], (seeds, len(skill), 3)))
    matrices = np.zeros((seeds, len(skill), 3, 3), np.int64)
    for label in range(3):
        matrices[:, :, label, label] = hits[..., label]
        matrices[:, :, label, (label + 1) % 3] = clips - hits[..., label]
    return matrices


def named(groups: str):
    """Speakers and their groups, one letter a speaker."""
    speakers = [f"s{place:02d}" for place in range(len(groups))]
    return speakers, dict(zip(speakers, groups, strict=True))


def judge(matrices, groups: str, **how):
    return judge_groups(
        matrices,
        *named(groups),
        labels=LABELS,
        **{"resampling": Resampling(replicates=200), "permutations": 500, **how},
    )


def test_a_groups_uar_is_that_of_its_rows():
    matrices = matrices_of(np.linspace(0.3, 0.9, 24))
    found = judge(matrices, "ab" * 12)
    for place, group in enumerate(found.groups):
        pooled = matrices[0, place::2].sum(axis=0)
        truth, guess = (np.repeat(axis.ravel(), pooled.ravel()) for axis in np.indices((3, 3)))
        assert group.uar.value == pytest.approx(recall_score(truth, guess, average="macro"))
        assert list(group.recalls.values()) == pytest.approx(recall_score(truth, guess, average=None))
    first, second = (group.uar.value for group in found.groups)
    assert found.gap.value == pytest.approx(abs(first - second))
    assert (found.gap.best, found.gap.worst) == (("a", "b") if first > second else ("b", "a"))
    for label, gap in found.label_gaps.items():
        assert gap.value == pytest.approx(abs(found.groups[0].recalls[label] - found.groups[1].recalls[label]))


def test_the_interval_is_over_the_groups_own_speakers():
    matrices = matrices_of(np.linspace(0.3, 0.9, 22), seeds=2)
    found = judge(matrices, "a" * 12 + "b" * 10).groups[0].uar

    def brute(weights):
        return np.array([uar((matrices[:, :12] * each[None, :, None, None]).sum(axis=1)).mean() for each in weights])

    wanted = Resampling(replicates=200).interval(brute(np.ones((1, 12)))[0], brute, 12)
    assert asdict(found) == pytest.approx(asdict(wanted), abs=1e-12)


def test_p_is_that_of_all_ways_to_name_the_speakers():
    # Of 22 speakers 18 are alike; where the other four land decides the gap.
    skill = np.array([1.0, 1.0, 1.0, *[0.5] * 9, 0.0, *[0.5] * 9])
    matrices = np.zeros((1, 22, 3, 3), np.int64)
    for label in range(3):
        matrices[0, :, label, label] = 10 * skill
        matrices[0, :, label, (label + 1) % 3] = 10 - 10 * skill
    found = judge(matrices, "a" * 12 + "b" * 10, permutations=20_000).gap
    assert found.value == pytest.approx(1.5 / 12 + 0.5 / 10)
    apart = skill[[0, 1, 2, 12]] - 0.5
    exact = 0.0
    for sides in itertools.product([True, False], repeat=4):
        first = np.array(sides)
        gap = abs(apart[first].sum() / 12 - apart[~first].sum() / 10)
        exact += comb(18, 12 - sum(sides)) / comb(22, 12) * (gap >= found.value - 1e-12)
    assert 0.05 < exact < 0.3
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_gaps_equal_a_loop_over_permutations():
    matrices = matrices_of(np.linspace(0.4, 0.8, 33), seeds=2)
    groups = "abc" * 11
    found = judge(matrices, groups, permutations=99, resampling=Resampling(replicates=200, seed=5))
    place = np.array(["abc".index(group) for group in groups])
    orders = np.random.default_rng(5).permuted(np.tile(place, (99, 1)), axis=1)

    def gaps(order):
        recalls = np.array([recall(matrices[:, order == group].sum(axis=1)).mean(axis=0) for group in range(3)])
        return [np.ptp(recalls.mean(axis=1)), *np.ptp(recalls, axis=0)]

    actual, chance = np.array(gaps(place)), np.array([gaps(order) for order in orders])
    for place, gap in enumerate([found.gap, *found.label_gaps.values()]):
        assert gap.value == pytest.approx(actual[place])
        assert gap.p == (1 + (chance[:, place] >= actual[place] - 1e-12).sum()) / 100
        assert (gap.null_median, gap.null_high) == pytest.approx(tuple(np.quantile(chance[:, place], (0.5, 0.95))))


def test_the_test_keeps_its_level_where_groups_do_not_matter():
    random = np.random.default_rng(0)
    p = [
        judge(
            matrices_of(random.uniform(0.2, 0.9, 24), seed=trial),
            "a" * 10 + "b" * 14,
            permutations=199,
            resampling=Resampling(replicates=5),
        )
        for trial in range(300)
    ]
    p = np.array([found.gap.p for found in p])
    # Of 300 trials at 5 %, 99.9 % have a share up to 0.093.
    assert (p <= 0.05).mean() < 0.093
    assert 0.4 < p.mean() < 0.6


def test_a_gap_that_is_there_is_seen():
    found = judge(matrices_of([0.8] * 12 + [0.5] * 12), "a" * 12 + "b" * 12)
    assert found.gap.p == 1 / 501
    assert found.gap.value > found.gap.null_high > found.gap.null_median > 0
    assert (found.gap.best, found.gap.worst) == ("a", "b")
    assert all(gap.best == "a" for gap in found.label_gaps.values())


def test_small_groups_get_no_number_and_take_no_part():
    matrices = matrices_of([0.6] * 22 + [0.0] * 9)
    found = judge(matrices, "a" * 11 + "b" * 11 + "c" * 9)
    small = found.groups[2]
    assert (small.uar, small.reason, set(small.recalls.values())) == (None, "too few (9 speakers)", {None})
    assert found.gap == judge(matrices[:, :22], "a" * 11 + "b" * 11).gap


def test_one_group_has_no_gap():
    found = judge(matrices_of([0.6] * 15), "a" * 11 + "b" * 4)
    assert (found.gap, found.label_gaps) == (None, dict.fromkeys(LABELS))
    assert "fewer than two groups of at least 10 speakers" in found.reason


def test_a_group_that_lacks_a_label_is_not_set_beside_the_others():
    matrices = matrices_of([0.6] * 33)
    matrices[:, 22:, 2] = 0
    found = judge(matrices, "a" * 11 + "b" * 11 + "c" * 11)
    assert (found.groups[2].uar, found.groups[2].reason) == (None, "no clips of sad")
    assert found.groups[2].recalls["sad"] is None
    assert found.groups[2].recalls["angry"] == pytest.approx(recall(matrices[:, 22:].sum(axis=1))[0, 0])
    assert found.gap == judge(matrices[:, :22], "a" * 11 + "b" * 11).gap


def test_a_label_that_nobody_says_leaves_the_mean():
    matrices = matrices_of([0.6] * 22)
    matrices[:, :, 2] = 0
    found = judge(matrices, "ab" * 11)
    assert found.label_gaps["sad"] is None
    assert found.groups[0].uar.value == pytest.approx(uar(matrices[0, ::2].sum(axis=0)))
    assert found.groups[0].uar.low is not None
    assert found.gap.value == pytest.approx(abs(found.groups[0].uar.value - found.groups[1].uar.value))


def test_permutations_without_a_label_speak_against_the_claim():
    # Only two speakers, one of each group, say sad: half of the permutations leave a group without
    # it.
    matrices = matrices_of([0.6] * 20)
    matrices[:, [*range(1, 10), *range(11, 20)], 2] = 0
    matrices[:, 0, 2], matrices[:, 10, 2] = (0, 0, 10), (10, 0, 0)
    found = judge(matrices, "a" * 10 + "b" * 10)
    assert found.label_gaps["sad"].value == 1.0
    assert found.label_gaps["sad"].p == 1.0


def test_speakers_without_the_attribute_are_counted_not_guessed():
    speakers, groups = named("a" * 11 + "b" * 11 + "c" * 4)
    groups |= {"s22": None, "s23": "", "s24": float("nan")}
    del groups["s25"]
    found = judge_groups(
        matrices_of([0.6] * 26), speakers, groups, labels=LABELS, permutations=50, resampling=Resampling(replicates=50)
    )
    assert ([group.name for group in found.groups], found.unknown) == (["a", "b"], 4)


def test_what_is_found_is_plain_data():
    found = judge(matrices_of([0.6] * 24), "a" * 11 + "b" * 11 + "c" * 2)
    data = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert [group["speakers"] for group in data["groups"]] == [11, 11, 2]


def test_ages_have_bands():
    assert age_bands([19, 20, 29.9, 30, 49, 50, 60, 74]) == [
        *("under 20", "20-29", "20-29", "30-39", "40-49", "50-59", "60+", "60+")
    ]
