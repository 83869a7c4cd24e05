import numpy as np
import pytest
from scipy.stats import t
from tests.evaluation.conftest import counts_of

from serlab.evaluation.metrics import uar
from serlab.evaluation.spread import over_folds, over_seeds, student


def counts(seeds: int, folds: int):
    return counts_of(np.random.default_rng(0).integers(1, 9, (seeds, 20, 3, 3)), folds)


def test_seeds_are_scored_apart():
    found = over_seeds(counts(3, 2))
    each = [float(uar(matrices.sum(axis=0))) for matrices in counts(3, 2).matrices]
    assert found.values == pytest.approx(each)
    assert found.sd == pytest.approx(np.std(each, ddof=1))
    assert over_seeds(counts(1, 2)).sd is None


def test_folds_are_scored_apart_and_averaged_over_seeds():
    found = over_folds(counts(2, 4))
    matrices = counts(2, 4).matrices.reshape(2, 4, 5, 3, 3).sum(axis=2)
    assert found.values == pytest.approx(uar(matrices).mean(axis=0))
    assert found.mean == pytest.approx(uar(matrices).mean())


def test_students_interval_equals_scipys():
    found = over_folds(counts(1, 5))
    theirs = t.interval(0.95, 4, found.mean, found.sd / np.sqrt(5))
    assert student(found) == pytest.approx(theirs)
    assert student(over_folds(counts(1, 1))) is None


def test_a_fold_is_averaged_over_the_seeds_that_have_it():
    matrices = counts(2, 2).matrices.copy()
    matrices[0, 10:] = 0
    found = over_folds(counts_of(matrices, 2))
    whole = uar(matrices.reshape(2, 2, 10, 3, 3).sum(axis=2))
    assert found.values == pytest.approx([whole[:, 0].mean(), whole[1, 1]])
