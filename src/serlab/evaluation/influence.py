"""What speakers and trainings contribute to a score's variance, and the degrees of freedom of both.

A score is linearised at the pooled confusion matrix: to first order, a speaker changes it by the
inner product of the speaker's matrix with the score's gradient. The sum of squares of these
influences is the cluster-robust variance. It is too small where few speakers carry a part of the
score, such as a label that three of fifty speakers spoke. Two corrections of the regression
literature make up for that: CR2 inflates each influence by its leverage (Bell and McCaffrey 2002,
Survey Methodology 28(2)), and Student's distribution gets the degrees of freedom that the variance
has if clips are independent and equally variable (Pustejovsky and Tipton 2018, Journal of Business
& Economic Statistics 36(4)). In a balanced design both are what they always were: S / (S - 1) and
S - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import UAR, Counts, Metric

_STEP = 1e-2  # clips; scores are smooth on the scale of one clip


@dataclass(frozen=True)
class StandardError:
    """How far a score would vary with other speakers.

    Attributes:
        error: by CR2.
        freedom: degrees of freedom of its square, by Satterthwaite's approximation.
    """

    error: float
    freedom: float


def influences(terms: Sequence[SpeakerCounts], metric: Metric = UAR) -> NDArray[np.float64]:
    """Each speaker's influence on a score, by true label.

    Args:
        terms: counts of one recipe, or of two whose difference is meant.
        metric: the score.

    Returns:
        Shape (speakers, K), means over seeds; for a metric whose statistics have no row per label,
        shape (speakers, 1). All of them sum to zero, and so does each label's column if the metric
        averages over labels.
    """
    means: NDArray[np.float64] = _of_seeds(terms, metric).mean(axis=0)
    return means


def standard_error(terms: Sequence[SpeakerCounts], metric: Metric = UAR) -> StandardError | None:
    """Standard error and degrees of freedom of a score, or of a difference, over speakers.

    A mean over seeds that judge different clips is a mean of scores of their own, so each seed's
    influences are inflated by the speakers' shares of its own clips.

    Args:
        terms: as for :func:`influences`; all terms judge the same clips under a seed.
        metric: the score.

    Returns:
        None if, under a seed, a label was spoken by one speaker alone (or all clips, if the metric
        averages over clips).
    """
    influence = _of_seeds(terms, metric)
    statistics = terms[0].of_speakers(metric) if influence.shape[2] > 1 else terms[0].by_speaker
    clips = statistics.sum(axis=-1).astype(np.float64)
    if metric.average == "clips" or influence.shape[2] == 1:
        influence, clips = influence.sum(axis=2, keepdims=True), clips.sum(axis=2, keepdims=True)
    if terms[0].seeds_comparable:
        influence, clips = influence.mean(axis=0, keepdims=True), clips[:1]
    has = clips.sum(axis=1) > 0
    # A label under a seed is a column of its own, with the weight that it has in the seed's mean over labels.
    weight = np.broadcast_to(1 / has.sum(axis=1, keepdims=True), has.shape)[has]
    influence, clips = (np.hstack(list(each))[:, has.ravel()] for each in (influence / len(influence), clips))
    total = clips.sum(axis=0)
    share = clips / total
    if (share == 1).any():
        return None
    inflation = 1 / np.sqrt(1 - share)
    error = np.sqrt(((influence * inflation).sum(axis=1) ** 2).sum())
    return StandardError(float(error), _freedom(clips, total, inflation * (weight / weight.max())))


def training_variances(term: SpeakerCounts, metric: Metric = UAR) -> NDArray[np.float64]:
    """The variance that each fold's trainings give to a score's mean over seeds, shape (folds,).

    It is that of the score of one seed's statistics in the fold and the means over seeds elsewhere,
    divided by the number of seeds. If seeds put clips into folds of their own, all folds count as
    one. It is zero if the seeds did not judge the same clips.

    Args:
        term: counts of one recipe.
        metric: the score.
    """
    if len(term.seeds) == 1 or not term.seeds_comparable:
        return np.zeros(1)
    by_fold = term.of_folds(metric) if term.same_folds else term.of_speakers(metric).sum(axis=1, keepdims=True)
    mean = by_fold.mean(axis=0)
    scores = metric.score(by_fold - mean + mean.sum(axis=0))
    variances: NDArray[np.float64] = scores.var(axis=0, ddof=1) / len(term.seeds)
    return variances


def freedom_together(of_speakers: StandardError, trainings: NDArray[np.float64], seeds: int) -> float:
    """Degrees of freedom of speakers and trainings together (Satterthwaite 1946).

    Args:
        of_speakers: standard error over speakers.
        trainings: from :func:`training_variances`, of all terms of a difference.
        seeds: trainings of a fold.
    """
    variance = of_speakers.error**2
    if not trainings.any():
        return of_speakers.freedom
    parts = variance**2 / of_speakers.freedom + np.sum(trainings**2) / (seeds - 1)
    return float((variance + trainings.sum()) ** 2 / parts)


def _of_seeds(terms: Sequence[SpeakerCounts], metric: Metric) -> NDArray[np.float64]:
    """:func:`influences` on each seed's score, shape (seeds, speakers, K)."""
    parts = []
    for term in terms:
        statistics = term.of_speakers(metric)
        slopes = _gradient(metric, statistics.sum(axis=1), len(term.labels))
        by_label = np.einsum("s...j,sc...j->sc...", slopes, statistics)
        parts.append(by_label.reshape(*statistics.shape[:2], -1))
    signed: NDArray[np.float64] = parts[0] if len(parts) == 1 else parts[0] - parts[1]
    return signed


