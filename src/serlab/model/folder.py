"""Model folders: configuration, safetensors, preprocessor, labels, signature and model card; nothing pickled.

``serlab.json`` holds labels and signature (and in it the recipe). A folder without it is taken for a plain transformers
audio-classification checkpoint. Either is checked against what it says of itself before anything is built, and scores
a second of sound before it is handed on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from serlab.approaches import encoder, plain, resnet, stored
from serlab.approaches.int8 import quantise
from serlab.approaches.network import Network
from serlab.approaches.probe import Probe
from serlab.approaches.svm import RegressedSupportVectorClassifier, SupportVectorClassifier, SupportVectors
from serlab.approaches.weights import loading, quiet
from serlab.core import UserError
from serlab.core.files import read_json, unwritable, write_json, write_text
from serlab.core.precision import Precision, device, resolve
from serlab.evaluation.reliance import Reliance
from serlab.frontends.base import rounded
from serlab.frontends.functionals import Egemaps, MfccStatistics
from serlab.model.classifier import (
    Classifier,
    NetworkClassifier,
    PooledStates,
    ProbeClassifier,
    SvmClassifier,
    try_out,
)
from serlab.model.schema import FILE, FORMAT, Content, check_arrays
from serlab.recipes import EncoderModel, ProbeModel, ResNetModel, SvmModel

Fitted = TypeVar("Fitted", Probe, SupportVectors)

_MACHINE = {
    "mean": "d", "scale": "d", "support": "sd", "dual": "sP", "offset": "P",
    "penalty": "", "gamma": "", "inner_uar": "",
}  # fmt: skip
_AXES: dict[type, Mapping[str, str]] = {
    Probe: {"mean": "d", "scale": "d", "weight": "dK", "bias": "K", "layer": "", "penalty": "", "dev_uar": ""},
    SupportVectorClassifier: {**_MACHINE, "temperature": "", "calibrated": ""},
    RegressedSupportVectorClassifier: {**_MACHINE, "weight": "PK", "bias": "K"},
}
"""The axes of a classical model's arrays: d features, s support vectors, K labels, P pairs of labels."""


def save(classifier: Classifier, folder: Path, signature: dict[str, Any], card: str) -> None:
    """Write a model folder, whole or not at all.

    Args:
        classifier: the trained model.
        folder: where; an older folder is replaced.
        signature: the run's signature, which holds the recipe.
        card: the model card, in Markdown.
    """
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        with quiet():
            classifier.save(temporary)
        content = {
            "format": FORMAT,
            "labels": list(classifier.labels),
            "needs_serlab": classifier.needs_serlab,
            "signature": signature,
        }
        write_json(temporary / FILE, content)
        write_text(temporary / "README.md", card)
        for path in temporary.rglob("*.*"):
            path.chmod(0o644)  # Safetensors keeps its files from everybody else.
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path | str, precision: str = "auto") -> Classifier:
    """Load a model folder, serlab's or plain transformers'.

    Args:
        folder: the folder.
        precision: ``auto``, ``fp32``, ``bf16`` or (speech encoders) ``int8``.

    Raises:
        UserError: the folder is no model, is damaged, lacks a weight, or is nothing that int8 is for.
    """
    folder, chosen = Path(folder), resolve(precision)
    try:
        with loading(folder):
            classifier = _loaded(folder, chosen)
            try_out(classifier, folder)
    except UserError as error:
        # What a recipe or its arrays say of themselves does not name the folder that they stand in.
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder} is damaged: {error}") from error
    return classifier


def _loaded(folder: Path, chosen: Precision) -> Classifier:
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder}.")
    # A link whose target was not fetched is no reason to take the folder for one of another kind.
    if os.path.lexists(folder / FILE):
        return _own(folder, Content.read(folder), chosen)
    if (folder / "config.json").is_file():
        return _ready(*plain.from_folder(folder), chosen)
    raise UserError(f"{folder} is not a model folder: it has neither {FILE} nor config.json.")


def load_reliance(folder: Path) -> Reliance:
    """When the model of a folder should say that it cannot tell.

    Raises:
        UserError: the folder does not say, or is damaged.
    """
    try:
        content = read_json(folder / FILE) if (folder / FILE).is_file() else {}
        return Reliance.of(content["signature"]["training"]["reliance"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say when to abstain; train the model with this version of serlab, or leave --abstain."
        ) from error


def _own(folder: Path, content: Content, chosen: Precision) -> Classifier:
    recipe, labels = content.recipe, content.labels
    model = recipe.model
    if chosen == "int8" and not isinstance(model, EncoderModel):
        raise UserError(f"int8 is for fine-tuned speech encoders, and {folder} is none; use --precision fp32.")
    if isinstance(model, SvmModel):
        machine = _fitted(support_vectors(model), folder, labels)
        return SvmClassifier(machine, functionals(model), labels)
    if isinstance(model, ProbeModel):
        probe = _fitted(Probe, folder, labels)
        frozen = encoder.from_folder(folder / "encoder", EncoderModel(checkpoint="own"), chosen)
        weights = content.signature.get("weights_sha256") or ""
        return ProbeClassifier(probe, PooledStates(frozen, weights_sha256=weights, precision=chosen), labels)
    if isinstance(model, ResNetModel):
        network: Network = resnet.from_folder(folder, model, labels)
    else:
        speech = network = encoder.from_folder(folder, model, chosen)
        if speech.labels != labels:
            raise UserError(f"{folder} is damaged: the labels of config.json are not those of {FILE}.")
    network.frontend = rounded(network.frontend, recipe.training.features)
    return _ready(network, labels, chosen)


def _ready(network: Network, labels: tuple[str, ...], precision: Precision) -> NetworkClassifier:
    classifier = NetworkClassifier(network.to(device()), labels, precision)
    if precision == "int8" and isinstance(network, (encoder.SpeechEncoder, plain.PlainClassifier)):
        quantise(network)
    return classifier


def _fitted(kind: type[Fitted], folder: Path, labels: tuple[str, ...]) -> Fitted:
    arrays = {name: tensor.numpy() for name, tensor in stored.read(folder, counts=True).items()}
    fitted = kind.from_arrays(arrays)
    if extra := sorted(arrays.keys() - fitted.arrays().keys()):
        raise UserError(
            f"{folder} has the weight {extra[0]}, which its recipe has no place for; copy or train it again."
        )
    check_arrays(folder, arrays, _AXES[kind], len(labels))
    return fitted


def support_vectors(model: SvmModel) -> type[SupportVectors]:
    """The kind of support vector machine that a recipe asks for."""
    return SupportVectorClassifier if model.calibration == "temperature" else RegressedSupportVectorClassifier


def functionals(model: SvmModel) -> MfccStatistics | Egemaps:
    """The front end of a support vector machine."""
    return MfccStatistics() if model.features == "mfcc" else Egemaps()
