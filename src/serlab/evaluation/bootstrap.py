"""Intervals over speakers: the percentile bootstrap on per-speaker confusion matrices.

Clips of one speaker are not independent, so speakers are resampled, never clips. A replicate is a weighted sum of the
speakers' matrices (the weights multinomial), which makes ten thousand of them one matrix product. With several seeds
a score is the mean over seeds of each seed's pooled score, on the same resampled speakers.

A replicate in which a label lost all its clips would average over fewer labels than the estimate does: it is left out,
and where that happens to more than one in twenty no interval is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.evaluation.metrics import METRICS, Counts, Scores

REPLICATES = 10_000
LEVEL = 0.95
FEWEST_SPEAKERS = 10
_MOST_INCOMPLETE = 0.05


@dataclass(frozen=True)
class Interval:
    """A score with its interval over speakers.

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


def intervals(
    matrices: NDArray[np.int64], *, speakers_known: bool = True, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Interval]:
    """Score one recipe, with intervals over speakers.

    Args:
        matrices: confusion counts, shape (seeds, speakers, K, K).
        speakers_known: False where the corpus does not say who speaks; then there is no interval.
        replicates: number of bootstrap replicates.
        seed: of the resampling; the same seed and number of speakers draw the same speakers.

    Returns:
        ``uar``, ``wa`` and ``macro_f1``.
    """
    return _percentiles([matrices], speakers_known, replicates, seed)


def differences(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    speakers_known: bool = True,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Score the difference ``first - second`` of two recipes on the same clips, resampling the same speakers for both.

    Args:
        first: confusion counts, shape (seeds, speakers, K, K).
        second: counts of the same shape, speakers and true labels.
        speakers_known: False where the corpus does not say who speaks; then there is no interval.
        replicates: number of bootstrap replicates.
        seed: of the resampling.

    Returns:
        ``uar``, ``wa`` and ``macro_f1``.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    if first.shape != second.shape or (first.sum(axis=-1) != second.sum(axis=-1)).any():
        raise ValueError("a paired difference needs the same clips on both sides")
    return _percentiles([first, second], speakers_known, replicates, seed)


def _percentiles(
    terms: list[NDArray[np.int64]], speakers_known: bool, replicates: int, seed: int
) -> dict[str, Interval]:
    """Intervals of the first term's scores, less the second's where there is one."""
    values = {name: float(_signed(name, [term.sum(axis=1) for term in terms])) for name in METRICS}
    speakers = terms[0].shape[1]
    reason = _reason_against(speakers, speakers_known)
    if reason:
        return {name: Interval(value, None, None, reason) for name, value in values.items()}
    weights = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=replicates)
    resampled = [_resample(term, weights) for term in terms]
    complete = _complete(terms[0], resampled[0])
    if complete.mean() < 1 - _MOST_INCOMPLETE:
        reason = "a label is spoken by too few speakers to resample them"
        return {name: Interval(value, None, None, reason) for name, value in values.items()}
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    found = {}
    for name, value in values.items():
        low, high = np.quantile(_signed(name, [term[complete] for term in resampled]), tails)
        found[name] = Interval(value, float(low), float(high))
    return found


def _reason_against(speakers: int, speakers_known: bool) -> str:
    if not speakers_known:
        return "the speakers are unknown"
    if speakers < FEWEST_SPEAKERS:
        return f"fewer than {FEWEST_SPEAKERS} speakers ({speakers})"
    return ""


def _resample(matrices: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted sums over speakers, shape (replicates, seeds, K, K)."""
    seeds, speakers, classes, _ = matrices.shape
    flat = matrices.swapaxes(0, 1).reshape(speakers, -1).astype(np.float64)
    sums: NDArray[np.float64] = weights.astype(np.float64) @ flat
    return sums.reshape(len(weights), seeds, classes, classes)


def _complete(matrices: NDArray[np.int64], resampled: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which replicates still have a clip of every label that each seed has, shape (replicates,)."""
    has = matrices.sum(axis=(1, 3)) > 0
    still: NDArray[np.bool_] = ((resampled.sum(axis=-1) > 0) | ~has).all(axis=(1, 2))
    return still


def _signed(name: str, terms: list[Counts]) -> Scores:
    """Mean over seeds of the first term's score, less the second's; terms have shape (..., seeds, K, K)."""
    scores = [METRICS[name](term).mean(axis=-1) for term in terms]
    signed: Scores = scores[0] - scores[1] if len(scores) == 2 else scores[0]
    return signed
