"""Intervals over speakers, and over training again: the bootstrap on confusion matrices.

Clips of one speaker are not independent, so speakers are resampled, never clips. A replicate is a weighted sum of the
speakers' matrices (the weights multinomial), which makes ten thousand of them one matrix product. With several seeds
a score is the mean over seeds of each seed's pooled score.

The ends are expanded percentiles (Hesterberg 2015, The American Statistician 69(4), section 4.5): the plain percentile
interval is too narrow for few speakers, by the missing n / (n - 1) of the variance and by normal tails in place of
Student's. Its tails of 2.5 % are replaced by those of which the normal quantile is sqrt(n / (n - 1)) t(n - 1). Beside
a studentised interval it needs no second level of resampling, keeps to 0 and 1, and is steady where a label is rare.

Several seeds are a second level: within a fold one training makes the predictions of all its speakers. Two or three
trainings are too few to take percentiles from, so the variance that drawing them again would give (with the missing
S / (S - 1)) is added in closed form, and the ends lie as many standard errors away as Student's t does at the degrees
of freedom of both levels together (Satterthwaite 1946, Biometrics Bulletin 2(6)). One seed says nothing of training
again; then the interval speaks of the trained models at hand.

A replicate in which a label lost all its clips would average over fewer labels than the estimate does: it is left out,
and where that happens to more than one in twenty no interval is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from serlab.evaluation.metrics import METRICS, Counts, Scores
from serlab.evaluation.outcomes import Outcomes

REPLICATES = 10_000
LEVEL = 0.95
EQUIVALENCE_LEVEL = 0.90
FEWEST_SPEAKERS = 10
_MOST_INCOMPLETE = 0.05


@dataclass(frozen=True)
class Interval:
    """A score with its interval.

    Attributes:
        value: the estimate.
        low: lower end of the 95 % interval, None where none can be given.
        high: upper end.
        reason: why there is no interval, empty where there is one.
    """

    value: float
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference with its interval.

    Attributes:
        inner_low: lower end of the 90 % interval, by which equivalence is judged; None where none can be given.
        inner_high: upper end.
    """

    inner_low: float | None = None
    inner_high: float | None = None


def intervals(
    outcomes: Outcomes, *, speakers_known: bool = True, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Interval]:
    """Score one recipe, with intervals over speakers, and over seeds where there are several.

    Args:
        outcomes: its confusion counts.
        speakers_known: False where the corpus does not say who speaks; then there is no interval.
        replicates: number of bootstrap replicates.
        seed: of the resampling; the same seed and number of speakers draw the same speakers.

    Returns:
        ``uar``, ``wa`` and ``macro_f1``.
    """
    values, samples, reason = _sample([outcomes], speakers_known, replicates, seed)
    if reason:
        return {name: Interval(value, None, None, reason) for name, value in values.items()}
    return {name: Interval(value, *samples[name].ends(LEVEL)) for name, value in values.items()}


