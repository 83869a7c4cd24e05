"""Conformal prediction: sets of labels that contain the true one as often as promised.

A clip's score is 1 - p(true label), and its set all labels whose score is no more than a threshold
(least ambiguous sets; Sadinle, Lei and Wasserman 2019). The threshold comes from the dev subset,
whose speakers the model was not trained on.

Split-conformal prediction pools the clips: the threshold is the ceil((n + 1) level)-th least of n
scores. That holds for clips that are exchangeable with the dev clips, which those of a new speaker
are not. Hierarchical conformal prediction (HCP; Lee, Barber and Willett 2023; the pooling of the
speakers' distributions by Dunn, Wasserman and Ramdas 2022, made exact for few speakers) gives each
of K speakers the same weight: 1 / ((K + 1) n_k) on each of a speaker's n_k scores, 1 / (K + 1) on
infinity for the speaker to come, and takes the quantile. A level can be attained only if 1 / (K +
1) <= 1 - level: 4 speakers for 80 %, 9 for 90 %, 19 for 95 %.

What HCP promises: a random clip of a new speaker, exchangeable with the dev speakers, is covered
with at least this probability, on average over dev and new speakers. It promises nothing for a
single speaker: some are covered less, and :class:`Coverage` shows how much. The promise is not
strict here, because the dev subset has already chosen the epoch, the temperature and perhaps
settings of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.resampling import STANDARD, Interval, Resampling

LEVELS = (0.80, 0.90, 0.95)

NEAR = 0.05
"""Sets are worth their name if they are expected to cover no more than this above what is asked."""

_ROUNDING = 1e-9

Floats = NDArray[np.float64]
Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Coverage:
    """How often sets contain the true label, for speakers who were not used to make them.

    Attributes:
        by_speaker: mean over speakers of each one's share of clips whose set contains the true
            label; HCP's promise.
        by_clip: the share over all clips.
        mean_size: mean number of labels in a set.
        empty: share of sets without a label.
        single: share of sets of one label.
        speakers: each speaker's coverage, in the order of their indices.
        quartiles: minimum, lower quartile, median, upper quartile and maximum of ``speakers``.
    """

    by_speaker: Interval
    by_clip: Interval
    mean_size: float
    empty: float
    single: float
    speakers: tuple[float, ...]
    quartiles: tuple[float, float, float, float, float]


def nonconformity(probabilities: Floats, truth: Places) -> Floats:
    """Each clip's score 1 - p(true label), shape (clips,).

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
    """
    of_truth: Floats = 1 - probabilities[np.arange(len(truth)), truth]
    return of_truth


def fewest_speakers(level: float) -> int:
    """The fewest dev speakers with which HCP can attain a level: the smallest K with 1 / (K + 1) <= 1 - level.

    >>> [fewest_speakers(level) for level in LEVELS]
    [4, 9, 19]
    """
    return int(np.ceil(level / (1 - level) - _ROUNDING))


def expected_coverage(level: float, speakers: int) -> float:
    """The coverage of new speakers to be expected: the share of dev clips that HCP's threshold lets in.

    With K speakers weighted alike it is level (K + 1) / K, far above the level for few of them.

    >>> [round(expected_coverage(0.8, speakers), 2) for speakers in (4, 9, 16, 40)]
    [1.0, 0.89, 0.85, 0.82]
    """
    return min(1.0, level * (speakers + 1) / speakers)


def enough_speakers(level: float) -> int:
    """The fewest dev speakers whose expected coverage is within 5 points of the level.

    >>> [enough_speakers(level) for level in LEVELS]
    [16, 18, 19]
    """
    return max(fewest_speakers(level), int(np.ceil(level / NEAR - _ROUNDING)))


def threshold(scores: Floats, speaker: Places | None, level: float) -> float | None:
    """The score up to which labels enter a set.

    Args:
        scores: of the dev clips, from :func:`nonconformity`, shape (clips,).
        speaker: index of each clip's speaker, shape (clips,), for HCP; None for split-conformal
            prediction, in which each clip is its own unit.
        level: share of clips to cover, above 0 and below 1.

    Returns:
        The threshold, or None if there are too few speakers (or clips) for the level.

    Raises:
        UserError: the level is not between 0 and 1, or a score is not finite.
    """
    if not 0 < level < 1:
        raise UserError(f"the level of prediction sets is a share between 0 and 1, not {level:g}.")
    if not np.isfinite(scores).all():
        raise UserError("a dev score is not finite; no prediction sets can be made from it.")
    _, unit, clips = np.unique(
        np.arange(len(scores)) if speaker is None else speaker, return_inverse=True, return_counts=True
    )
    if len(clips) < fewest_speakers(level):
        return None
    order = np.argsort(scores)
    # In units of 1 / (K + 1), so that the sum of a speaker's weights is 1.
    reached = np.cumsum(1 / clips[unit[order]]) >= level * (len(clips) + 1) - _ROUNDING
    return float(scores[order[np.argmax(reached)]])


def sets(probabilities: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which labels each clip's set contains, shape (clips, K).

    Args:
        probabilities: shape (clips, K).
        threshold: from :func:`threshold`.
    """
    held: NDArray[np.bool_] = 1 - probabilities <= threshold + _ROUNDING
    return held


def judge_sets(
    sets: NDArray[np.bool_],
    truth: Places,
    speaker: Places,
    *,
    resampling: Resampling = STANDARD,
) -> Coverage:
    """Judge prediction sets of test clips, with intervals over their speakers.

    The sets of several folds, each with the threshold of its own dev subset, are judged together.

    Args:
        sets: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        speaker: index of each clip's speaker from 0 on, every index in use, shape (clips,).
        resampling: how speakers are resampled.
    """
    covered = sets[np.arange(len(truth)), truth]
    clips = np.bincount(speaker).astype(np.float64)
    hits = np.bincount(speaker, covered)
    share = hits / clips
    size = sets.sum(axis=1)
    least, lower, median, upper, most = (float(value) for value in np.quantile(share, (0, 0.25, 0.5, 0.75, 1)))
    return Coverage(
        by_speaker=resampling.interval(float(share.mean()), lambda weights: weights @ share / len(share), len(share)),
        by_clip=resampling.interval(
            float(covered.mean()), lambda weights: (weights @ hits) / (weights @ clips), len(share)
        ),
        mean_size=float(size.mean()),
        empty=float((size == 0).mean()),
        single=float((size == 1).mean()),
        speakers=tuple(float(value) for value in share),
        quartiles=(least, lower, median, upper, most),
    )