def _freedom(clips: NDArray[np.float64], total: NDArray[np.float64], inflation: NDArray[np.float64]) -> float:
    """Degrees of freedom ``tr(C)^2 / tr(C^2)``, C the covariance of the inflated influences.

    Under the working model a cell of n clips has variance n, so that the cells of label k, less
    their expected share g of the label's sum, have covariance diag(n) - n g' - g n' + N g g', which
    is diag(n) - N g g' because n = N g. Scaled by a = inflation / N and summed over labels:
    C = diag(d) - U U' with the columns of U of rank K, which never needs S x S numbers.
    """
    scale = inflation / total
    diagonal = (scale**2 * clips).sum(axis=1)
    columns = scale * clips / np.sqrt(total)
    overlap = columns.T @ columns
    trace = diagonal.sum() - np.trace(overlap)
    squares = (diagonal**2).sum() - 2 * (diagonal[:, None] * columns**2).sum() + (overlap**2).sum()
    return float(trace**2 / squares)


def _gradient(metric: Metric, summed: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """Central differences of a score at summed statistics of shape (seeds, *S), of the same shape.

    Statistics that are zero for every speaker, as the row of a label without clips, have none.
    """
    used = summed.sum(axis=-1, keepdims=True) > 0
    smaller, at = metric.smaller, summed
    if smaller is None:
        units: Counts = np.eye(summed[0].size).reshape(-1, *summed.shape[1:])
    else:
        # Smaller statistics are linear in the matrix, so that they move by those of the step.
        units, at = _units(smaller.statistics, labels), smaller.statistics(summed).astype(np.float64)
    score = (smaller or metric).score
    moved, steps = at[:, np.newaxis], _STEP * units
    slopes = (score(moved + steps) - score(moved - steps)) / (2 * _STEP)
    gradient: NDArray[np.float64] = np.where(used, slopes.reshape(summed.shape), 0.0)
    return gradient


@lru_cache(maxsize=4)
def _units(statistics: Callable[[Counts], Counts], labels: int) -> Counts:
    """The statistics of a single clip in each cell of a confusion matrix, shape (K * K, *S)."""
    return statistics(np.eye(labels**2, dtype=np.int8).reshape(labels**2, labels, labels))
