"""How much scores vary over folds and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import UAR, Metric, Scores
from serlab.evaluation.resampling import LEVEL


@dataclass(frozen=True)
class Spread:
    """Scores of parts, their mean and standard deviation.

    Attributes:
        values: each part's score.
        mean: mean of them.
        sd: their standard deviation (of S - 1), None for one part.
    """

    values: tuple[float, ...]
    mean: float
    sd: float | None


def over_seeds(counts: SpeakerCounts, metric: Metric = UAR) -> Spread:
    """Score each seed, pooled over folds: what training again changes, on the same clips."""
    return _spread(counts.scores(metric))


def over_folds(counts: SpeakerCounts, metric: Metric = UAR) -> Spread:
    """Each fold's score, averaged over the seeds that have the fold.

    Their mean is not the pooled score: every fold has the same weight, whatever its number of
    clips, and recalls are computed within the fold. Their spread mixes the difficulty of the fold's
    speakers with the training data. Folds share training clips, so Student's interval over folds is
    not valid (Nadeau and Bengio 2003).
    """
    return _spread(np.nanmean(metric.score(counts.of_folds(metric)), axis=0))


def student(spread: Spread) -> tuple[float, float] | None:
    """Student's interval over folds, which is often reported; for comparison only."""
    if spread.sd is None:
        return None
    parts = len(spread.values)
    half = -float(stdtrit(parts - 1, (1 - LEVEL) / 2)) * spread.sd / np.sqrt(parts)
    return spread.mean - half, spread.mean + half


def _spread(scores: Scores) -> Spread:
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return Spread(tuple(float(score) for score in scores), float(scores.mean()), sd)
