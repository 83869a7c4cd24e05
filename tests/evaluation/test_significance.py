from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import Difference, differences
from serlab.evaluation.metrics import METRICS, uar
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.significance import (
    answer_of,
    clustered_mcnemar,
    holm,
    mcnemar,
    p_equivalent,
    swap_test,
    within,
)

# Obuchowski 1998, table of 21 patients: glands that only PET, and only SPECT, called right, and all
# glands.
PET_ONLY = np.eye(21)[8]
SPECT_ONLY = np.array([2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0])
BOTH = np.array([0, 2, 3, 1, 2, 4, 3, 2, 1, 1, 2, 2, 3, 2, 0, 2, 2, 2, 2, 1, 2])
NEITHER = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0])


def pair_of(speakers: int, seed: int, apart: float = 0.0, seeds: int = 1):
    """Two recipes on ten clips of each of three labels a speaker."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(2):
        skill = np.clip(0.5 + place * apart + random.normal(0, 0.15, (seeds, speakers, 3)), 0, 1)
        hits = random.binomial(10, skill)
        matrices = np.zeros((seeds, speakers, 3, 3), int)
        for label in range(3):
            matrices[..., label, label] = hits[..., label]
            matrices[..., label, (label + 1) % 3] = 10 - hits[..., label]
        found.append(counts_of(matrices))
    return found


@pytest.mark.parametrize("metric", [METRICS["uar"], METRICS["macro_f1"]])
def test_the_exact_swap_test_equals_trying_every_swap(metric):
    first, second = pair_of(8, seed=3, apart=0.1)
    one, other = first.matrices[0], second.matrices[0]
    score = metric.score
    real = abs(score(one.sum(axis=0)) - score(other.sum(axis=0)))
    extreme = []
    for swaps in product((False, True), repeat=8):
        chosen = np.array(swaps)[:, None, None]
        a, b = np.where(chosen, other, one), np.where(chosen, one, other)
        extreme.append(abs(score(a.sum(axis=0)) - score(b.sum(axis=0))) >= real - 1e-12)
    assert swap_test(first, second, metric) == pytest.approx(np.mean(extreme), abs=1e-12)


def test_equals_scipy_on_the_means_of_equal_speakers():
    first, second = pair_of(11, seed=5, apart=0.08)
    means = [uar(each.matrices[0]) for each in (first, second)]
    theirs = permutation_test(
        means, lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True
    )
    assert swap_test(first, second) == pytest.approx(theirs.pvalue, abs=1e-9)


def test_many_speakers_are_sampled_near_the_exact_p():
    first, second = pair_of(20, seed=2, apart=0.05)
    exact = swap_test(first, second)
    doubled = [counts_of(np.concatenate([each.matrices, 0 * each.matrices[:, :2]], axis=1)) for each in (first, second)]
    assert swap_test(*doubled, permutations=20_000) == pytest.approx(exact, abs=0.01)


def test_sampled_p_is_never_nought():
    first, second = pair_of(30, seed=0, apart=0.4)
    assert swap_test(first, second, permutations=99) == pytest.approx(1 / 100)


def test_all_seeds_of_a_recipe_are_swapped_together():
    first, second = pair_of(9, seed=1, apart=0.1)
    thrice = [counts_of(np.repeat(each.matrices, 3, axis=0)) for each in (first, second)]
    assert swap_test(*thrice) == pytest.approx(swap_test(first, second))


@given(st.integers(0, 50))
@settings(max_examples=15)
def test_the_order_of_two_recipes_does_not_matter(seed):
    first, second = pair_of(8, seed, apart=0.05)
    assert swap_test(first, second) == swap_test(second, first)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_no_more_false_alarms_than_promised():
    alarms = {"swap": 0, "obuchowski": 0, "durkalski": 0}
    for trial in range(400):
        pair = pair_of(14, seed=trial)
        found = mcnemar(*pair)
        alarms["swap"] += swap_test(*pair) <= 0.05
        alarms["obuchowski"] += found.obuchowski_p <= 0.05
        alarms["durkalski"] += found.durkalski_p <= 0.05
    for count in alarms.values():
        assert 0.01 <= count / 400 <= 0.085


def test_obuchowskis_published_example():
    found = clustered_mcnemar(PET_ONLY - SPECT_ONLY, BOTH + PET_ONLY + SPECT_ONLY + NEITHER)
    assert found.obuchowski == pytest.approx(2.8571, abs=5e-5)
    assert found.obuchowski_p == pytest.approx(0.09097, abs=5e-6)


def test_mcnemar_is_read_off_the_matrices():
    first, second = pair_of(12, seed=4, apart=0.1)
    hits = [each.matrices[0].trace(axis1=1, axis2=2) for each in (first, second)]
    assert mcnemar(first, second) == clustered_mcnemar((hits[0] - hits[1]).astype(float), np.full(12, 30))


def test_two_recipes_that_are_right_on_the_same_clips():
    first, _ = pair_of(12, seed=4)
    assert mcnemar(first, first).obuchowski_p == 1.0
    assert swap_test(first, first) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("p", "beyond", "value", "answer"),
    [
        (0.01, 0.3, 0.03, "better"),
        (0.01, 0.3, -0.03, "worse"),
        (0.01, 0.01, 0.009, "better"),
        (0.3, 0.01, 0.002, "equivalent"),
        (0.3, 0.3, 0.01, "not shown"),
        (None, None, 0.3, "not shown"),
    ],
)
def test_what_p_lets_one_say(p, beyond, value, answer):
    assert answer_of(p, beyond, value) == answer


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.005, 0.02, 0.1]))
@settings(max_examples=40, deadline=None)
def test_equivalence_has_a_small_p_exactly_if_the_inner_interval_lies_within_the_margin(seed, margin):
    pair = pair_of(12, seed)
    found = differences(*pair, resampling=Resampling(replicates=200))["uar"]
    assert (p_equivalent(found, margin) < 0.05) == within(found, margin)


def test_without_an_interval_there_is_no_p():
    alone = Difference(0.1, None, None, "fewer than 10 speakers (4)")
    assert p_equivalent(alone) is None
    assert not within(alone)
