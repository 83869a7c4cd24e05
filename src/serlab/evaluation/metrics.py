"""Confusion matrices, the scores computed from them, and the table of all scores, :data:`METRICS`.

Every score takes matrices of shape (..., K, K), rows the true label, columns the predicted one, and
works over all leading axes at once. K is always the full label list.

A label without a single true clip has no recall. UAR and macro-F1 are means over the labels that
have clips (as scikit-learn's ``balanced_accuracy_score``); :func:`absent` names the others, to be
shown beside every score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
        group: index of each clip's group (e.g. its speaker and seed), shape (clips,).
        groups: number of groups.

    Returns:
        Counts of shape (K, K), or (groups, K, K) if ``group`` is given.

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


@dataclass(frozen=True)
class Format:
    """How a score is written.

    Attributes:
        factor: what the score is multiplied by.
        digits: digits after the decimal point.
        unit: unit of a score, e.g. ``%``.
        points: unit of a difference of two scores, e.g. ``points``.
    """

    factor: float = 100
    digits: int = 1
    unit: str = "%"
    points: str = "points"

    def __call__(self, value: float, sign: str = "") -> str:
        """The number without its unit; ``sign="+"`` writes a plus before positive numbers; zero has no sign."""
        text = f"{self.factor * value:{sign}.{self.digits}f}"
        return text if text.strip("+-0.") else text.lstrip("+-")


PERCENT = Format()


def recalls(matrices: Counts) -> Scores:
    """One speaker's recall of each label, and what is missing to 1, shape (..., K, 2); zeros for a label without clips.

    Summed over speakers, a row's share is the mean recall of the speakers who spoke the label, each
    of whom counts alike, and its sum the number of them.
    """
    known = np.nan_to_num(recall(matrices))
    spoken = matrices.sum(axis=-1) > 0
    return np.stack([known, spoken - known], axis=-1)


def mean_recall(rows: Counts) -> Scores:
    """Mean over labels of the first entry's share in sums of :func:`recalls`, shape (...)."""
    whole = rows[..., 0] + rows[..., 1]
    return _mean_where(_ratio(rows[..., 0], whole), whole > 0)


def hits_and_errors(matrices: Counts) -> Counts:
    """Hits of each label and errors on its clips, shape (..., K, 2)."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.stack([hits, matrices.sum(axis=-1) - hits], axis=-1)


def share_of_hits(rows: Counts) -> Scores:
    """:func:`wa` from sums of :func:`hits_and_errors`, shape (...)."""
    right, wrong = (rows[..., place].sum(axis=-1) for place in (0, 1))
    return _ratio(right, right + wrong)


def hits_errors_and_false_alarms(matrices: Counts) -> Counts:
    """Hits of each label, errors on its clips, and other labels' clips that were given it, shape (..., K, 3)."""
    rows = hits_and_errors(matrices)
    return np.concatenate([rows, (matrices.sum(axis=-2) - rows[..., 0])[..., np.newaxis]], axis=-1)


def mean_f1(rows: Counts) -> Scores:
    """:func:`macro_f1` from sums of :func:`hits_errors_and_false_alarms`, shape (...)."""
    hits, errors, false_alarms = (rows[..., place] for place in range(3))
    clips = hits + errors
    return _mean_where(_ratio(2.0 * hits, clips + false_alarms + hits), clips > 0)


def whole_matrices(matrices: Counts) -> Counts:
    """The confusion matrices themselves: the statistics of a score of pooled counts."""
    return matrices


@dataclass(frozen=True)
class Metric:
    """One score, as the report, the terminal, the bootstrap, the tests and the planning use it.

    To add one, write its function and put it into :data:`METRICS`; nothing else names the scores.
    Cohen's kappa, say:

    >>> def kappa(matrices):
    ...     total = matrices.sum(axis=(-2, -1))
    ...     agreed = np.trace(matrices, axis1=-2, axis2=-1) / total
    ...     chance = (matrices.sum(axis=-1) * matrices.sum(axis=-2)).sum(axis=-1) / total**2
    ...     return (agreed - chance) / (1 - chance)
    >>> metric = Metric("kappa", "kappa", kappa, range=(-1, 1), format=Format(1, 2, "", ""))
    >>> metric.format(float(metric.score(np.array([[3, 1], [1, 3]]))))
    '0.50'

    Attributes:
        key: its key in ``report.json``.
        title: its name in a sentence.
        score: from summed statistics of shape (..., *S) to scores of shape (...); vectorised over
            all leading axes.
        range: least and greatest score; intervals and simulated differences stay within it.
        statistics: from one speaker's confusion matrices, shape (..., K, K), to what is summed over
            speakers before ``score``, shape (..., *S). If they have a row per label, the row's sum
            is the weight that the speaker has in this label: clips, say.
        average: what the score averages over. Few speakers for a label make a mean over ``labels``
            uncertain.
        format: how scores are written.
        smaller: the same score of smaller statistics, a few numbers per label instead of K; None if there is none.
    """

    key: str
    title: str
    score: Callable[[Counts], Scores]
    range: tuple[float, float] = (0.0, 1.0)
    statistics: Callable[[Counts], Counts] = whole_matrices
    average: Literal["labels", "clips"] = "labels"
    format: Format = PERCENT
    smaller: Metric | None = None

    @property
    def heading(self) -> str:
        """The title as it starts a sentence or heads a column."""
        return self.title[:1].upper() + self.title[1:]

    @property
    def width(self) -> float:
        """Width of the range: the largest difference of two scores."""
        return self.range[1] - self.range[0]


