"""Populations of speakers: experiments recover the parameters of their population."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks.coverage import plain_mcnemar, simulate
from benchmarks.population import Population, counts_of, fit
from scipy.special import ndtr
from scipy.stats import binomtest

from serlab.evaluation.metrics import uar

LABELS = ("angry", "fear", "sad")
SHARES = {"speaker": 0.1, "label": 0.15, "recipe": 0.05, "both": 0.1, "clip": 0.25}


@pytest.fixture(scope="module")
def population() -> Population:
    levels = np.array([[0.8, 0.3, 0.5], [0.4, -0.2, 0.1]])
    return Population(levels=levels, clips=np.array([14, 12, 14]), **SHARES)


def as_table(right: np.ndarray, clips: np.ndarray) -> pd.DataFrame:
    speakers = len(right)
    label = np.tile(np.repeat(np.arange(len(clips)), clips), speakers)
    guess = np.where(right.ravel(), label, (label + 1) % len(clips))
    table = pd.DataFrame(
        {
            "clip": np.arange(right.size).astype(str),
            "speaker": np.repeat(np.arange(speakers), right.shape[1]).astype(str),
            "label": np.array(LABELS)[label],
        }
    )
    return table.assign(**{f"logit_{name}": (guess == place).astype(float) for place, name in enumerate(LABELS)})


def test_true_recalls_are_the_normal_probabilities_of_the_levels(population: Population) -> None:
    right = population.draw(4000, np.random.default_rng(0))
    of_label = np.repeat(np.arange(3), population.clips)
    found = np.array([[each[:, of_label == label].mean() for label in range(3)] for each in right])
    np.testing.assert_allclose(found, ndtr(population.levels), atol=0.015)


def test_the_shares_are_found_again_in_tables_drawn_from_them(population: Population) -> None:
    right = population.draw(3000, np.random.default_rng(1))
    found = fit([as_table(each, population.clips) for each in right], LABELS)
    for name, share in SHARES.items():
        assert getattr(found, name) == pytest.approx(share, abs=0.03), name
    np.testing.assert_allclose(found.levels, population.levels, atol=0.05)
    np.testing.assert_array_equal(found.clips, population.clips)


def test_outcomes_hold_every_clip_and_every_hit(population: Population) -> None:
    right = population.draw(5, np.random.default_rng(2))[0]
    counts = counts_of(right, population.clips).matrices[0]
    np.testing.assert_array_equal(counts.sum(axis=2), np.tile(population.clips, (5, 1)))
    assert np.trace(counts.sum(axis=0)) == right.sum()
    assert 0 < float(np.mean(uar(counts))) < 1


def test_plain_mcnemar_is_nearly_the_binomial_test() -> None:
    assert plain_mcnemar(40, 60) == pytest.approx(binomtest(40, 100).pvalue, abs=0.02)
    assert plain_mcnemar(0, 0) == 1.0


def test_a_bootstrap_over_clips_is_too_confident_and_one_over_speakers_is_not(population: Population) -> None:
    found = simulate(population, 30, range(60))
    assert found["coverage"]["clips"] < 0.85 < found["coverage"]["speakers"]
    assert found["false_alarms"]["mcnemar"] > found["false_alarms"]["swap"]
    assert set(found["difference"]) == {"speakers", "percentile", "clips", "folds"}
