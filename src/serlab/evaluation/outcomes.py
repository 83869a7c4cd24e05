"""From a prediction table to what every score is computed from: one K x K confusion matrix a seed and speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown
from serlab.evaluation.metrics import confusion
from serlab.tables import labels_of, logits_of


@dataclass(frozen=True)
class Outcomes:
    """Confusion counts by seed and speaker.

    Attributes:
        labels: the full label list, K long.
        speakers: every speaker, sorted.
        seeds: every seed, sorted.
        matrices: counts, shape (seeds, speakers, K, K).
    """

    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    seeds: tuple[int, ...]
    matrices: NDArray[np.int64]

    @property
    def by_seed(self) -> NDArray[np.int64]:
        """Counts pooled over speakers (and so over folds), shape (seeds, K, K)."""
        counts: NDArray[np.int64] = self.matrices.sum(axis=1)
        return counts


def predicted_of(table: pd.DataFrame) -> NDArray[np.object_]:
    """The label with the highest logit of each row; the first in column order where several tie."""
    labels = np.array(labels_of(table), dtype=object)
    predicted: NDArray[np.object_] = labels[logits_of(table).argmax(axis=1)]
    return predicted


def count_outcomes(table: pd.DataFrame, labels: Sequence[str]) -> Outcomes:
    """Count a prediction table's outcomes.

    Args:
        table: rows with ``speaker``, ``label``, ``seed`` and a logit a label; folds are pooled.
        labels: the full label list.

    Returns:
        One confusion matrix a seed and speaker.

    Raises:
        UserError: the table's classes are not the label list, or a clip has a label that is not in it.
    """
    check_labels(table, labels)
    index = {label: position for position, label in enumerate(labels)}
    truth = table["label"].map(index).to_numpy(np.int64)
    guess = np.array([index[label] for label in labels_of(table)])[logits_of(table).argmax(axis=1)]
    speaker, speakers = pd.factorize(table["speaker"], sort=True)
    seed, seeds = pd.factorize(table["seed"], sort=True)
    counts = confusion(
        truth, guess, len(labels), group=seed * len(speakers) + speaker, groups=len(seeds) * len(speakers)
    )
    shape = (len(seeds), len(speakers), len(labels), len(labels))
    return Outcomes(tuple(labels), tuple(map(str, speakers)), tuple(map(int, seeds)), counts.reshape(shape))


def check_labels(table: pd.DataFrame, labels: Sequence[str]) -> None:
    """Refuse a table whose classes are not the label list, or whose clips have a label outside it.

    Raises:
        UserError: naming the label and the nearest that exists.
    """
    classes = labels_of(table)
    for label in (*classes, *table["label"].unique()):
        if label not in labels:
            raise unknown("label", str(label), labels)
    missing = [label for label in labels if label not in classes]
    if missing:
        raise UserError(f"the predictions have no score for {', '.join(missing)}; every label needs its column.")
