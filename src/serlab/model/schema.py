"""The schema of ``serlab.json``, the description in a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from serlab.checkpoints.checks import check_labels, shown
from serlab.core import UserError
from serlab.core.files import read_json
from serlab.recipes import Recipe, recipe_from_signature

FILE = "serlab.json"
HEARD = "heard.json"
"""Recordings without labels that a model, or something behind it, has heard."""

FORMAT = 1
_WORDS: dict[type[Any], str] = {dict: "a section", list: "a list", str: "text"}


@dataclass(frozen=True)
class Content:
    """Content of ``serlab.json``.

    Attributes:
        recipe: the recipe.
        labels: names of the classes, in the order of the scores.
        signature: of the run.
        tested: the model's own tested UAR; None if unknown.
        inputs: what is stored about its training clips; None in folders of older versions.
    """

    recipe: Recipe
    labels: tuple[str, ...]
    signature: dict[str, Any]
    tested: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check a folder's ``serlab.json``.

        Raises:
            UserError: the file is damaged or of a later version.
        """
        path = folder / FILE
        data = read_json(path)
        if data.get("format", FORMAT) != FORMAT:
            raise UserError(
                f"{path} has format {shown(data['format'])}; this version of serlab reads {FORMAT}; use the version "
                "that wrote it."
            )
        signature = _part(path, data, "signature", dict)
        labels = tuple(_part(path, data, "labels", list))
        check_labels(f"{path}: labels", labels)
        corpus = _part(path, signature, "corpus", dict)
        if list(labels) != corpus.get("labels"):
            raise UserError(f"{folder} is damaged: the labels in {FILE} are not those that the model was trained with.")
        recipe = _part(path, signature, "recipe", dict)
        for name, kind in (("name", str), ("title", str), ("config", dict)):
            _part(path, recipe, name, kind)
        if not isinstance(signature.get("weights_sha256") or "", str):
            raise UserError(f"{path}: weights_sha256 is {shown(signature['weights_sha256'])}; expected text.")
        tested, inputs = (_part(path, data, name, dict) if name in data else None for name in ("tested", "inputs"))
        return cls(recipe_from_signature(signature), labels, signature, tested, inputs)


def _part(path: Path, data: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise UserError(f"{path} is damaged: {name} is {shown(value)}; expected {_WORDS[kind]}.")
    return value
