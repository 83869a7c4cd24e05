"""Model folders: configuration, safetensors, preprocessor, labels, signature and model card; nothing pickled.

``serlab.json`` holds labels and signature (and in it the recipe). A folder without it is taken for a plain transformers
audio-classification checkpoint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from serlab.core import UserError
from serlab.evaluation.reliance import Reliance
from serlab.files import unwritable, write_json, write_text
from serlab.frontends.base import rounded
from serlab.frontends.functionals import Egemaps, MfccStatistics
from serlab.models import encoder
from serlab.models.classifier import Classifier, NetworkClassifier, PooledStates, ProbeClassifier, SvmClassifier
from serlab.models.int8 import quantise
from serlab.models.network import Network
from serlab.models.probe import Probe
from serlab.models.resnet import ResNet
from serlab.models.svm import RegressedSupportVectorClassifier, SupportVectorClassifier, SupportVectors
from serlab.models.weights import quiet
from serlab.precision import Precision, device, resolve
from serlab.recipes import EncoderModel, ProbeModel, Recipe, ResNetModel, SvmModel, recipe_from_signature

_FILE = "serlab.json"
_FORMAT = 1

Fitted = TypeVar("Fitted", Probe, SupportVectors)


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
            "format": _FORMAT,
            "labels": list(classifier.labels),
            "needs_serlab": classifier.needs_serlab,
            "signature": signature,
        }
        write_json(temporary / _FILE, content)
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
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder}.")
    if not (folder / _FILE).is_file():
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} is no model folder: it has neither {_FILE} nor config.json.")
        chosen = resolve(precision)
        network = encoder.from_folder(folder, None, chosen)
        names = network.hf.config.id2label
        return _ready(network, tuple(names[index] for index in sorted(names)), chosen)
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        recipe, labels = recipe_from_signature(content["signature"]), tuple(content["labels"])
        if list(labels) != content["signature"]["corpus"]["labels"]:
            raise UserError(f"{folder} is damaged: the labels of {_FILE} are not those that the model was trained on.")
        return _own(folder, recipe, labels, precision, content["signature"])
    except OSError as error:
        # Safetensors neither says which file it misses nor that it may not read one.
        path = Path(error.filename or folder / "model.safetensors")
        if path.exists():
            raise UserError(f"{path} cannot be read; see who may read it.") from error
        raise UserError(f"{folder} is damaged: {path.name} is missing.") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} is damaged: {' '.join(str(error).split())[:200]}.") from error


def load_reliance(folder: Path) -> Reliance:
    """When the model of a folder should say that it cannot tell.

    Raises:
        UserError: the folder does not say.
    """
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return Reliance.of(content["signature"]["training"]["reliance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say when to abstain; train the model with this version of serlab, or leave --abstain."
        ) from error


def _own(
    folder: Path, recipe: Recipe, labels: tuple[str, ...], precision: str, signature: dict[str, Any]
) -> Classifier:
    model, chosen = recipe.model, resolve(precision)
    if chosen == "int8" and not isinstance(model, EncoderModel):
        raise UserError(f"int8 is for fine-tuned speech encoders, and {folder} is none; use --precision fp32.")
    weights = signature.get("weights_sha256") or ""
    if isinstance(model, SvmModel):
        machine = _fitted(support_vectors(model), folder)
        return SvmClassifier(machine, functionals(model), labels)
    if isinstance(model, ProbeModel):
        probe = _fitted(Probe, folder)
        frozen = encoder.from_folder(folder / "encoder", EncoderModel(checkpoint="own"), chosen)
        return ProbeClassifier(probe, PooledStates(frozen, weights_sha256=weights, precision=chosen), labels)
    network = (
        _resnet(folder, model, labels) if isinstance(model, ResNetModel) else encoder.from_folder(folder, model, chosen)
    )
    network.frontend = rounded(network.frontend, recipe.training.features)
    return _ready(network, labels, chosen)


def _ready(network: Network, labels: tuple[str, ...], precision: Precision) -> NetworkClassifier:
    classifier = NetworkClassifier(network.to(device()), labels, precision)
    if precision == "int8" and isinstance(network, encoder.SpeechEncoder):
        quantise(network)
    return classifier


def _fitted(kind: type[Fitted], folder: Path) -> Fitted:
    try:
        return kind.from_arrays(load_arrays(folder / "model.safetensors"))
    except UserError as error:
        raise UserError(f"{folder} is damaged: {error}") from error


def support_vectors(model: SvmModel) -> type[SupportVectors]:
    """The kind of support vector machine that a recipe asks for."""
    return SupportVectorClassifier if model.calibration == "temperature" else RegressedSupportVectorClassifier


def functionals(model: SvmModel) -> MfccStatistics | Egemaps:
    """The front end of a support vector machine."""
    return MfccStatistics() if model.features == "mfcc" else Egemaps()


def _resnet(folder: Path, model: ResNetModel, labels: tuple[str, ...]) -> ResNet:
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    mean, std = (torch.tensor(preprocessor[key]) for key in ("mean_db", "std_db"))
    network = ResNet(model, labels, mean, std)
    state = load_file(folder / "model.safetensors")
    missing = network.net.state_dict().keys() - state.keys()
    if missing:
        raise UserError(f"{folder} lacks the weight {min(missing)}; it is damaged, copy or train it anew.")
    network.net.load_state_dict(state)
    return network
