"""Intervals of every metric, over speakers and over training again: the bootstrap on summed statistics.

A replicate is a weighted sum of the speakers' statistics (confusion matrices), which makes ten
thousand of them one matrix product. With several seeds a score is the mean over seeds of each
seed's pooled score.

Several seeds are a second level: within a fold, one training makes the predictions of all its
speakers. Two or three trainings are too few to take percentiles from, so the variance that drawing
them again would give (with the missing S / (S - 1)) is added in closed form, and the ends lie as
many standard errors away as Student's t does at the degrees of freedom of both levels together
(Satterthwaite 1946, Biometrics Bulletin 2(6)). One seed says nothing about training again; then the
interval speaks of the trained models at hand.

A replicate in which a label lost all its clips would average over fewer labels than the estimate
does: it is left out. What is left is too narrow where few speakers spoke a label, so percentiles only
give the interval its shape; its length is at least that of a standard error whose degrees of freedom
count these speakers (:mod:`serlab.evaluation.influence`). A label that one speaker alone spoke
under a seed leaves no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import StandardError, freedom_together, standard_error, training_variances
from serlab.evaluation.metrics import METRICS, Counts, Metric, Scores
from serlab.evaluation.resampling import (
    LEVEL,
    STANDARD,
    Floats,
    Interval,
    Resampling,
    expanded_percentiles,
)

EQUIVALENCE_LEVEL = 0.90
LEAST_COMPLETE = 0.5
"""The least share of replicates with clips of all labels: their percentiles only give the interval its shape."""


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference with its interval.

    Attributes:
        inner_low: lower end of the 90 % interval, which decides equivalence; None if there is no
            interval.
        inner_high: upper end.
        p: two-sided p of zero, by inverting the 95 % interval; None if there is no interval.
        freedom: degrees of freedom of the intervals, of speakers and trainings together.
    """

    inner_low: float | None = None
    inner_high: float | None = None
    p: float | None = None
    freedom: float | None = None


def intervals(
    counts: SpeakerCounts, *, metrics: Mapping[str, Metric] = METRICS, resampling: Resampling = STANDARD
) -> dict[str, Interval]:
    """Score one recipe, with intervals over speakers, and over seeds if there are several.

    Args:
        counts: its confusion counts.
        metrics: the scores, by key.
        resampling: how speakers are resampled.

    Returns:
        An interval per key of ``metrics``.
    """
    values, samples, reason = _sample([counts], metrics, resampling)
    if reason:
        return {key: Interval(value, None, None, reason) for key, value in values.items()}
    return {key: Interval(value, *samples[key].ends(LEVEL)) for key, value in values.items()}


