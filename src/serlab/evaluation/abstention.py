"""Abstention: how often a model is wrong when it may say "I can't tell".

Clips are answered in order of confidence, their highest probability. Coverage is the share
answered, selective risk the share of answers that are wrong (El-Yaniv and Wiener 2010, JMLR 11;
Geifman and El-Yaniv 2017). AURC, the area under the risk-coverage curve, is the mean risk over all
coverages 1/n .. n/n (Geifman, Uziel and El-Yaniv 2019). Excess AURC subtracts the AURC of the same
errors in the best order, all of them last.

Clips of equal confidence (to ten digits) count with their mean error, so the order of rows and repeated clips, as
in resampling, do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.core import UserError, argument
from serlab.evaluation.calibration import levels_of
from serlab.evaluation.metrics import mean_recall, share_of_hits
from serlab.evaluation.resampling import STANDARD, Interval, Resampling

COVERAGES = (0.5, 0.8, 0.9)
AURC_REPLICATES = 2_000
"""Fewer than elsewhere: each replicate is a curve over all clips."""

_CURVE_POINTS = 50
_CELLS_AT_ONCE = 2**15
"""Few enough that a block stays in the processor's cache from one step to the next."""
_MOST_CLIPS, _MOST_LEVELS = 50_000, 5_000
_MOST_CELLS = 50_000_000
_ROUNDING = 1e-9

Floats = NDArray[np.float64]
Whole = NDArray[np.int32]
Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Selective:
    """Scores on the surest clips.

    Attributes:
        coverage: share of clips that are answered.
        threshold: the lowest confidence that is answered; only some clips at it may be.
        accuracy: share of answers that are right. The threshold is the same in all replicates.
        uar: unweighted average recall of the answers; None if a label has clips but no answer.
        kept: share of each label's clips that are answered, None for a label without clips.
    """

    coverage: float
    threshold: float
    accuracy: Interval
    uar: Interval | None
    kept: tuple[float | None, ...]


@dataclass(frozen=True)
class Abstention:
    """How well confidence tells right from wrong.

    Attributes:
        aurc: area under the risk-coverage curve; 0 is best, the error rate is what chance
            confidences give.
        excess: AURC less that of the best order.
        curve: coverage and risk at up to 50 even steps of coverage.
        at: scores at the coverages asked for.
    """

    aurc: Interval
    excess: float
    curve: tuple[tuple[float, float], ...]
    at: tuple[Selective, ...]


def risk_coverage(probabilities: Floats, truth: Places) -> tuple[Floats, Floats]:
    """The risk-coverage curve.

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).

    Returns:
        Coverages 1/n .. n/n and the selective risk at each, both of shape (clips,).
    """
    wrong = probabilities.argmax(axis=1) != truth
    _, place, clips = np.unique(-levels_of(probabilities.max(axis=1)), return_inverse=True, return_counts=True)
    expected = np.repeat(np.bincount(place, wrong) / clips, clips)
    answered = np.arange(1, len(truth) + 1)
    return answered / len(truth), np.cumsum(expected) / answered


def aurc(probabilities: Floats, truth: Places) -> float:
    """Area under the risk-coverage curve: mean of the selective risk over all coverages."""
    return float(risk_coverage(probabilities, truth)[1].mean())


def excess_aurc(probabilities: Floats, truth: Places) -> float:
    """AURC less the smallest that the same number of errors can have."""
    right = int((probabilities.argmax(axis=1) == truth).sum())
    answered = np.arange(1, len(truth) + 1)
    return aurc(probabilities, truth) - float((np.maximum(answered - right, 0) / answered).mean())


