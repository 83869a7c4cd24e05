import numpy as np
import pytest
from tests.evaluation.conftest import counts_of

from serlab.evaluation.paired import adjusted, compare
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


def test_p_is_adjusted_over_the_pairs_that_have_one():
    assert adjusted([0.02, None, 0.03, None]) == [pytest.approx(0.04), None, pytest.approx(0.04), None]
