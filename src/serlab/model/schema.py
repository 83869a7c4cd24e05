"""What has to stand in a model folder of serlab's: ``serlab.json``, and the arrays of classical models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.checkpoint import check_labels, shown
from serlab.core import UserError
from serlab.core.files import read_json
from serlab.recipes import Recipe, recipe_from_signature

FILE = "serlab.json"
FORMAT = 1
_POSITIVE = ("scale", "gamma", "penalty", "temperature")
"""Arrays that would turn the scores round, or make none, if they were 0 or negative."""
_WORDS: dict[type[Any], str] = {dict: "a section", list: "a list", str: "text"}


@dataclass(frozen=True)
class Content:
    """What ``serlab.json`` says.

    Attributes:
        recipe: what was trained.
        labels: names of the classes, in the order of the scores.
        signature: of the run.
    """

    recipe: Recipe
    labels: tuple[str, ...]
    signature: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check a folder's ``serlab.json``.

        Raises:
            UserError: the file is damaged, or of a later version.
        """
        path = folder / FILE
        data = read_json(path)
        if data.get("format", FORMAT) != FORMAT:
            raise UserError(
                f"{path} has format {shown(data['format'])}; this serlab reads {FORMAT}, so use the one that wrote it."
            )
        signature = _part(path, data, "signature", dict)
        labels = tuple(_part(path, data, "labels", list))
        check_labels(f"{path}: labels", labels)
        corpus = _part(path, signature, "corpus", dict)
        if list(labels) != corpus.get("labels"):
            raise UserError(f"{folder} is damaged: the labels of {FILE} are not those that the model was trained on.")
        recipe = _part(path, signature, "recipe", dict)
        for name, kind in (("name", str), ("title", str), ("config", dict)):
            _part(path, recipe, name, kind)
        if not isinstance(signature.get("weights_sha256") or "", str):
            raise UserError(f"{path}: weights_sha256 is {shown(signature['weights_sha256'])}; expected text.")
        return cls(recipe_from_signature(signature), labels, signature)


def check_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], axes: Mapping[str, str], labels: int) -> None:
    """Refuse arrays that do not fit one another, or are not finite.

    Args:
        folder: where they come from, for errors.
        arrays: by name.
        axes: the axes of each array, one letter an axis: ``K`` labels, ``P`` pairs of labels, others any length.
        labels: number of labels.
    """
    lengths = {"K": labels, "P": labels * (labels - 1) // 2}
    for name, array in arrays.items():
        if array.dtype not in (np.float64, np.int64):
            raise UserError(f"the weight {name} of {folder} is of type {array.dtype}; expected 64 bits.")
        if not np.isfinite(array).all():
            raise UserError(f"the weight {name} of {folder} holds values that are not finite; the model is damaged.")
        if name in _POSITIVE and (array <= 0).any():
            raise UserError(f"the weight {name} of {folder} is not above 0; the model is damaged.")
        if name == "layer" and (array.dtype != np.int64 or (array < 0).any()):
            raise UserError(f"the weight layer of {folder} is no number of a layer; the model is damaged.")
        if name not in axes:
            continue
        wanted = axes[name]
        shape = tuple(lengths.setdefault(axis, length) for axis, length in zip(wanted, array.shape, strict=False))
        if array.ndim != len(wanted) or shape != array.shape:
            raise UserError(
                f"the weight {name} of {folder} has the shape {array.shape}, which does not fit its {labels} labels or "
                "its other weights; copy or train it again."
            )


def _part(path: Path, data: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise UserError(f"{path} is damaged: {name} is {shown(value)}; expected {_WORDS[kind]}.")
    return value
