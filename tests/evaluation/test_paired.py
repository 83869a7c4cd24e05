from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from tests.evaluation.conftest import counts_of

from serlab.evaluation.metrics import confusion
from serlab.evaluation.paired import as_family, compare
from serlab.evaluation.resampling import Resampling


def pair_of(speakers: int, apart: int):
    random = np.random.default_rng(0)
    base = random.integers(30, 60, speakers)
    found = []
    for hits in (base + apart, base + random.integers(-2, 3, speakers)):
        matrices = np.zeros((1, speakers, 2, 2), int)
        matrices[0, :, 0, 0], matrices[0, :, 0, 1], matrices[0, :, 1, 1] = hits, 100 - hits, 50
        found.append(counts_of(matrices))
    return found


@pytest.mark.parametrize(("apart", "answer"), [(20, "better"), (-20, "worse"), (0, "equivalent")])
def test_the_answer_and_all_that_it_rests_on(apart, answer):
    found = compare(*pair_of(30, apart))
    assert found.answer == answer
    assert (found.p < 0.05) == (answer != "equivalent")
    assert found.mcnemar.obuchowski_p == pytest.approx(found.mcnemar.durkalski_p, abs=0.05)
    assert found.speakers_needed >= 10


@pytest.mark.parametrize(("speakers", "known"), [(8, True), (30, False)])
def test_without_an_interval_nothing_is_claimed(speakers, known):
    found = compare(*pair_of(speakers, 20), resampling=Resampling(known=known))
    assert found.differences["uar"].value == pytest.approx(0.1, abs=0.02)
    assert (found.answer, found.p, found.mcnemar, found.speakers_needed) == ("not shown", None, None, None)


def equal_models(number: int, speakers: int = 30, clips: int = 12, seed: int = 0):
    """Counts of models that are equally good on all speakers, each wrong in its own way."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    truth = np.tile(np.arange(clips) % 3, speakers)
    found = []
    for _ in range(number):
        right = random.random(len(truth)) < 0.6
        guess = np.where(right, truth, random.integers(0, 3, len(truth)))
        found.append(counts_of(confusion(truth, guess, 3, group=speaker, groups=speakers)[None]))
    return found


def test_p_is_below_five_per_cent_exactly_where_the_interval_excludes_zero():
    fast = Resampling(replicates=500)
    for seed in range(60):
        uar = compare(*equal_models(2, speakers=12, seed=seed), resampling=fast).differences["uar"]
        assert (uar.p < 0.05) == (uar.low > 0 or uar.high < 0)


def test_five_equal_models_are_seldom_called_different():
    fast = Resampling(replicates=500)
    alone = together = 0
    for seed in range(60):
        models = equal_models(5, seed=seed)
        pairs = as_family([compare(one, other, resampling=fast) for one, other in combinations(models, 2)])
        alone += any(pair.answer_alone in ("better", "worse") for pair in pairs)
        together += any(pair.answer in ("better", "worse") for pair in pairs)
        assert all(pair.p_holm >= pair.p and pair.family == 10 for pair in pairs)
    assert alone > 8
    assert together <= 6  # 5 % of 60 are 3; more than 6 has a probability of 3 %


def test_scatter_between_trainings_is_part_of_p_and_planning():
    """Three seeds that scatter by far more than the speakers do: the answer, p and the plan agree."""
    matrices = np.zeros((2, 3, 40, 2, 2), int)
    for place, shift in enumerate((-20, 0, 20)):
        hits = np.stack([60 + shift + np.arange(40) % 3, np.full(40, 50)])
        matrices[:, place, :, 0, 0], matrices[:, place, :, 0, 1] = hits, 100 - hits
        matrices[:, place, :, 1, 1] = 100
    found = compare(*(counts_of(each) for each in matrices))
    assert found.answer == "not shown"
    assert found.p_swap < 0.001 < 0.05 < found.p
    assert found.seeds_needed > 3


def test_a_pair_that_cannot_be_compared_is_not_part_of_the_family():
    near, none = compare(*pair_of(30, 1)), compare(*pair_of(8, 20))
    first, second, third, fourth = as_family([near, none, None, near])
    assert (second, third) == (replace(none, family=2), None)
    assert first == fourth
    assert first.p_holm == pytest.approx(min(1, 2 * near.p))


def test_equivalence_is_adjusted_too():
    pair = compare(*pair_of(30, 0))
    assert pair.answer == "equivalent"
    crowd = as_family([replace(pair, p_equivalent=0.02)] * 3)
    assert {each.answer for each in crowd} == {"not shown"}
    assert {each.answer_alone for each in crowd} == {"equivalent"}