def threshold_for(probabilities: Floats, truth: Places, risk: float) -> float | None:
    """Find the lowest confidence to answer at, so that at most a share ``risk`` of the dev answers is wrong.

    It answers as many clips as possible. Because dev chose it, more answers may be wrong for new
    speakers; there is no guarantee.

    Args:
        probabilities: of the dev subset, shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        risk: the largest share of wrong answers, from 0 to 1.

    Returns:
        The threshold; a clip is answered if its highest probability reaches it. None if there is
        none.

    Raises:
        UserError: the risk is outside 0 to 1, or there is no clip.
    """
    if not 0 <= risk <= 1:
        raise UserError(f"{argument('risk', f'{risk:g}')} is not a share of wrong answers from 0 to 1.")
    if not len(truth):
        raise UserError("there is no dev clip to choose a threshold on; the fold needs a dev subset.")
    wrong = probabilities.argmax(axis=1) != truth
    confidence = probabilities.max(axis=1)
    _, place, clips = np.unique(-levels_of(confidence), return_inverse=True, return_counts=True)
    risks = np.cumsum(np.bincount(place, wrong)) / np.cumsum(clips)
    allowed = np.flatnonzero(risks <= risk + _ROUNDING)
    return float(confidence[place <= allowed[-1]].min()) if len(allowed) else None


def judge_abstention(
    probabilities: Floats,
    truth: Places,
    speaker: Places,
    *,
    coverages: Sequence[float] = COVERAGES,
    resampling: Resampling = STANDARD,
) -> Abstention:
    """Judge confidences, with intervals over speakers.

    Args:
        probabilities: shape (clips, K); rows of several seeds may be stacked.
        truth: index of each clip's true label, shape (clips,).
        speaker: index of each clip's speaker from 0 on, every index in use, shape (clips,).
        coverages: shares of clips to answer, above 0, at most 1.
        resampling: how speakers are resampled; for AURC with at most 2,000 replicates, and of more than 50,000 clips
            by 5,000 levels of confidence.
    """
    confidence = levels_of(probabilities.max(axis=1))
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(axis=1) != truth)[order]
    starts = _merged(np.flatnonzero(np.diff(confidence[order], prepend=np.inf)), len(truth))
    fewer = replace(resampling, replicates=min(resampling.replicates, AURC_REPLICATES))
    area = fewer.interval(
        aurc(probabilities, truth),
        lambda weights: _aurc(weights, speaker[order], wrong, starts),
        int(speaker.max()) + 1,
    )
    coverage, risk = risk_coverage(probabilities, truth)
    steps = np.unique(np.ceil(np.arange(1, _CURVE_POINTS + 1) / _CURVE_POINTS * len(truth) - _ROUNDING).astype(int)) - 1
    return Abstention(
        aurc=area,
        excess=excess_aurc(probabilities, truth),
        curve=tuple((float(coverage[step]), float(risk[step])) for step in steps),
        at=tuple(_selective(probabilities, truth, speaker, share, resampling) for share in coverages),
    )


def _selective(
    probabilities: Floats, truth: Places, speaker: Places, coverage: float, resampling: Resampling
) -> Selective:
    level, classes = levels_of(probabilities.max(axis=1)), probabilities.shape[1]
    answers = int(np.ceil(coverage * len(truth) - _ROUNDING))
    lowest = np.sort(level)[-answers]
    surer, tied = level > lowest, level == lowest
    part = surer + tied * (answers - surer.sum()) / tied.sum()
    speakers = int(speaker.max()) + 1
    right = probabilities.argmax(axis=1) == truth
    cell = speaker * classes + truth
    each = [np.bincount(cell, part * of, minlength=speakers * classes) for of in (right, ~right)]
    statistics = np.stack(each, axis=-1).reshape(speakers, -1)
    clips, answered = np.bincount(truth, minlength=classes), np.bincount(truth, part, minlength=classes)

    def drawn(weights: Floats) -> Floats:
        """Right and wrong answers by label, shape (replicates, K, 2)."""
        return (weights @ statistics).reshape(-1, classes, 2)

    def accuracy(weights: Floats) -> Floats:
        return share_of_hits(drawn(weights))

    def average_recall(weights: Floats) -> Floats:
        answers = drawn(weights)
        lost = ((answers.sum(axis=-1) == 0) & (answered > 0)).any(axis=-1)
        return np.where(lost, np.nan, mean_recall(answers))

    def over_speakers(score: Callable[[Floats], Floats]) -> Interval:
        return resampling.interval(float(score(np.ones((1, speakers)))[0]), score, speakers)

    return Selective(
        coverage=coverage,
        threshold=float(probabilities.max(axis=1)[tied].min()),
        accuracy=over_speakers(accuracy),
        uar=None if ((clips > 0) & (answered == 0)).any() else over_speakers(average_recall),
        kept=tuple(float(some / all_) if all_ else None for some, all_ in zip(answered, clips, strict=True)),
    )


