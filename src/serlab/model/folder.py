"""Model folders: configuration, safetensors, preprocessor, labels, signature and model card; nothing is pickled.

``serlab.json`` holds the labels and the signature, which contains the recipe. Folders without it
are read as plain transformers audio-classification checkpoints. The files of both are checked for
consistency before anything is built, and a loaded model must score one second of audio before it is
returned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from serlab import approaches
from serlab.approaches.base import Fitted, Saved
from serlab.checkpoints.checks import check_scores, trial_sound
from serlab.checkpoints.weights import loading
from serlab.core import UserError, argument
from serlab.core.files import read_json, write_json, write_text, writing_folder
from serlab.core.precision import check_precision
from serlab.evaluation.reliance import Reliance
from serlab.model.inputs import FILE as ARRAYS
from serlab.model.inputs import Inputs
from serlab.model.schema import FILE, FORMAT, HEARD, Content


def save(
    fitted: Fitted,
    folder: Path,
    signature: dict[str, Any],
    card: str,
    *,
    inputs: Inputs | None = None,
    tested: dict[str, Any] | None = None,
    speech: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a model folder atomically.

    Args:
        fitted: the trained model.
        folder: the model folder; an older one is replaced.
        signature: the run's signature, which contains the recipe.
        card: the model card, in Markdown.
        inputs: the training clips.
        tested: the model's own tested UAR.
        speech: recordings without labels that something behind the model has heard, as in an
            encoder folder.
    """
    with writing_folder(folder) as temporary:
        fitted.save(temporary)
        content = {
            "format": FORMAT,
            "labels": list(fitted.labels),
            "needs_serlab": fitted.needs_serlab,
            "signature": signature,
        }
        content |= {"tested": tested} if tested else {}
        if inputs is not None:
            inputs.save(temporary)
            content["inputs"] = inputs.data()
        write_json(temporary / FILE, content)
        if speech:
            write_json(temporary / HEARD, {"format": FORMAT, "speech": list(map(_unnamed, speech))})
        write_text(temporary / "README.md", card)


def _unnamed(speech: Mapping[str, Any]) -> dict[str, Any]:
    """Speech without the names of recordings, which may be private, unless it is a known corpus with speakers."""
    if speech["speakers"] is not None:
        return dict(speech)
    hashes = sorted({*speech["sha256"].values()})
    return {**speech, "sha256": {f"recording {number}": sha256 for number, sha256 in enumerate(hashes, 1)}}


def load(folder: Path | str, precision: str = "auto") -> Fitted:
    """Load a model folder, serlab's or plain transformers'.

    Args:
        folder: the folder.
        precision: ``auto``, ``fp32``, ``bf16`` or (speech encoders) ``int8``.

    Raises:
        UserError: the folder is not a model, is damaged, lacks a weight, or cannot predict in int8.
    """
    check_precision(precision)
    folder = Path(folder)
    try:
        with loading(folder):
            fitted = _loaded(folder, precision)
            _try_out(fitted, folder)
    except UserError as error:
        # Errors about a recipe or its arrays do not name the folder.
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder} is damaged: {error}") from error
    return fitted


def _loaded(folder: Path, precision: str) -> Fitted:
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder}.")
    # A link whose target was not fetched also counts: the folder is still a serlab model.
    if os.path.lexists(folder / FILE):
        return _own(folder, precision)
    if (folder / "config.json").is_file():
        from serlab.approaches import plain

        return plain.load(folder, precision)
    raise UserError(f"{folder} is not a model folder: it has neither {FILE} nor config.json.")


def _own(folder: Path, precision: str) -> Fitted:
    content = Content.read(folder)
    recipe = content.recipe
    approach = approaches.get(recipe.model.kind)
    if precision == "int8" and not approach.supports.int8:
        raise UserError(
            f"int8 needs a fine-tuned speech encoder; {folder} is {approach.titles[0]}; use "
            f"{argument('precision', 'fp32')}."
        )
    weights = content.signature.get("weights_sha256") or ""
    saved = Saved(folder, content.labels, precision, recipe.training.features, weights)
    return approach.load(recipe.model, saved)


def _try_out(fitted: Fitted, folder: Path) -> None:
    """Score one second of audio, to find inconsistent parts before the first clip."""
    with np.errstate(all="ignore"):
        scores = fitted.logits([fitted.frontend(trial_sound())])
    check_scores(folder, scores, len(fitted.labels))


def load_reliance(folder: Path, wanted: str) -> Reliance:
    """Temperature and abstention thresholds of the model in a folder.

    Args:
        folder: the folder.
        wanted: the argument that needs them, for errors.

    Raises:
        UserError: the folder has none, or is damaged.
    """
    try:
        content = read_json(folder / FILE) if (folder / FILE).is_file() else {}
        return Reliance.of(content["signature"]["training"]["reliance"])
    except (ValueError, KeyError, TypeError) as error:
        lacks = "does not say when to abstain" if wanted == "abstain" else "has no temperature"
        raise UserError(
            f"{folder} {lacks}, which training finds on a dev subset; use a model that this version of serlab trained "
            f"on a fold or with {argument('quote')}, or omit {argument(wanted)}."
        ) from error


def load_inputs(folder: Path) -> Inputs | None:
    """What is stored about the training clips of the model in a folder; None in folders of older versions.

    Raises:
        UserError: the folder is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    found = Content.read(folder).inputs
    try:
        return None if found is None else Inputs.read(folder, found)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder} is damaged: what it says about its training clips is incomplete ({FILE}, {ARRAYS}); copy the "
            "whole folder again."
        ) from error
