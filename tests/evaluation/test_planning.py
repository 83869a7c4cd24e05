from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from tests.evaluation.conftest import counts_of

from serlab.evaluation.metrics import UAR, uar
from serlab.evaluation.planning import influences, speakers_needed


def pair_of(speakers: int, spread: float, seed: int = 0):
    random = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        hits = np.clip(np.round(50 + 100 * random.normal(0, spread, speakers)), 0, 100).astype(int)
        matrices = np.zeros((1, speakers, 2, 2), int)
        matrices[0, :, 0, 0], matrices[0, :, 0, 1], matrices[0, :, 1, 1] = hits, 100 - hits, 100
        found.append(counts_of(matrices))
    return found


def test_influences_of_equal_speakers_are_their_own_differences():
    first, second = pair_of(15, spread=0.1)
    own = uar(first.matrices[0]) - uar(second.matrices[0])
    assert influences(first, second) == pytest.approx(own, abs=1e-12)


def test_the_number_is_that_of_the_formula_for_normal_differences():
    pair = pair_of(200, spread=0.1)
    sd = influences(*pair).std(ddof=1)
    needed = ((norm.ppf(0.975) + norm.ppf(0.8)) * sd / 0.02) ** 2
    assert speakers_needed(*pair, 0.02) == pytest.approx(needed, rel=0.12)


def test_a_larger_difference_needs_fewer_speakers_and_a_hopeless_one_has_no_number():
    pair = pair_of(40, spread=0.15)
    assert speakers_needed(*pair, 0.05) < speakers_needed(*pair, 0.03)
    assert speakers_needed(*pair, 0.0005) is None
    assert speakers_needed(*pair, 0.5) == 10


def test_a_difference_larger_than_the_range_of_the_score_is_refused():
    pair = pair_of(40, spread=0.15)
    twice_as_wide = replace(UAR, range=(-1, 1))
    assert speakers_needed(*pair, 1.5, metric=twice_as_wide) == 10
    for points in (0, 1.5):
        with pytest.raises(ValueError, match="lies above 0 and is at most 1"):
            speakers_needed(*pair, points)