def differences(
    first: SpeakerCounts,
    second: SpeakerCounts,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    level: float = LEVEL,
    resampling: Resampling = STANDARD,
) -> dict[str, Difference]:
    """Score the difference ``first - second`` of two recipes on the same clips, with the same speakers drawn for both.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels; their folds may differ.
        metrics: the scores, by key.
        level: of the intervals; higher than 95 % for several that must hold together.
        resampling: how speakers are resampled.

    Returns:
        A difference per key of ``metrics``.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    check_paired(first, second)
    values, samples, reason = _sample([first, second], metrics, resampling)
    if reason:
        return {key: Difference(value, None, None, reason) for key, value in values.items()}
    return {
        key: Difference(
            value,
            *sample.ends(level),
            "",
            *sample.ends(EQUIVALENCE_LEVEL),
            p=sample.p(),
            freedom=sample.freedom,
        )
        for key, value in values.items()
        for sample in (samples[key],)
    }


def check_paired(first: SpeakerCounts, second: SpeakerCounts) -> None:
    """Refuse two recipes that were not judged on the same clips.

    Raises:
        ValueError: speakers, seeds or the number of clips of a label differ.
    """
    one, other = first.by_speaker.sum(axis=-1), second.by_speaker.sum(axis=-1)
    if first.speakers != second.speakers or one.shape != other.shape or (one != other).any():
        raise ValueError("a paired difference needs the same clips on both sides")


@dataclass(frozen=True)
class _Sample:
    """A score, or a difference of two, resampled.

    Attributes:
        value: the estimate.
        least: the least value that it can take.
        most: the greatest.
        replicates: over speakers, shape (replicates,).
        speakers: number of speakers.
        over_speakers: standard error over speakers, and its degrees of freedom.
        trainings: the variance that each fold's trainings give to the estimate, shape (folds of all
            terms,).
        seeds: trainings of a fold.
    """

    value: float
    least: float
    most: float
    replicates: Scores
    speakers: int
    over_speakers: StandardError
    trainings: Scores
    seeds: int

    def ends(self, level: float) -> tuple[float, float]:
        """The interval's ends, within the range of the score."""
        below, above = self._distances(level)
        return max(self.least, self.value - below), min(self.most, self.value + above)

    def p(self) -> float:
        """Two-sided p of zero, by inverting the 95 % interval: below .05 exactly if it excludes zero."""
        below, above = self._distances(LEVEL)
        side = below if self.value > 0 else above
        if self.value == 0 or side == 0:
            return float(self.value == 0)
        return float(2 * stdtr(self.freedom, -abs(self.value) / side * self._quantile(LEVEL)))

    def _distances(self, level: float) -> tuple[float, float]:
        """How far the ends lie from the estimate.

        The percentiles give the sides their shape, and CR2 with Student's quantile a length that they must reach.
        Both are expressed as standard errors, to which the variance of the trainings is added.
        """
        low, high = expanded_percentiles(self.replicates, self.speakers, level)
        alone = -stdtrit(self.speakers - 1, (1 - level) / 2)
        balanced = alone * np.sqrt(self.speakers / (self.speakers - 1)) * self.replicates.std()
        quantile = -stdtrit(self.over_speakers.freedom, (1 - level) / 2)
        widening = max(1.0, quantile * self.over_speakers.error / balanced) if balanced else 1.0
        of_training = self.trainings.sum()
        below, above = (
            float(self._quantile(level) * np.hypot(max(0.0, side) * widening / quantile, np.sqrt(of_training)))
            for side in (self.value - low, high - self.value)
        )
        return below, above

    def _quantile(self, level: float) -> float:
        return float(-stdtrit(self.freedom, (1 - level) / 2))

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom of both levels together."""
        return freedom_together(self.over_speakers, self.trainings, self.seeds)


def _sample(
    terms: Sequence[SpeakerCounts], metrics: Mapping[str, Metric], resampling: Resampling
) -> tuple[dict[str, float], dict[str, _Sample], str]:
    """The first term's scores, less the second's if there is one; the same resampled; why they could not be."""
    values = {key: float(_signed([term.scores(metric) for term in terms])) for key, metric in metrics.items()}
    speakers = len(terms[0].speakers)
    reason = resampling.reason_against(speakers)
    if reason:
        return values, {}, reason
    weights = resampling.draw(speakers)
    clips = terms[0].by_speaker.sum(axis=-1, keepdims=True)
    complete = _complete(terms[0].by_seed, _drawn(clips, weights))
    if complete.mean() < LEAST_COMPLETE:
        return values, {}, "a label is spoken by too few speakers to resample them"
    kept = slice(None) if complete.all() else complete
    # Metrics that sum the same statistics share their matrix product.
    drawn: dict[Callable[[Counts], Counts], list[Floats]] = {}
    small = {key: metric.smaller or metric for key, metric in metrics.items()}
    for metric in small.values():
        if metric.statistics not in drawn:
            drawn[metric.statistics] = [_drawn(term.of_speakers(metric), weights)[kept] for term in terms]
    samples = {}
    for key, metric in metrics.items():
        over_speakers = standard_error(terms, metric)
        if over_speakers is None:
            under = "" if terms[0].seeds_comparable else "under one of the seeds, "
            return values, {}, f"{under}a label is spoken by one speaker alone"
        low, high = metric.range
        samples[key] = _Sample(
            value=values[key],
            least=low if len(terms) == 1 else -metric.width,
            most=high if len(terms) == 1 else metric.width,
            replicates=_signed([small[key].score(each) for each in drawn[small[key].statistics]]),
            speakers=speakers,
            over_speakers=over_speakers,
            trainings=np.concatenate([training_variances(term, metric) for term in terms]),
            seeds=len(terms[0].seeds),
        )
    return values, samples, ""


def _drawn(statistics: NDArray[np.number], weights: Floats) -> Floats:
    """Sums over the drawn speakers, shape (replicates, seeds, *S), of statistics of shape (seeds, speakers, *S)."""
    seeds, speakers, *shape = statistics.shape
    flat = statistics.swapaxes(0, 1).reshape(speakers, -1).astype(np.float64)
    sums: Floats = (weights @ flat).reshape(len(weights), seeds, *shape)
    return sums


def _complete(by_seed: NDArray[np.int64], drawn: Floats) -> NDArray[np.bool_]:
    """Which replicates still have a clip of every label that each seed has, shape (replicates,)."""
    has = by_seed.sum(axis=-1) > 0
    still: NDArray[np.bool_] = ((drawn.sum(axis=-1) > 0.5) | ~has).all(axis=(1, 2))
    return still


def _signed(terms: Sequence[Scores]) -> Scores:
    """Mean over seeds of the first term's scores, less the second's; terms have shape (..., seeds)."""
    means = [scores.mean(axis=-1) for scores in terms]
    signed: Scores = means[0] - means[1] if len(means) == 2 else means[0]
    return signed
