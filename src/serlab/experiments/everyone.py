"""Training on every clip, for use: nothing is held out, so nothing is chosen and nothing can be tested."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlab.approaches import encoder
from serlab.approaches.probe import Probe
from serlab.approaches.weights import find, identity
from serlab.core import UserError
from serlab.core.precision import resolve
from serlab.core.randomness import keyed_seed
from serlab.corpora.base import Corpus
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.run import Outcome, Side, Stores, fit_on, training_uar
from serlab.frontends.store import FeatureStore
from serlab.model.classifier import Classifier, PooledStates, ProbeClassifier
from serlab.recipes import EncoderModel, ProbeModel, Recipe
from serlab.training.loop import own_randomness
from serlab.training.memory import PeakMemory


@dataclass(frozen=True)
class Fixed:
    """What dev sides have chosen elsewhere.

    Attributes:
        epoch: a network's last epoch; None trains it as long as its recipe says.
        layer, penalty: of a probe.
    """

    epoch: int | None = None
    layer: int | None = None
    penalty: float | None = None


def fit_everyone(spec: RunSpec, context: RunContext, fixed: Fixed, *, workspace: Path, title: str) -> Outcome:
    """Fit a recipe on all clips of a corpus.

    Args:
        spec: the run, on a fold that has everything in its training subset.
        context: the corpus, what to leave out, and features computed so far.
        fixed: what a dev subset would choose.
        workspace: private folder for checkpoints.
        title: what progress bars call this.

    Returns:
        The outcome, with an empty table.

    Raises:
        UserError: a label has no clip left, or a probe's layer is not fixed.
        FindingsError: training diverged.
    """
    recipe, corpus, stores, seed = spec.recipe, context.corpus, context.stores, spec.seed
    side = Side.of(corpus, spec.fold.train, context.excluded)
    lost = sorted(set(corpus.labels) - set(side.clips["label"]))
    if lost:
        raise UserError(f"no clip of the label {lost[0]} of {corpus.name} can be used, so no model could learn it.")
    memory, start = PeakMemory(), time.perf_counter()
    with own_randomness(keyed_seed(seed, "initial weights")):
        if isinstance(recipe.model, ProbeModel):
            classifier, history, store = _fit_probe(recipe, recipe.model, corpus, side, stores, fixed, title)
        else:
            classifier, history, store = fit_on(
                recipe, corpus, side, None, seed, stores, workspace, title, last_epoch=fixed.epoch
            )
    seconds = time.perf_counter() - start + history.pop("earlier_seconds", 0.0)
    history["train_uar"] = training_uar(classifier, store, side, title)
    total, trainable = classifier.parameters
    cost = {
        "parameters": total,
        "trained_parameters": trainable,
        "train_seconds": round(seconds, 2),
        "audio_seconds": round(float(side.clips["duration"].sum()), 1),
        "peak_memory_mb": memory.megabytes(),
    }
    return Outcome(classifier, pd.DataFrame({"side": []}), history, cost)


def _fit_probe(
    recipe: Recipe,
    model: ProbeModel,
    corpus: Corpus,
    side: Side,
    stores: Stores,
    fixed: Fixed,
    title: str,
) -> tuple[Classifier, dict[str, Any], FeatureStore]:
    """Fit a probe on the layer and with the C that were chosen elsewhere."""
    if fixed.layer is None or fixed.penalty is None:
        raise UserError(
            f"{recipe.name} chooses its layer and C on a dev side, and --all leaves none; name a comparison that has "
            "chosen them with --quote."
        )
    precision = resolve(recipe.training.precision)
    frozen = encoder.from_checkpoint(EncoderModel(checkpoint=model.checkpoint), corpus.labels, precision)
    store = stores.of(PooledStates(frozen, weights_sha256=identity(find(model.checkpoint)), precision=precision))
    frontend = store.frontend
    assert isinstance(frontend, PooledStates)
    inputs = np.stack(store.many(side.files, f"{title}: features"))[:, [fixed.layer]]
    probe = Probe.fit(
        inputs, side.targets, inputs, side.targets, n_labels=len(corpus.labels), penalties=[fixed.penalty]
    )
    probe = replace(probe, layer=np.asarray(fixed.layer), dev_uar=np.asarray(0.0))
    chosen = {"layer": fixed.layer, "C": fixed.penalty}
    history: dict[str, Any] = {"epochs": [], "best_epoch": None, "selection": "fixed", "chosen": chosen}
    return ProbeClassifier(probe, frontend, corpus.labels), history, store
