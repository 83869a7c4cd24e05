"""Coverage of intervals when each recipe is trained several times with varying results."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm

from benchmarks.population import Population, counts_of
from serlab.core.progress import bar
from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.resampling import Resampling

REPLICATES = 1000


@dataclass(frozen=True)
class Setting:
    """The size of an experiment, and the variation of training runs.

    Attributes:
        speakers: number of speakers.
        folds: number of test folds.
        seeds: number of training runs per recipe and fold.
        points: standard deviation of a fold's UAR over training runs, in points.
    """

    speakers: int
    folds: int
    seeds: int
    points: int


SETTINGS = tuple(
    Setting(speakers, folds, seeds, points)
    for points, seeds, (speakers, folds) in product((1, 2, 3), (2, 3), ((20, 1), (50, 1), (91, 5)))
)


def with_trainings(population: Population, setting: Setting, trials: range, seed: int = 0) -> dict[str, Any]:
    """Count how often intervals contain the true value, and how often they show a false difference.

    Args:
        population: source of the experiments.
        setting: their size.
        trials: experiments to draw, by number.
        seed: of the experiments.

    Returns:
        ``trials``, their number; ``coverage`` of the recipe's UAR over all training runs, and ``false_alarms`` between
        two equal recipes; each by ``both`` (speakers and seeds) and ``speakers`` (treating these training runs as
        fixed).
    """
    same = replace(population, levels=np.stack([population.levels[0]] * 2))
    scatter = setting.points / 100 / float(norm.pdf(same.levels[0]).mean())
    truth = float(ndtr(same.levels[0] / np.sqrt(1 + scatter**2)).mean())
    counted: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in ("coverage", "false_alarms")}
    with bar(f"{setting.speakers} speakers, {setting.seeds} seeds, {setting.points} points", len(trials)) as done:
        for trial in trials:
            random = np.random.default_rng([seed, setting.speakers, setting.seeds, setting.points, trial])
            right = same.draw_trainings(
                setting.speakers, random, seeds=setting.seeds, folds=setting.folds, scatter=scatter
            )
            for name, pair in _pairs(right, population.clips, setting.folds).items():
                one = intervals(pair[0], resampling=Resampling(replicates=REPLICATES, seed=trial))["uar"]
                apart = differences(*pair, resampling=Resampling(replicates=REPLICATES, seed=trial))["uar"]
                counted["coverage"][name].append(_holds(truth, one.low, one.high))
                counted["false_alarms"][name].append(not _holds(0.0, apart.low, apart.high))
            done.advance()
    shares = {what: {name: float(np.mean(hits)) for name, hits in methods.items()} for what, methods in counted.items()}
    return {"trials": len(trials), **shares}


def _pairs(
    right: NDArray[np.bool_], clips: NDArray[np.int64], folds: int
) -> dict[str, tuple[SpeakerCounts, SpeakerCounts]]:
    """Return both recipes' counts by seed and with pooled seeds; UAR is linear in the counts, so it is the same."""
    first, second = (counts_of(right[:, recipe], clips, folds) for recipe in range(2))
    return {"both": (first, second), "speakers": (_merged(first), _merged(second))}


def _merged(counts: SpeakerCounts) -> SpeakerCounts:
    return replace(counts, seeds=(0,), matrices=counts.matrices.sum(axis=0, keepdims=True))


def _holds(value: float, low: float | None, high: float | None) -> bool:
    assert low is not None
    assert high is not None
    return low <= value <= high