def _aurc(weights: Floats, speaker: Places, wrong: NDArray[np.bool_], starts: Places) -> Floats:
    """AURC of resampled speakers, shape (replicates,).

    Among t clips of equal confidence, e of them wrong, that come after a clips with b errors, the
    risk at the j-th is (b + (j - a) e / t) / j; summed over them that is (b - a e / t) (H(a + t) -
    H(a)) + e, with harmonic numbers H.

    Args:
        weights: how often each speaker was drawn, shape (replicates, speakers).
        speaker: index of each clip's speaker, the surest clip first, shape (clips,).
        wrong: whether each clip is wrong.
        starts: where each run of equal confidences begins.
    """
    most = int(weights.max()) * len(speaker)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    areas = np.empty(len(weights))
    by_level = len(speaker) > _MOST_CLIPS and len(starts) * weights.shape[1] <= _MOST_CELLS
    drawn = _drawn_by_level if by_level else _drawn_by_clip
    for first, clips, errors in drawn(weights.astype(np.int32), speaker, wrong, starts):
        until, errors_until = (np.cumsum(each, axis=1, dtype=np.int32) for each in (clips, errors))
        spread = np.diff(harmonic[until], prepend=0.0, axis=1)
        share = wrong if len(starts) == len(wrong) else errors / np.maximum(clips, 1)
        lead = errors_until - errors - (until - clips) * share
        sums = np.einsum("rl,rl->r", lead, spread) + errors_until[:, -1]
        areas[first : first + len(clips)] = sums / until[:, -1]
    return areas


def _drawn_by_clip(
    weights: Whole, speaker: Places, wrong: NDArray[np.bool_], starts: Places
) -> Iterator[tuple[int, Whole, Whole]]:
    """Yield the first replicate of some, and their clips and errors at each level of confidence."""
    rows = max(1, _CELLS_AT_ONCE // len(speaker))
    for first in range(0, len(weights), rows):
        clips = weights[first : first + rows, speaker]
        errors = clips * wrong
        if len(starts) < len(speaker):
            clips, errors = (np.add.reduceat(each, starts, axis=1) for each in (clips, errors))
        yield first, clips, errors


def _drawn_by_level(
    weights: Whole, speaker: Places, wrong: NDArray[np.bool_], starts: Places
) -> Iterator[tuple[int, Whole, Whole]]:
    """As :func:`_drawn_by_clip`, for many clips in few levels: one matrix product in place of a sum over clips."""
    level = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(speaker)))
    cell, shape = level * weights.shape[1] + speaker, (len(starts), weights.shape[1])
    clips, errors = (
        np.bincount(cell, counted, minlength=shape[0] * shape[1]).reshape(shape).T
        for counted in (np.ones(len(speaker)), wrong)
    )
    # A block reads all levels of all speakers, so that it takes more replicates to pay.
    rows = max(1, 8 * _CELLS_AT_ONCE // len(starts))
    for first in range(0, len(weights), rows):
        each = weights[first : first + rows].astype(np.float64)
        yield first, (each @ clips).astype(np.int32), (each @ errors).astype(np.int32)


def _merged(starts: Places, clips: int) -> Places:
    """Levels of confidence for replicates: of many clips about :data:`_MOST_LEVELS`, of equally many clips each."""
    if clips <= _MOST_CLIPS:
        return starts
    wanted = np.arange(_MOST_LEVELS) * clips // _MOST_LEVELS
    merged: Places = np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1])
    return merged