# Counts are whole numbers (halves in the swap test), so sums in any order are exact, and the smaller forms give the
# same scores to the last bit.
UAR = Metric("uar", "UAR", uar, smaller=Metric("uar", "UAR", mean_recall, statistics=hits_and_errors))
WA = Metric(
    "wa",
    "WA",
    wa,
    average="clips",
    smaller=Metric("wa", "WA", share_of_hits, average="clips", statistics=hits_and_errors),
)
MACRO_F1 = Metric(
    "macro_f1",
    "macro-F1",
    macro_f1,
    smaller=Metric("macro_f1", "macro-F1", mean_f1, statistics=hits_errors_and_false_alarms),
)
UAR_SPEAKERS = Metric("uar_speakers", "speaker-mean UAR", mean_recall, statistics=recalls)
METRICS = {metric.key: metric for metric in (UAR, WA, MACRO_F1, UAR_SPEAKERS)}
"""The scores that every comparison shows, by key, in the order that they are shown in."""


def recall_metrics(labels: Sequence[str], without: Sequence[str] = ()) -> dict[str, Metric]:
    """The recall of each label as a metric of its own, by label, but for labels ``without`` clips under a seed.

    Their statistics are :func:`hits_and_errors`, which are smaller than matrices of many labels.

    >>> found = recall_metrics(["angry", "sad"])
    >>> counts = hits_and_errors(np.array([[3, 1], [1, 2]]))
    >>> [round(float(metric.score(counts)), 2) for metric in found.values()]
    [0.75, 0.67]
    """

    def of(index: int) -> Callable[[Counts], Scores]:
        return lambda rows: _ratio(rows[..., index, 0], rows[..., index, 0] + rows[..., index, 1])

    return {
        label: Metric(f"recall of {label}", f"recall of {label}", of(index), statistics=hits_and_errors)
        for index, label in enumerate(labels)
        if label not in without
    }


def absent(matrices: Counts, labels: Sequence[str]) -> list[str]:
    """Labels without a true clip in any of the matrices: they are not part of UAR and macro-F1.

    >>> absent(np.array([[3, 1], [0, 0]]), ["angry", "sad"])
    ['sad']
    """
    has = np.asarray(_spoken(matrices, labels).any(axis=0))
    return [label for label, there in zip(labels, has, strict=True) if not there]


def partly_absent(matrices: Counts, labels: Sequence[str]) -> list[str]:
    """Labels with true clips in some of the matrices, which are not part of the others' UAR and macro-F1.

    >>> partly_absent(np.array([[[3, 1], [0, 0]], [[3, 1], [1, 3]]]), ["angry", "sad"])
    ['sad']
    """
    has = _spoken(matrices, labels)
    part = np.asarray(has.any(axis=0) & ~has.all(axis=0))
    return [label for label, there in zip(labels, part, strict=True) if there]


def _spoken(matrices: Counts, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Whether a label has true clips, shape (matrices, K)."""
    spoken: NDArray[np.bool_] = matrices.sum(axis=-1).reshape(-1, len(labels)) > 0
    return spoken


def _hits(matrices: Counts) -> Scores:
    return np.diagonal(matrices, axis1=-2, axis2=-1).astype(np.float64)


def _ratio(part: Counts, whole: Counts) -> Scores:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.true_divide(part, whole), np.float64)


def _mean_over_present(per_label: Scores, matrices: Counts) -> Scores:
    return _mean_where(per_label, matrices.sum(axis=-1) > 0)


def _mean_where(per_label: Scores, present: NDArray[np.bool_]) -> Scores:
    return _ratio(np.where(present, per_label, 0.0).sum(axis=-1), present.sum(axis=-1))
