"""One vector per clip before any training: functionals, or the states of a recipe's frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, argument, unknown
from serlab.frontends.base import FrontEnd
from serlab.frontends.functionals import Egemaps, MfccStatistics
from serlab.recipes import load_recipe, preset_names

FUNCTIONALS: dict[str, tuple[type[MfccStatistics | Egemaps], str]] = {
    "mfcc": (MfccStatistics, "MFCC statistics"),
    "egemaps": (Egemaps, "eGeMAPS functionals"),
}
"""Front ends that need no recipe, and their names."""

_ENCODERS = ("encoder", "probe")


@dataclass(frozen=True)
class Chosen:
    """Features to explore.

    Attributes:
        frontend: the front end.
        title: its name in a sentence.
        layer: of an encoder's states; None for functionals.
    """

    frontend: FrontEnd
    title: str
    layer: int | None = None


def choose(name: str) -> Chosen:
    """Find features by name.

    Args:
        name: ``mfcc``, ``egemaps``, or a recipe with a pretrained encoder, whose middle layer is
            used, frozen: mean and standard deviation over time.

    Raises:
        UserError: there are no such features.
        MachineError: weights or an extra are missing.
    """
    source, checkpoint = check_name(name)
    if checkpoint:
        return _states(checkpoint)
    kind, title = FUNCTIONALS[source]
    frontend = kind()
    # A missing extra is found here, before all clips are read.
    _ = frontend.feature_names
    return Chosen(frontend, title)


def check_name(name: str) -> tuple[str, str]:
    """The functionals, or the checkpoint, that a name means; the other is empty.

    Raises:
        UserError: there are no such features.
    """
    if name in FUNCTIONALS:
        return name, ""
    if not name.endswith((".yaml", ".yml")) and name not in preset_names():
        raise unknown("features", name, [*FUNCTIONALS, *preset_names()])
    model: Any = load_recipe(name).model
    if model.kind == "svm":
        return model.features, ""
    if model.kind in _ENCODERS and model.checkpoint:
        return "", model.checkpoint
    raise UserError(
        f"{argument('features', name)}: the recipe has no pretrained encoder, so it has no features before it is "
        "trained; use mfcc, egemaps, or a recipe with an encoder, e.g. whisper-base-probe."
    )


def _states(checkpoint: str) -> Chosen:
    from serlab.approaches import encoder
    from serlab.approaches.encoder.network import from_checkpoint
    from serlab.approaches.probe.states import PooledStates
    from serlab.checkpoints.weights import find, identity
    from serlab.core.precision import resolve

    precision = resolve("auto")
    # The head is not used, but an encoder for classification needs labels.
    network = from_checkpoint(encoder.Settings(checkpoint=checkpoint), ("a", "b"), precision)
    layers = len(network.layers)
    frontend = PooledStates(network, weights_sha256=identity(find(checkpoint)), precision=precision)
    return Chosen(frontend, f"states of {checkpoint} (layer {layers // 2} of {layers}, frozen)", layers // 2)


def vectors(chosen: Chosen, clips: pd.DataFrame, *, cache: bool) -> NDArray[np.float32]:
    """Features of clips, shape (clips, features), with a progress bar.

    Args:
        chosen: which features.
        clips: usable clips: the columns ``clip``, ``path``, ``duration`` and ``sha256`` of a corpus.
        cache: keep them on disk.

    Raises:
        UserError: a clip is unsuitable for these features.
    """
    from serlab.frontends.store import ClipFile, FeatureStore

    columns = zip(clips["clip"], clips["path"], clips["duration"].astype(float), clips["sha256"], strict=True)
    files = [ClipFile(*row) for row in columns]
    walk = FeatureStore(chosen.frontend, cached=cache).walk(files, "features")
    return np.stack([np.ravel(each if chosen.layer is None else each[chosen.layer]) for each in walk])
