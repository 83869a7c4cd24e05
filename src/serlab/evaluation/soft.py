"""Soft labels: scores against the distribution of votes, and how well one half of the raters predicts the other.

A clip's soft label is the share of votes for each label; only clips without votes are dropped.

The multi-label score is EMO-SUPERB's (Wu et al. 2024, arXiv 2402.13018, as its published code
computes it): a label is positive where its share, or the model's probability, is strictly greater
than 1/K; F1 of each label, then their mean. That code averages the score over batches; here all
clips are pooled, because a score should not depend on the batch. Its smoothing of the votes by 0.06
moves no share across 1/K.

Raters disagree, so no model can agree with all of them. The room that this leaves is estimated by
splitting each clip's votes at random into two panels, one as the prediction, the other as the truth
(:func:`ceiling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, rel_entr

from serlab.core import UserError
from serlab.evaluation.metrics import uar, wa
from serlab.evaluation.resampling import STANDARD, Interval, Resampling
from serlab.evaluation.tracks import plurality

DRAWS = 20
_SMALLEST = 1e-12

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SoftScores:
    """How close a model's probabilities are to the soft labels.

    Attributes:
        predictions: rows judged.
        without_votes: rows left out because their clip has no votes.
        macro_f1: multi-label macro-F1 at the threshold 1/K, mean over the labels that the votes
            make positive somewhere; None if there is no such label.
        divergence: mean Jensen-Shannon divergence in bits (Lin 1991, IEEE Trans. Information Theory
            37(1), eq. 4.1 with weights 1/2): 0 is equal, 1 has nothing in common.
        cross_entropy: mean cross-entropy to the votes in nats, probabilities floored at 1e-12.
        entropy: mean entropy of the votes in nats: the smallest cross-entropy that any model can
            have.
    """

    predictions: int
    without_votes: int
    macro_f1: Interval | None
    divergence: Interval
    cross_entropy: Interval
    entropy: float


@dataclass(frozen=True)
class Ceiling:
    """How well one half of the raters predicts the other half: the room that disagreement leaves to a model.

    Both halves are smaller than the panel whose plurality is the perceived label, so both are
    noisier: the true ceiling lies above. A model below these figures has room left; a model above
    them is closer to the whole panel than its halves are to each other, which is possible. They
    hold for perceived and soft labels. Intended labels are not made from votes, so disagreement
    sets no limit there.

    Attributes:
        clips: clips with two votes or more.
        left_out: clips with fewer, which cannot be split.
        tied: clips whose true half ties, mean over draws: dropped, as on the perceived track.
        raters: votes in a half, mean over clips.
        draws: random splits that all figures are averaged over.
        agreement: share of clips where the one half names the other's plurality. A predicting half
            that ties answers with one of its tied labels at random (its expectation is counted), as
            a model has to answer.
        uar: the same as mean recall over labels.
        macro_f1: of one half's shares against the other's, as :class:`SoftScores` defines it.
        divergence: Jensen-Shannon divergence between the halves' shares, in bits; less is better.
    """

    clips: int
    left_out: int
    tied: float
    raters: float
    draws: int
    agreement: Interval
    uar: Interval
    macro_f1: Interval | None
    divergence: Interval


def soft_scores(
    probabilities: Floats,
    votes: Integers,
    speaker: Integers,
    *,
    training: Integers | None = None,
    resampling: Resampling = STANDARD,
) -> SoftScores:
    """Score probabilities against the votes, with intervals over speakers.

    Args:
        probabilities: shape (rows, K).
        votes: counts of the same clips and labels, shape (rows, K).
        speaker: index of each row's speaker, shape (rows,).
        training: index of the seed that each row's model was trained with, shape (rows,): macro-F1
            is the mean over them. By default all rows are of one. The intervals speak of the
            trained models at hand.
        resampling: how speakers are resampled.

    Raises:
        UserError: no clip has a vote.
    """
    voted = votes.sum(axis=1) > 0
    if not voted.any():
        raise UserError("no clip of the predictions has a vote; soft labels need votes.")
    guess, shares = probabilities[voted], _shares(votes[voted])
    who = np.unique(speaker[voted], return_inverse=True)[1]
    which = np.zeros_like(who) if training is None else np.unique(training[voted], return_inverse=True)[1]
    over = _Over(int(who.max()) + 1, resampling)
    cross = -(shares * np.log(np.maximum(guess, _SMALLEST))).sum(axis=1)
    return SoftScores(
        predictions=len(guess),
        without_votes=int((~voted).sum()),
        macro_f1=over.macro_f1(guess, shares, who, which),
        divergence=over.mean(divergence(guess, shares), who),
        cross_entropy=over.mean(cross, who),
        entropy=float(entr(shares).sum(axis=1).mean()),
    )


def ceiling(
    votes: Integers,
    speaker: Integers,
    *,
    draws: int = DRAWS,
    resampling: Resampling = STANDARD,
) -> Ceiling:
    """Let one half of each clip's raters predict the other, each half in turn, over several random splits.

    Args:
        votes: counts, shape (clips, K).
        speaker: index of each clip's speaker, shape (clips,).
        draws: number of random splits.
        resampling: how speakers are resampled; the splits are not, and have the same seed.

    Raises:
        UserError: no clip has two votes.
    """
    enough = votes.sum(axis=1) >= 2
    if not enough.any():
        raise UserError("no clip has two votes; splitting the raters into two panels needs at least two.")
    votes = votes[enough]
    clips, classes = votes.shape
    first = split_panels(votes, draws=draws, seed=resampling.seed)
    one, other = (half.reshape(-1, classes) for half in (first, votes - first))
    who = np.tile(np.unique(speaker[enough], return_inverse=True)[1], draws)
    which = np.repeat(np.arange(draws), clips)
    over = _Over(int(who.max()) + 1, resampling)
    matrices: Floats = _answers(one, other, who) + _answers(other, one, who)
    shares = _shares(one), _shares(other)
    return Ceiling(
        clips=clips,
        left_out=int((~enough).sum()),
        tied=clips - float(matrices.sum()) / (2 * draws),
        raters=float(votes.sum(axis=1).mean()) / 2,
        draws=draws,
        agreement=over.recalled(wa, matrices),
        uar=over.recalled(uar, matrices),
        macro_f1=over.macro_f1(shares[0], shares[1], who, which),
        divergence=over.mean(divergence(*shares), who),
    )


def split_panels(votes: Integers, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Draw half of each clip's raters without putting back: the smaller half where their number is odd.

    A multivariate hypergeometric draw, made label by label from its univariate conditionals.

    Args:
        votes: counts, shape (clips, K).
        draws: number of independent draws.
        seed: of the draws.

    Returns:
        Counts of the drawn raters' votes, shape (draws, clips, K).
    """
    random = np.random.default_rng(seed)
    total = votes.sum(axis=1)
    drawn = np.zeros((draws, *votes.shape), np.int64)
    wanted = np.tile(total // 2, (draws, 1))
    others = total.astype(np.int64)
    for label in range(votes.shape[1]):
        others = others - votes[:, label]
        drawn[..., label] = random.hypergeometric(votes[:, label], others, wanted)
        wanted -= drawn[..., label]
    return drawn


def divergence(first: Floats, second: Floats) -> Floats:
    """Jensen-Shannon divergence of each row in bits, shape (rows,).

    Args:
        first: distributions, shape (rows, K).
        second: likewise.

    >>> divergence(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])).tolist()
    [1.0, 0.0]
    """
    middle = (first + second) / 2
    apart = (rel_entr(first, middle) + rel_entr(second, middle)).sum(axis=1)
    bits: Floats = np.maximum(apart, 0) / (2 * math.log(2))
    return bits


@dataclass(frozen=True)
class _Over:
    """Intervals over speakers, from sums of each speaker."""

    speakers: int
    resampling: Resampling

    def mean(self, values: Floats, who: Integers) -> Interval:
        """Of the mean over rows; values and the index of their speaker have shape (rows,)."""
        totals, counts = (np.bincount(who, weights, self.speakers) for weights in (values, np.ones_like(values)))
        return self.resampling.interval(
            float(values.mean()), lambda weights: (weights @ totals) / (weights @ counts), self.speakers
        )

    def recalled(self, score: Callable[[Floats], Floats], matrices: Floats) -> Interval:
        """Of a score of the summed matrices, shape (speakers, K, K); undefined where a label lost all its clips."""
        there = matrices.sum(axis=(0, 2)) > 0

        def statistic(weights: Floats) -> Floats:
            pooled = np.tensordot(weights, matrices, 1)
            lost = (there & (pooled.sum(axis=-1) <= 0)).any(axis=-1)
            return np.where(lost, np.nan, score(pooled))

        return self.resampling.interval(float(score(matrices.sum(axis=0))), statistic, self.speakers)

    def macro_f1(self, guess: Floats, shares: Floats, who: Integers, which: Integers) -> Interval | None:
        """Of multi-label macro-F1, mean over what ``which`` numbers."""
        said, meant = (rows > 1 / rows.shape[1] for rows in (guess, shares))
        sums = np.zeros((self.speakers, int(which.max()) + 1, 3, guess.shape[1]))
        np.add.at(sums, (who, which), np.stack([said & meant, meant, said], axis=1))
        there = sums[:, :, 1].sum(axis=0) > 0
        if not there.any(axis=-1).all():
            return None
        value = float(_macro_f1(sums.sum(axis=0), there))
        return self.resampling.interval(
            value, lambda weights: _macro_f1(np.tensordot(weights, sums, 1), there), self.speakers
        )


def _macro_f1(sums: Floats, there: NDArray[np.bool_]) -> Floats:
    """From (both, meant, said) in the last axis but one; NaN where a label of ``there`` was lost."""
    both, meant, said = np.moveaxis(sums, -2, 0)
    f1 = np.divide(2 * both, meant + said, out=np.zeros_like(both), where=meant + said > 0)
    score = ((f1 * there).sum(axis=-1) / there.sum(axis=-1)).mean(axis=-1)
    lost = (there & (meant <= 0)).any(axis=(-2, -1))
    return np.where(lost, np.nan, score)


def _shares(votes: Integers) -> Floats:
    shares: Floats = votes / votes.sum(axis=1, keepdims=True)
    return shares


def _answers(answering: Integers, asked: Integers, who: Integers) -> Floats:
    """Confusion of the asked half's plurality with the answering half's, shape (speakers, K, K); ties share a clip."""
    top = answering == answering.max(axis=1, keepdims=True)
    truth = plurality(asked)
    kept = truth >= 0
    matrices = np.zeros((int(who.max()) + 1, top.shape[1], top.shape[1]))
    np.add.at(matrices, (who[kept], truth[kept]), _shares(top[kept].astype(np.int64)))
    return matrices
