"""Tests that respect speakers, and the answer of a comparison.

The answer comes from the interval of :func:`serlab.evaluation.bootstrap.differences`, which includes
training again if there are several seeds. The swap test and McNemar's
are shown too: they are about the trained models at hand, on other speakers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtr, stdtrit

from serlab.evaluation.bootstrap import EQUIVALENCE_LEVEL, Difference, check_paired
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import UAR, Metric, Scores

PERMUTATIONS = 10_000
MARGIN = 0.02
WHY_MARGIN = "about as far as the 95 % interval of one UAR reaches to either side with 90 speakers"
"""Differences of UAR up to this are called equivalent; chosen before any run."""
ALPHA = 0.05
"""A claim is made if its p, adjusted over its family, is at most this."""
MOST_EXACT = 20
"""Speakers up to which all swaps are tried, a million."""

Answer = Literal["better", "worse", "equivalent", "not shown"]

_CHUNK = 4096
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ClusteredMcNemar:
    """McNemar's test of accuracy for clips that come in clusters, the speakers.

    Attributes:
        obuchowski: chi-square with one degree of freedom (Obuchowski 1998, Statistics in Medicine
            17), each clip with the same weight.
        obuchowski_p: its two-sided p.
        durkalski: the same with equal weights of speakers (Durkalski et al. 2003, Statistics in
            Medicine 22).
        durkalski_p: its two-sided p.
    """

    obuchowski: float
    obuchowski_p: float
    durkalski: float
    durkalski_p: float


def swap_test(
    first: SpeakerCounts,
    second: SpeakerCounts,
    metric: Metric = UAR,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    most_exact: int = MOST_EXACT,
) -> float:
    """Two-sided p of no difference: the two recipes' matrices are swapped within speakers, all of one's seeds at once.

    With few speakers all swaps are tried and p is exact; above, p is (1 + reached) / (1 +
    permutations), which never claims more than was tried (Phipson and Smyth 2010, section 3).

    Args:
        first: confusion counts.
        second: counts of the same clips.
        metric: the score whose difference is tested.
        permutations: number of random swaps.
        seed: of the swaps.
        most_exact: speakers up to which all swaps are tried.
    """
    check_paired(first, second)
    metric = metric.smaller or metric
    score = metric.score
    one, other = first.of_speakers(metric), second.of_speakers(metric)
    total = one.sum(axis=1) + other.sum(axis=1)
    apart = (one - other).swapaxes(0, 1).reshape(len(first.speakers), -1)

    def difference(signs: NDArray[np.float64]) -> Scores:
        shift = (signs @ apart).reshape(-1, *total.shape)
        return np.asarray((score((total + shift) / 2) - score((total - shift) / 2)).mean(axis=-1), np.float64)

    speakers = len(first.speakers)
    reached = abs(float(difference(np.ones((1, speakers)))[0])) - _ROUNDING
    exact = speakers <= most_exact
    chunks = _all_signs(speakers) if exact else _random_signs(speakers, permutations, seed)
    counts = [(int((np.abs(difference(signs)) >= reached).sum()), len(signs)) for signs in chunks]
    extreme, tried = (sum(column) for column in zip(*counts, strict=True))
    return float(extreme / tried if exact else (1 + extreme) / (1 + tried))


def mcnemar(first: SpeakerCounts, second: SpeakerCounts) -> ClusteredMcNemar:
    """Test whether two recipes are right equally often.

    A speaker's clips that only the first has right, less those that only the second has, is the
    difference of their hits, so the confusion matrices hold all that is needed; with several seeds
    it is the mean over them.

    Args:
        first: confusion counts.
        second: counts of the same clips.
    """
    check_paired(first, second)
    hits = [np.trace(each.by_speaker, axis1=-2, axis2=-1).mean(axis=0) for each in (first, second)]
    return clustered_mcnemar(hits[0] - hits[1], first.by_speaker.sum(axis=(-2, -1)).mean(axis=0))


def clustered_mcnemar(apart: NDArray[np.float64], clips: NDArray[np.float64] | NDArray[np.int64]) -> ClusteredMcNemar:
    """Both tests from each cluster's discordant pairs.

    Args:
        apart: pairs in favour of the first less those in favour of the second, shape (clusters,).
        clips: pairs of each cluster, shape (clusters,).
    """
    clusters = len(apart)
    by_clip = _chi_square(apart) * (clusters - 1) / clusters
    by_cluster = _chi_square(apart / clips)
    return ClusteredMcNemar(by_clip, float(chdtrc(1, by_clip)), by_cluster, float(chdtrc(1, by_cluster)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6), in the order given.

    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(order), 0, -1) * np.asarray(p_values, np.float64)[order]
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(p) for p in adjusted]


def answer_of(p: float | None, p_equivalent: float | None, value: float) -> Answer:
    """What a difference lets one say at 5 %: ``better`` or ``worse``, else ``equivalent``, else ``not shown``.

    With the p of one pair, the answer is what its own intervals say: the 95 % interval excludes zero,
    or the 90 % interval lies within the margin, which is two one-sided tests at 5 % (Schuirmann 1987).
    With p adjusted over a family of pairs, each of both kinds of false claim (a difference that is
    not there, an equivalence that is not) is made anywhere in the family with 5 % probability at most.

    Args:
        p: of no difference; None if there is no interval.
        p_equivalent: of a difference beyond the margin, from :func:`p_equivalent`.
        value: first less second.
    """
    if p is not None and p <= ALPHA:
        return "better" if value > 0 else "worse"
    return "equivalent" if p_equivalent is not None and p_equivalent <= ALPHA else "not shown"


def p_equivalent(difference: Difference, margin: float = MARGIN) -> float | None:
    """P of a difference beyond the margin, by inverting the 90 % interval; None without an interval.

    It is the larger p of two one-sided tests, and below .05 exactly if the interval lies within the margin.

    Args:
        difference: first less second.
        margin: half the width of what counts as equivalent.
    """
    low, high, freedom = difference.inner_low, difference.inner_high, difference.freedom
    if low is None or high is None or freedom is None:
        return None
    quantile = float(-stdtrit(freedom, (1 - EQUIVALENCE_LEVEL) / 2))
    sides = ((difference.value - low, margin + difference.value), (high - difference.value, margin - difference.value))
    return max(
        float(stdtr(freedom, -quantile * room / length)) if length else float(room <= 0) for length, room in sides
    )


def within(difference: Difference, margin: float = MARGIN) -> bool:
    """Whether the 90 % interval lies within the margin on both sides of zero."""
    if difference.inner_low is None or difference.inner_high is None:
        return False
    return -margin < difference.inner_low and difference.inner_high < margin


def _chi_square(apart: NDArray[np.float64]) -> float:
    spread = float((apart**2).sum())
    return float(apart.sum()) ** 2 / spread if spread else 0.0


def _all_signs(speakers: int) -> Iterator[NDArray[np.float64]]:
    """All swaps but their mirror images, which differ by the same amount: the last speaker is never swapped."""
    count = 1 << (speakers - 1)
    for start in range(0, count, _CHUNK):
        numbers = np.arange(start, min(count, start + _CHUNK))
        bits = numbers[:, None] >> np.arange(speakers) & 1
        bits[:, speakers - 1] = 0
        yield np.where(bits, -1.0, 1.0)


def _random_signs(speakers: int, permutations: int, seed: int) -> Iterator[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    for start in range(0, permutations, _CHUNK):
        yield np.where(random.integers(2, size=(min(_CHUNK, permutations - start), speakers)), -1.0, 1.0)
