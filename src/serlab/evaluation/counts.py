"""From a prediction table to what every score is computed from: confusion matrices by seed, fold and speaker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown
from serlab.evaluation.metrics import Counts, Metric, confusion
from serlab.tables.predictions import PREDICTED, labels_of, logits_of, truth_of

LEAST_SHARED = 0.5
"""The least share of clips on which seeds, or two tables, are compared."""

_Number = TypeVar("_Number", bound=np.number[Any])

Names = Mapping[int, int | str | None]
"""What the user calls folds or seeds, by the number that rows have; None for rows that name none."""


@dataclass(frozen=True)
class SpeakerCounts:
    """Confusion counts by seed, and by cell (one speaker in one fold): the sufficient statistics of every score.

    Attributes:
        labels: the full label list, K long.
        speakers: every speaker, sorted.
        folds: every fold, sorted.
        seeds: every seed, sorted.
        matrices: counts, shape (seeds, cells, K, K).
        speaker: index of each cell's speaker, shape (cells,).
        fold: index of each cell's fold, shape (cells,).
    """

    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    matrices: NDArray[np.int64]
    speaker: NDArray[np.int64]
    fold: NDArray[np.int64]

    @property
    def by_seed(self) -> NDArray[np.int64]:
        """Counts pooled over speakers and folds, shape (seeds, K, K)."""
        counts: NDArray[np.int64] = self.matrices.sum(axis=1)
        return counts

    @cached_property
    def by_speaker(self) -> NDArray[np.int64]:
        """Counts pooled over each speaker's folds, shape (seeds, speakers, K, K)."""
        return _pooled(self.matrices, self.speaker, len(self.speakers))

    def of_speakers(self, metric: Metric) -> NDArray[np.float64]:
        """A metric's statistics of each speaker, shape (seeds, speakers, *S); computed once and read-only."""
        found = self._of_speakers.get(metric.statistics)
        if found is None:
            found = metric.statistics(self.by_speaker).astype(np.float64)
            found.flags.writeable = False
            self._of_speakers[metric.statistics] = found
        return found

    @cached_property
    def _of_speakers(self) -> dict[Callable[[Counts], Counts], NDArray[np.float64]]:
        """By function: the recalls of many labels share their statistics."""
        return {}

    def of_folds(self, metric: Metric) -> NDArray[np.float64]:
        """A metric's statistics summed over each fold's speakers, shape (seeds, folds, *S)."""
        return _pooled(metric.statistics(self.matrices).astype(np.float64), self.fold, len(self.folds))

    def scores(self, metric: Metric) -> NDArray[np.float64]:
        """Each seed's score, shape (seeds,)."""
        return metric.score(self.of_speakers(metric).sum(axis=1))

    @cached_property
    def seeds_comparable(self) -> bool:
        """Whether all seeds judged the same clips, so that how far they lie apart is due to training again."""
        clips = self.by_speaker.sum(axis=-1)
        return bool((clips == clips[:1]).all())

    @cached_property
    def same_folds(self) -> bool:
        """Whether each clip is in the same fold under all seeds."""
        clips = self.matrices.sum(axis=-1)
        return bool((clips == clips[:1]).all())


def judged_by_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of clips that every seed judged, so that seeds differ by training alone."""
    kept: pd.DataFrame = rows[rows.groupby("clip")["seed"].transform("nunique") == rows["seed"].nunique()]
    return kept


def comparable_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out the clips that not every seed judged, and count them.

    If that left less than half of the clips, all rows stay: they are then about different clips under each seed, and
    :attr:`SpeakerCounts.seeds_comparable` is False.

    Args:
        rows: with ``clip`` and ``seed``.
    """
    kept = judged_by_all(rows)
    clips, left = rows["clip"].nunique(), kept["clip"].nunique()
    return (kept.reset_index(drop=True), clips - left) if left >= LEAST_SHARED * clips else (rows, 0)


def predicted_of(table: pd.DataFrame) -> NDArray[np.object_]:
    """The label with the highest logit of each row (the first in column order in a tie), or ``predicted``.

    Args:
        table: rows with a logit per label, or with ``predicted`` alone.
    """
    labels = np.array(labels_of(table), dtype=object)
    scored = len(labels) > 0
    predicted: NDArray[np.object_] = (
        labels[logits_of(table).argmax(axis=1)] if scored else table[PREDICTED].to_numpy(object)
    )
    return predicted


def ties_of(table: pd.DataFrame) -> int:
    """Rows whose highest logit is that of several labels; their prediction is the first of these by column."""
    if not labels_of(table):
        return 0
    logits = logits_of(table)
    return int(((logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def count_by_speaker(table: pd.DataFrame, labels: Sequence[str]) -> SpeakerCounts:
    """Count a prediction table's right and wrong answers.

    Args:
        table: rows with ``speaker``, ``label``, ``fold``, ``seed`` and a logit per label, or
            ``predicted`` alone.
        labels: the full label list.

    Returns:
        One confusion matrix per seed, fold and speaker.

    Raises:
        UserError: the table's classes are not the label list, or a clip has a label that is not in
            it.
    """
    check_labels(table, labels)
    index = {label: position for position, label in enumerate(labels)}
    truth = truth_of(table, labels)
    guess = np.array([index[label] for label in predicted_of(table)], np.int64)
    speaker, speakers = pd.factorize(table["speaker"], sort=True)
    fold, folds = pd.factorize(table["fold"], sort=True)
    seed, seeds = pd.factorize(table["seed"], sort=True)
    cell, cells = pd.factorize(speaker * len(folds) + fold, sort=True)
    counts = confusion(truth, guess, len(labels), group=seed * len(cells) + cell, groups=len(seeds) * len(cells))
    return SpeakerCounts(
        labels=tuple(labels),
        speakers=tuple(map(str, speakers)),
        folds=tuple(map(int, folds)),
        seeds=tuple(map(int, seeds)),
        matrices=counts.reshape(len(seeds), len(cells), len(labels), len(labels)),
        speaker=np.asarray(cells, np.int64) // max(1, len(folds)),
        fold=np.asarray(cells, np.int64) % max(1, len(folds)),
    )


def check_labels(table: pd.DataFrame, labels: Sequence[str], name: str = "the predictions") -> None:
    """Check that a table scores exactly the label list and that its clips have labels of it.

    Args:
        table: rows with ``label`` and a logit per label, or ``predicted`` alone.
        labels: the full label list.
        name: what to call the table in the error.

    Raises:
        UserError: naming the label and the nearest that exists.
    """
    classes = labels_of(table)
    said = classes or table[PREDICTED].unique()
    for label in (*said, *table["label"].unique()):
        if label not in labels:
            raise UserError(f"{name}: {unknown('label', str(label), labels)}")
    missing = [label for label in labels if label not in classes]
    if classes and missing:
        raise UserError(f"{name} has no score for {', '.join(missing)}; every label needs its column.")


def _pooled(values: NDArray[_Number], group: NDArray[np.int64], groups: int) -> NDArray[_Number]:
    """Sums over the members of each group, shape (seeds, groups, ...), of values of shape (seeds, members, ...)."""
    pooled = np.zeros((groups, len(values), *values.shape[2:]), values.dtype)
    np.add.at(pooled, group, values.swapaxes(0, 1))
    return pooled.swapaxes(0, 1)
