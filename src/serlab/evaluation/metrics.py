"""Confusion matrices and the scores read from them.

Every score takes matrices of shape (..., K, K), rows the true label, columns the predicted one, and works over all
leading axes at once. K is always the full label list.

A label without a single true clip has no recall. UAR and macro-F1 are means over the labels that have clips (as
scikit-learn's ``balanced_accuracy_score``); :func:`absent` names the others, and whoever shows a score shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]
Scores = NDArray[np.float64]


def confusion(
    truth: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    classes: int,
    *,
    group: NDArray[np.integer[Any]] | None = None,
    groups: int = 1,
) -> NDArray[np.int64]:
    """Count (true, predicted) pairs.

    Args:
        truth: index of each clip's true label, shape (clips,).
        predicted: index of each clip's predicted label, shape (clips,).
        classes: length K of the full label list.
        group: index of each clip's group (a speaker, a speaker and seed), shape (clips,).
        groups: number of groups.

    Returns:
        Counts of shape (K, K), or (groups, K, K) where ``group`` is given.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cell = truth * classes + predicted
    if group is None:
        return np.bincount(cell, minlength=classes**2).reshape(classes, classes)
    cells = np.bincount(group * classes**2 + cell, minlength=groups * classes**2)
    return cells.reshape(groups, classes, classes)


def recall(matrices: Counts) -> Scores:
    """Recall of each label, shape (..., K); NaN for a label without clips."""
    return _ratio(_hits(matrices), matrices.sum(axis=-1))


def precision(matrices: Counts) -> Scores:
    """Precision of each label, shape (..., K); NaN for a label that was never predicted."""
    return _ratio(_hits(matrices), matrices.sum(axis=-2))


def f1(matrices: Counts) -> Scores:
    """F1 of each label, shape (..., K); NaN for a label that has no clips and was never predicted."""
    return _ratio(2.0 * _hits(matrices), matrices.sum(axis=-1) + matrices.sum(axis=-2))


def uar(matrices: Counts) -> Scores:
    """Unweighted average recall over the labels that have clips, shape (...); NaN without any clip."""
    return _mean_over_present(recall(matrices), matrices)


def wa(matrices: Counts) -> Scores:
    """Weighted accuracy (the share of clips that are right), shape (...); NaN without any clip."""
    return _ratio(_hits(matrices).sum(axis=-1), matrices.sum(axis=(-2, -1)))


def macro_f1(matrices: Counts) -> Scores:
    """F1 averaged over the labels that have clips, shape (...); NaN without any clip."""
    return _mean_over_present(f1(matrices), matrices)


METRICS: Mapping[str, Callable[[Counts], Scores]] = {"uar": uar, "wa": wa, "macro_f1": macro_f1}
"""The scores that every comparison shows, by the name they carry in ``report.json``."""


def absent(matrices: Counts, labels: Sequence[str]) -> list[str]:
    """Labels that lack a true clip in one of the matrices at least: they are not part of its UAR and macro-F1.

    >>> absent(np.array([[3, 1], [0, 0]]), ["angry", "sad"])
    ['sad']
    """
    support = matrices.sum(axis=-1).reshape(-1, len(labels)).min(axis=0)
    return [label for label, clips in zip(labels, support, strict=True) if not clips]


def _hits(matrices: Counts) -> Scores:
    return np.diagonal(matrices, axis1=-2, axis2=-1).astype(np.float64)


def _ratio(part: Counts, whole: Counts) -> Scores:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.true_divide(part, whole), np.float64)


def _mean_over_present(per_label: Scores, matrices: Counts) -> Scores:
    present = matrices.sum(axis=-1) > 0
    return _ratio(np.where(present, per_label, 0.0).sum(axis=-1), present.sum(axis=-1))
