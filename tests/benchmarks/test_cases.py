"""Hard populations: they are drawn as described, and their true values are right."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.cases import CASES, Case, measure, percentiles_alone
from benchmarks.population import Population, counts_of_clips

from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.metrics import METRICS
from serlab.evaluation.resampling import Resampling


@pytest.fixture(scope="module")
def fitted() -> Population:
    levels = np.array([[0.8, 0.3, 0.5], [0.4, -0.2, 0.1]])
    return Population(levels, np.array([6, 5, 6]), speaker=0.1, label=0.15, recipe=0.0, both=0.1, clip=0.25)


def design_of(case: Case, fitted: Population) -> tuple[np.ndarray, np.ndarray]:
    return case.design(fitted.clips[: case.labels], np.random.default_rng(0))


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_designs_are_as_described(fitted: Population) -> None:
    rare, _ = design_of(Case("rare", "", 50, labels=2, spoken_by=4), fitted)
    assert (rare[:, 0] > 0).all()
    assert np.count_nonzero(rare[:, 1]) == 4
    half, _ = design_of(Case("half", "", 20, labels=3, half=True), fitted)
    np.testing.assert_array_equal(half[0], half[1:].sum(axis=0))
    _, shift = design_of(Case("hardly", "", 4000, labels=3, hardly=0.07), fitted)
    assert np.mean(shift < 0) == pytest.approx(0.07, abs=0.02)
    sizes, shift = design_of(Case("ease", "", 4000, labels=3, ease=0.5), fitted)
    low, high = np.quantile(sizes[:, 0], (0.05, 0.95))
    assert high / low == pytest.approx(10, rel=0.35)
    assert np.corrcoef(sizes[:, 0], shift)[0, 1] > 0.8


@pytest.mark.parametrize(
    "case",
    [
        Case("balanced", "", 4000, labels=3),
        Case("hardly", "", 4000, labels=3, hardly=0.07),
        Case("ease", "", 4000, labels=3, ease=0.5),
        Case("ease", "", 4000, labels=3, ease=0.5, metric="uar_speakers"),
        Case("seeds", "", 4000, labels=3, seeds=3, folds=400),
    ],
    ids=lambda case: case.name,
)
def test_true_value_is_what_many_speakers_give(case: Case, fitted: Population) -> None:
    population = case.population(fitted)
    scatter = 0.5 if case.seeds > 1 else 0.0
    random = np.random.default_rng(1)
    design, shift = case.design(population.clips, random)
    right = population.draw_clips(design, random, seeds=case.seeds, folds=case.folds, scatter=scatter, shift=shift)
    found = counts_of_clips(right[:, 0], design, case.folds).scores(METRICS[case.metric]).mean()
    assert found == pytest.approx(case.truth(population.levels[0], scatter), abs=0.012)


def test_a_rare_label_needs_more_than_percentiles(fitted: Population) -> None:
    found = measure(Case("rare", "", 50, labels=2, spoken_by=4), fitted, range(150))
    assert found["trials"] == 150
    assert found["coverage"]["now"] > 0.92 > found["coverage"]["before"]
    assert found["false_alarms"]["now"] < found["false_alarms"]["before"]


def test_a_family_is_called_by_holm(fitted: Population) -> None:
    found = measure(Case("models", "", 20, labels=3, models=4), fitted, range(60))
    assert set(found) == {"trials", "without", "false_alarms"}
    assert found["false_alarms"]["now"] < 0.15 < found["false_alarms"]["before"]


def test_measuring_in_parts_is_measuring_at_once_and_leaves_other_scores(fitted: Population) -> None:
    case, scores = Case("parts", "", 12, labels=3), list(METRICS)
    both = measure(case, fitted, range(6))
    parts = [measure(case, fitted, range(start, start + 3)) for start in (0, 3)]
    for what in ("coverage", "false_alarms"):
        for when, share in both[what].items():
            assert share == pytest.approx(np.mean([part[what][when] for part in parts]))
    assert list(METRICS) == scores


def test_percentiles_alone_are_the_interval_of_a_balanced_population(fitted: Population) -> None:
    case = Case("balanced", "", 30, labels=3)
    population, random = case.population(fitted), np.random.default_rng(2)
    design, shift = case.design(population.clips, random)
    counts = counts_of_clips(population.draw_clips(design, random, shift=shift)[:, 0], design)
    found = intervals(counts, resampling=Resampling(replicates=2000))["uar"]
    assert percentiles_alone([counts], Resampling(replicates=2000)) == pytest.approx((found.low, found.high), abs=0.004)
