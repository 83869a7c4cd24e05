"""Base of classical models: fitted state as plain arrays, standardisation, checks, logistic regression.

scikit-learn fits the models; prediction only uses numpy, in float64. Logits are natural-log scores
whose softmax is the model's probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from serlab.checkpoints.weights import WEIGHTS, read_safetensors
from serlab.core import UserError

Floats = NDArray[np.floating[Any]]
Array = NDArray[np.float64]
Targets = NDArray[np.integer[Any]]


_POSITIVE = ("scale", "gamma", "penalty", "temperature")
"""Arrays whose values must be above 0, because other values would reverse or destroy the scores."""


@dataclass(frozen=True, eq=False)
class FittedArrays:
    """A fitted model whose fields are arrays, single numbers as arrays of shape ().

    Attributes:
        AXES: the axes of each array, one letter per axis: ``K`` labels, ``P`` pairs of labels,
            other letters any length.
    """

    AXES: ClassVar[Mapping[str, str]]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole fitted state, by name."""
        return {field.name: np.array(getattr(self, field.name), order="C") for field in fields(self)}

    def save(self, folder: Path) -> None:
        """Write the arrays into a model folder."""
        save_file(self.arrays(), folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path, labels: int) -> Self:
        """Read and check the arrays of a model folder.

        Args:
            folder: the folder.
            labels: number of labels.

        Raises:
            UserError: (inside :func:`serlab.checkpoints.weights.loading`) an array is missing or
                has the wrong shape.
        """
        arrays = read_safetensors(folder / WEIGHTS, load_file)
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in arrays]:
            raise UserError(f"{folder} lacks the weight {missing[0]}; train the model again or copy the whole folder.")
        if extra := sorted(arrays.keys() - set(names)):
            raise UserError(
                f"{folder} has the weight {extra[0]}, which its recipe does not expect; copy or train it again."
            )
        _check_arrays(folder, arrays, cls.AXES, labels)
        return cls(**arrays)


def _check_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], axes: Mapping[str, str], labels: int) -> None:
    """Refuse arrays whose shapes do not fit together, or that are not finite."""
    lengths = {"K": labels, "P": labels * (labels - 1) // 2}
    for name, array in arrays.items():
        if array.dtype not in (np.float64, np.int64):
            raise UserError(f"the weight {name} of {folder} is of type {array.dtype}; expected 64 bits.")
        if not np.isfinite(array).all():
            raise UserError(f"the weight {name} of {folder} holds values that are not finite; the model is damaged.")
        if name in _POSITIVE and (array <= 0).any():
            raise UserError(f"the weight {name} of {folder} is not above 0; the model is damaged.")
        if name == "layer" and (array.dtype != np.int64 or (array < 0).any()):
            raise UserError(f"the weight layer of {folder} is not the number of a layer; the model is damaged.")
        wanted = axes[name]
        shape = tuple(lengths.setdefault(axis, length) for axis, length in zip(wanted, array.shape, strict=False))
        if array.ndim != len(wanted) or shape != array.shape:
            raise UserError(
                f"the weight {name} of {folder} has the shape {array.shape}, which does not fit its {labels} labels or "
                "its other weights; copy or train it again."
            )


def check_width(features: Floats, like: Floats) -> None:
    """Refuse features of another shape per clip than ``like``, or that are not finite."""
    if features.shape[1:] != like.shape:
        raise UserError(
            f"the model takes features of shape {like.shape} per clip, got {features.shape[1:]}; use the front end "
            "that it was trained with."
        )
    check_finite(features)


def check_finite(features: Floats) -> None:
    """Refuse features that are not finite; the first axis is clips."""
    bad = np.flatnonzero(~np.isfinite(features).all(axis=tuple(range(1, features.ndim))))
    if bad.size:
        raise UserError(f"a feature of clip number {bad[0] + 1} of {len(features)} is not finite; exclude the clip.")


def statistics(features: Floats) -> tuple[Array, Array]:
    """Mean and standard deviation over clips, float64; the deviation of a constant column is 1."""
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    # A constant column's deviation is rounding noise, or 0.
    return mean, np.where(scale > 1e-9 * np.maximum(1.0, np.abs(mean)), scale, 1.0)


def logistic_path(
    inputs: Floats, targets: Targets, n_labels: int, penalties: Sequence[float]
) -> list[tuple[Array, Array]]:
    """Weights (d, K) and biases (K,) of multinomial logistic regressions, each started from the one before."""
    from sklearn.linear_model import LogisticRegression

    # Ten times tighter than the default, with which probabilities vary by .01 with the start.
    model = LogisticRegression(warm_start=True, max_iter=2000, tol=1e-5)
    path = []
    for penalty in penalties:
        model.set_params(C=penalty).fit(inputs, targets)
        weight, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        if n_labels == 2:
            weight, bias = weight * [-0.5, 0.5], bias * [-0.5, 0.5]
        path.append((weight, bias))
    return path
