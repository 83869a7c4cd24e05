"""How far a clip is from the training clips in the model's own feature space.

Mahalanobis distance (Lee et al. 2018, arXiv:1807.03888, with one Gaussian for all labels) of the
embeddings. The covariance is shrunk (Ledoit, Wolf 2004, doi:10.1016/S0047-259X(03)00096-4), so it
can be inverted with fewer clips than dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.classical import Array, Floats, statistics

FALSE_ALARMS = 0.05
"""Share of clips of unseen speakers that may be beyond the threshold."""

_FOLDS = 5
_FEWEST_CLIPS = 20
# Variance, of 1, that every direction has at least; shrinkage leaves none if all clips are the same.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Distance:
    """A Gaussian of training embeddings, and the distance beyond which a clip is unlike them.

    Attributes:
        mean: of the embeddings, shape (dims,).
        scale: their standard deviation, 1 instead of 0, shape (dims,).
        precision: inverse of their shrunk correlation, shape (dims, dims).
        threshold: quantile of the distances of clips of speakers who are not among the training
            clips, so that :data:`FALSE_ALARMS` of them are beyond it.
        false_alarms: share of these clips beyond thresholds from the other speakers alone; None
            with fewer than two speakers.
        speakers: number of these speakers; None if unknown.
    """

    mean: Array
    scale: Array
    precision: Array
    threshold: float
    false_alarms: float | None
    speakers: int | None

    @classmethod
    def fit(
        cls,
        train: Floats,
        speakers: Sequence[str],
        dev: Floats | None = None,
        dev_speakers: Sequence[str] = (),
    ) -> Self | None:
        """Fit on training embeddings; the threshold comes from dev or, without dev, from held-out training speakers.

        Args:
            train: embeddings, shape (clips, dims).
            speakers: of the training clips; empty if unknown.
            dev: embeddings of dev clips, shape (clips, dims).
            dev_speakers: their speakers.

        Returns:
            None if there are too few clips or, without dev, fewer than two speakers.
        """
        if dev is None:
            far, who = _held_out(train, np.asarray(speakers, dtype=str))
        else:
            who = np.asarray(dev_speakers, dtype=str)
            far = _far(dev, *_gaussian(train)) if len(train) >= _FEWEST_CLIPS else np.zeros(0)
        if len(far) < _FEWEST_CLIPS:
            return None
        known = len(set(who)) if all(who) else 0
        rate = _rate_of_others(far, who) if known > 1 else None
        return cls(*_gaussian(train), float(np.quantile(far, 1 - FALSE_ALARMS)), rate, known or None)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> Self:
        """From what :meth:`arrays` and :meth:`numbers` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        mean, scale, precision = (np.asarray(arrays[name], np.float64) for name in ("mean", "scale", "precision"))
        width = len(mean)
        if mean.shape != (width,) or scale.shape != (width,) or precision.shape != (width, width):
            raise ValueError("the shapes do not fit together")
        if not all(np.isfinite(part).all() for part in (mean, scale, precision)) or (scale <= 0).any():
            raise ValueError("a value is not finite")
        rate, speakers = numbers["false_alarms"], numbers["speakers"]
        return cls(mean, scale, precision, float(numbers["threshold"]), rate, speakers)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays, in single precision."""
        return {name: np.ascontiguousarray(getattr(self, name), np.float32) for name in ("mean", "scale", "precision")}

    def numbers(self) -> dict[str, Any]:
        """The rest, as JSON-able data."""
        return {name: getattr(self, name) for name in ("threshold", "false_alarms", "speakers")}

    def far(self, embeddings: Floats) -> Array:
        """Distances, shape (clips,), of embeddings (clips, dims); divided by the root of dims, so about 1 is usual."""
        return _far(embeddings, self.mean, self.scale, self.precision)


def _gaussian(embeddings: Floats) -> tuple[Array, Array, Array]:
    from sklearn.covariance import ledoit_wolf

    mean, scale = statistics(embeddings)
    shrunk, _ = ledoit_wolf((embeddings - mean) / scale, assume_centered=True)
    return mean, scale, np.linalg.inv(shrunk + _LEAST * np.eye(len(mean)))


def _far(embeddings: Floats, mean: Array, scale: Array, precision: Array) -> Array:
    apart = (embeddings - mean) / scale
    squares = np.einsum("nd,nd->n", apart @ precision, apart)
    far: Array = np.sqrt(np.maximum(squares, 0) / len(mean))
    return far


def _held_out(train: Floats, speakers: NDArray[np.str_]) -> tuple[Array, NDArray[np.str_]]:
    """Distances of each speaker's clips from those of the speakers of other folds."""
    names = sorted(set(speakers))
    if len(names) < 2 or not all(names) or len(train) < 2 * _FEWEST_CLIPS:
        return np.zeros(0), speakers
    fold = np.array([names.index(name) % min(_FOLDS, len(names)) for name in speakers])
    far = np.zeros(len(train))
    for number in range(fold.max() + 1):
        held = fold == number
        far[held] = _far(train[held], *_gaussian(train[~held]))
    return far, speakers


def _rate_of_others(far: Array, speakers: NDArray[np.str_]) -> float:
    """Share of clips beyond the threshold that the clips of all other speakers give."""
    beyond = [
        far[speakers == name] > np.quantile(far[speakers != name], 1 - FALSE_ALARMS) for name in sorted(set(speakers))
    ]
    return float(np.concatenate(beyond).mean())
