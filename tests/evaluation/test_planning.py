from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import differences
from serlab.evaluation.influence import standard_error
from serlab.evaluation.metrics import UAR
from serlab.evaluation.planning import Plan, plan
from serlab.evaluation.resampling import Resampling


def pair_of(speakers: int, spread: float, seed: int = 0, trainings: tuple[float, ...] = (0.0,), ahead: float = 0.0):
    """Two recipes that differ by speaker and by training; the first is ahead by ``ahead`` points of UAR."""
    random = np.random.default_rng(seed)
    found = []
    for lead in (ahead, 0):
        own = 50 + 100 * random.normal(0, spread, speakers)
        matrices = np.zeros((len(trainings), speakers, 2, 2), int)
        for matrix, shift in zip(matrices, trainings, strict=True):
            hits = np.clip(np.round(own + 2 * lead + 2 * shift), 0, 100).astype(int)
            matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1] = hits, 100 - hits, 100
        found.append(counts_of(matrices))
    return found


def test_the_number_is_that_of_the_formula_for_normal_differences():
    pair = pair_of(200, spread=0.1)
    error = standard_error(pair).error
    needed = ((norm.ppf(0.975) + norm.ppf(0.8)) * error / 0.02) ** 2 * 200
    found = plan(*pair, 0.02)
    assert found.speakers == pytest.approx(needed, rel=0.05)
    assert found.seeds is None


def test_its_interval_holds_the_truth_about_as_often_as_it_says():
    truth = plan(*pair_of(20_000, spread=0.1), 0.02).speakers
    found = [plan(*pair_of(20, spread=0.1, seed=seed), 0.02) for seed in range(400)]
    assert np.mean([each.low <= truth <= each.high for each in found]) == pytest.approx(0.8, abs=0.05)
    assert np.median([each.speakers for each in found]) == pytest.approx(truth, rel=0.1)


def test_so_many_speakers_show_the_difference_four_times_in_five():
    needed = plan(*pair_of(2000, spread=0.1), 0.03).speakers
    shown = [
        differences(*pair_of(needed, 0.1, seed, ahead=3), resampling=Resampling(replicates=400))["uar"].low > 0
        for seed in range(300)
    ]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)


def test_a_larger_difference_needs_fewer_speakers_and_a_hopeless_one_has_no_number():
    pair = pair_of(40, spread=0.15)
    assert plan(*pair, 0.05).speakers < plan(*pair, 0.03).speakers
    assert plan(*pair, 0.0005) == Plan(None, None, None, None)
    assert plan(*pair, 0.5).speakers == 10


def test_scatter_of_trainings_that_hides_the_difference_asks_for_seeds():
    steady = plan(*pair_of(40, 0.1, trainings=(-0.1, 0, 0.1)), 0.02)
    assert steady.seeds == 3
    wild = plan(*pair_of(40, 0.1, trainings=(-4.0, 0, 4.0)), 0.02)
    assert wild.seeds > 50
    # Half of the variance is left to the speakers, so about twice as many are needed.
    assert wild.speakers == pytest.approx(2 * plan(*pair_of(40, 0.1), 0.02).speakers, rel=0.1)


def test_a_difference_larger_than_the_range_of_the_score_is_refused():
    pair = pair_of(40, spread=0.15)
    twice_as_wide = replace(UAR, range=(-1, 1))
    assert plan(*pair, 1.5, metric=twice_as_wide).speakers == 10
    for points in (0, 1.5):
        with pytest.raises(ValueError, match="lies above 0 and is at most 1"):
            plan(*pair, points)
