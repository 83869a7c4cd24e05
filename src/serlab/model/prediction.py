"""Predictions, and their conversion to tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Prediction:
    """The prediction for one clip.

    Attributes:
        label: the most probable label; None if the clip is silent, or if the model abstains.
        probabilities: of each label, in the model's order; empty if the clip is silent.
        path: the file; None for an array.
    """

    label: str | None
    probabilities: dict[str, float]
    path: str | None = None

    def data(self) -> dict[str, Any]:
        """The prediction as JSON-able data.

        >>> Prediction("sad", {"calm": 0.25, "sad": 0.75}, "a.wav").data()
        {'path': 'a.wav', 'label': 'sad', 'probabilities': {'calm': 0.25, 'sad': 0.75}}
        """
        return {"path": self.path, "label": self.label, "probabilities": self.probabilities}


def column_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Columns of a table of predictions.

    >>> column_names(["calm", "sad"])
    ('path', 'predicted', 'prob_calm', 'prob_sad')
    """
    return "path", "predicted", *(f"prob_{label}" for label in labels)


def to_frame(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """Convert predictions of one model to a table that :func:`serlab.evaluate` takes.

    Args:
        predictions: any number of predictions.

    Returns:
        One row per prediction, with the columns ``path``, ``predicted`` and ``prob_<label>``.
        Missing values are NaN.

    >>> to_frame([Prediction("sad", {"calm": 0.25, "sad": 0.75}, "a.wav")])
        path predicted  prob_calm  prob_sad
    0  a.wav       sad       0.25      0.75
    """
    import pandas as pd

    rows = list(predictions)
    labels = next((row.probabilities for row in rows if row.probabilities), {})
    columns: dict[str, list[Any]] = {"path": [row.path for row in rows], "predicted": [row.label for row in rows]}
    columns |= {f"prob_{label}": [row.probabilities.get(label, float("nan")) for row in rows] for label in labels}
    return pd.DataFrame(columns)
