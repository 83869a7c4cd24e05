"""What each speaker contributes to a score, and the standard error and degrees of freedom that follow.

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

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.int64] | NDArray[np.float64]
Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]

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


def influences(terms: Sequence[Matrices], score: Score) -> NDArray[np.float64]:
    """Each speaker's influence on a score, by true label.

    Args:
        terms: confusion counts of one recipe, or of two whose difference is meant, each of shape
            (seeds, speakers, K, K).
        score: matrices of shape (..., K, K) to scores of shape (...).

    Returns:
        Shape (speakers, K), means over seeds. A column sums to zero for scores that average over
        labels; the whole sums to zero for every score.
    """
    parts = []
    for term in terms:
        slopes = _gradient(score, term.sum(axis=1).astype(np.float64))
        parts.append(np.einsum("sij,scij->ci", slopes, term) / len(term))
    signed: NDArray[np.float64] = parts[0] if len(parts) == 1 else parts[0] - parts[1]
    return signed


def standard_error(terms: Sequence[Matrices], score: Score, *, by_label: bool) -> StandardError | None:
    """Standard error and degrees of freedom of a score, or of a difference, over speakers.

    Args:
        terms: as for :func:`influences`; all terms and seeds judge the same clips.
        score: as for :func:`influences`.
        by_label: whether the score averages over labels, as UAR does, or over clips, as WA does.

    Returns:
        None if one speaker spoke all clips of a label (``by_label``), or all clips.
    """
    influence = influences(terms, score)
    clips = terms[0][0].sum(axis=-1).astype(np.float64)
    if not by_label:
        influence, clips = influence.sum(axis=1, keepdims=True), clips.sum(axis=1, keepdims=True)
    total = clips.sum(axis=0)
    present = total > 0
    influence, clips, total = influence[:, present], clips[:, present], total[present]
    share = clips / total
    if (share == 1).any():
        return None
    inflation = 1 / np.sqrt(1 - share)
    error = np.sqrt(((influence * inflation).sum(axis=1) ** 2).sum())
    return StandardError(float(error), _freedom(clips, total, inflation))


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


def _gradient(score: Score, pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Central differences of a score at matrices of shape (seeds, K, K), of the same shape.

    The row of a label without clips is zero: no speaker has a clip there.
    """
    labels = pooled.shape[-1]
    steps = _STEP * np.eye(labels * labels).reshape(-1, labels, labels)
    moved = pooled[:, None]
    slopes = (score(moved + steps) - score(moved - steps)) / (2 * _STEP)
    return np.where(pooled.sum(axis=-1, keepdims=True) > 0, slopes.reshape(pooled.shape), 0.0)
