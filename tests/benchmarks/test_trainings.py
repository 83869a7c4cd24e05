"""Several training runs of a recipe share speakers and clips, and vary as requested."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.population import Population, counts_of
from benchmarks.trainings import Setting, with_trainings

from serlab.evaluation.metrics import uar


@pytest.fixture(scope="module")
def population() -> Population:
    levels = np.array([[0.8, 0.3, 0.5], [0.4, -0.2, 0.1]])
    return Population(levels, np.array([14, 12, 14]), speaker=0.1, label=0.15, recipe=0.05, both=0.1, clip=0.25)


def test_a_training_moves_all_speakers_of_a_fold_and_no_other(population: Population) -> None:
    right = population.draw_trainings(800, np.random.default_rng(0), seeds=2, folds=2, scatter=0.6)
    apart = right[0, 0].mean(axis=1) - right[1, 0].mean(axis=1)
    halves = [apart[:400], apart[400:]]
    assert abs(halves[0].mean() - halves[1].mean()) > 4 * max(half.std() / 20 for half in halves)


def test_outcomes_keep_seeds_and_folds(population: Population) -> None:
    right = population.draw_trainings(7, np.random.default_rng(1), seeds=3, folds=2, scatter=0.1)[:, 0]
    counts = counts_of(right, population.clips, 2)
    assert counts.matrices.shape[:2] == (3, 7)
    assert counts.folds == (1, 2)
    hits = counts.by_seed.diagonal(axis1=1, axis2=2).sum(axis=1)
    np.testing.assert_array_equal(hits, right.sum(axis=(1, 2)))
    assert len(set(uar(counts.by_seed))) == 3


def test_treating_two_trainings_as_fixed_is_too_confident(population: Population) -> None:
    found = with_trainings(population, Setting(30, 1, 2, 5), range(80))
    assert found["false_alarms"]["speakers"] > 0.2 > found["false_alarms"]["both"]
    assert found["coverage"]["both"] > found["coverage"]["speakers"]