def differences(
    first: Outcomes,
    second: Outcomes,
    *,
    speakers_known: bool = True,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Score the difference ``first - second`` of two recipes on the same clips, resampling the same speakers for both.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels; their folds may differ.
        speakers_known: False where the corpus does not say who speaks; then there is no interval.
        replicates: number of bootstrap replicates.
        seed: of the resampling.

    Returns:
        ``uar``, ``wa`` and ``macro_f1``.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    check_paired(first, second)
    values, samples, reason = _sample([first, second], speakers_known, replicates, seed)
    if reason:
        return {name: Difference(value, None, None, reason) for name, value in values.items()}
    return {
        name: Difference(value, *samples[name].ends(LEVEL), "", *samples[name].ends(EQUIVALENCE_LEVEL))
        for name, value in values.items()
    }


def interval(
    value: float,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    speakers: int,
    *,
    speakers_known: bool = True,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """An interval over speakers of any statistic.

    Args:
        value: the estimate.
        statistic: gives a value a replicate, shape (replicates,), from how often each speaker was drawn, shape
            (replicates, speakers); NaN where it is undefined.
        speakers: number of speakers.
        speakers_known: False where the corpus does not say who speaks; then there is no interval.
        replicates: number of bootstrap replicates.
        level: share of intervals that hold the true value.
        seed: of the resampling.
    """
    reason = _reason_against(speakers, speakers_known)
    if reason:
        return Interval(value, None, None, reason)
    sample = statistic(draw_speakers(speakers, replicates, seed))
    sample = sample[~np.isnan(sample)]
    if len(sample) < (1 - _MOST_INCOMPLETE) * replicates:
        return Interval(value, None, None, "too few speakers define it to resample them")
    return Interval(value, *_percentiles(sample, speakers, level))


@lru_cache(maxsize=4)
def draw_speakers(speakers: int, replicates: int = REPLICATES, seed: int = 0) -> NDArray[np.float64]:
    """How often each speaker is drawn, shape (replicates, speakers); read-only."""
    drawn = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=replicates)
    weights = drawn.astype(np.float64)
    weights.flags.writeable = False
    return weights


def check_paired(first: Outcomes, second: Outcomes) -> None:
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
        least: the least that it can be; the most is one.
        replicates: over speakers, shape (replicates,).
        speakers: number of speakers.
        trainings: the variance that each fold's trainings give to the estimate, shape (folds of all terms,).
        seeds: trainings of a fold.
    """

    value: float
    least: float
    replicates: Scores
    speakers: int
    trainings: Scores
    seeds: int

    def ends(self, level: float) -> tuple[float, float]:
        """The interval's ends: those over speakers, widened by what training again adds."""
        low, high = _percentiles(self.replicates, self.speakers, level)
        if not self.trainings.any():
            return low, high
        of_speakers = self.replicates.var() * self.speakers / (self.speakers - 1)
        of_training = self.trainings.sum()
        parts = of_speakers**2 / (self.speakers - 1) + np.sum(self.trainings**2) / (self.seeds - 1)
        freedom = (of_speakers + of_training) ** 2 / parts
        alone, together = (-stdtrit(count, (1 - level) / 2) for count in (self.speakers - 1, freedom))
        below, above = (
            float(together * np.hypot(max(0.0, side) / alone, np.sqrt(of_training)))
            for side in (self.value - low, high - self.value)
        )
        return max(self.least, self.value - below), min(1.0, self.value + above)


def _sample(
    terms: list[Outcomes], speakers_known: bool, replicates: int, seed: int
) -> tuple[dict[str, float], dict[str, _Sample], str]:
    """The first term's scores, less the second's where there is one; the same resampled; why it could not be."""
    values = {name: float(_signed(name, [term.by_seed for term in terms])) for name in METRICS}
    speakers = len(terms[0].speakers)
    reason = _reason_against(speakers, speakers_known)
    if reason:
        return values, {}, reason
    weights = draw_speakers(speakers, replicates, seed)
    resampled = [_resample(term, weights) for term in terms]
    complete = _complete(terms[0].by_seed, resampled[0])
    if complete.mean() < 1 - _MOST_INCOMPLETE:
        return values, {}, "a label is spoken by too few speakers to resample them"
    samples = {
        name: _Sample(
            value,
            1.0 - len(terms),
            _signed(name, [term[complete] for term in resampled]),
            speakers,
            np.concatenate([_of_trainings(term, name) for term in terms]),
            len(terms[0].seeds),
        )
        for name, value in values.items()
    }
    return values, samples, ""


def _of_trainings(term: Outcomes, name: str) -> Scores:
    """The variance that each fold's trainings give to a score's mean over seeds, shape (folds,).

    It is that of the score of one seed's counts in the fold and the means over seeds elsewhere, over the number of
    seeds; nought where the seeds did not judge the same clips.
    """
    if not term.seeds_comparable:
        return np.zeros(len(term.folds))
    by_fold = term.by_fold.astype(np.float64)
    mean = by_fold.mean(axis=0)
    scores = METRICS[name](by_fold - mean + mean.sum(axis=0))
    variances: Scores = scores.var(axis=0, ddof=1) / len(term.seeds)
    return variances


def _percentiles(sample: Scores, speakers: int, level: float) -> tuple[float, float]:
    tail = ndtr(np.sqrt(speakers / (speakers - 1)) * stdtrit(speakers - 1, (1 - level) / 2))
    low, high = np.quantile(sample, (tail, 1 - tail))
    return float(low), float(high)


def _reason_against(speakers: int, speakers_known: bool) -> str:
    if not speakers_known:
        return "the speakers are unknown"
    if speakers < FEWEST_SPEAKERS:
        return f"fewer than {FEWEST_SPEAKERS} speakers ({speakers})"
    return ""


def _resample(term: Outcomes, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices of the drawn speakers, shape (replicates, seeds, K, K)."""
    flat = term.by_speaker.swapaxes(0, 1).reshape(len(term.speakers), -1).astype(np.float64)
    matrices: NDArray[np.float64] = (weights @ flat).reshape(len(weights), *term.by_seed.shape)
    return matrices


def _complete(by_seed: Counts, resampled: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which replicates still have a clip of every label that each seed has, shape (replicates,)."""
    has = by_seed.sum(axis=-1) > 0
    still: NDArray[np.bool_] = ((resampled.sum(axis=-1) > 0.5) | ~has).all(axis=(1, 2))
    return still


def _signed(name: str, terms: list[Counts]) -> Scores:
    """Mean over seeds of the first term's score, less the second's; terms have shape (..., seeds, K, K)."""
    scores = [METRICS[name](term).mean(axis=-1) for term in terms]
    signed: Scores = scores[0] - scores[1] if len(scores) == 2 else scores[0]
    return signed
