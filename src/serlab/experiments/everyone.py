"""Training on every clip, for use: nothing is held out, so nothing is chosen and nothing can be tested."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from serlab.approaches.base import Fixed, History, Subset
from serlab.core import UserError
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.run import Outcome
from serlab.training.fit import FitTask, fit
from serlab.training.memory import PeakMemory
from serlab.training.scoring import training_uar


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
    recipe, corpus, stores = spec.recipe, context.corpus, context.stores
    train = Subset.of(corpus, spec.fold.train, context.excluded)
    lost = sorted(set(corpus.labels) - set(train.clips["label"]))
    if lost:
        raise UserError(f"no clip of the label {lost[0]} of {corpus.name} can be used, so no model could learn it.")
    memory, start = PeakMemory(), time.perf_counter()
    fitted = fit(FitTask(recipe, corpus.labels, train, None, spec.seed, stores, workspace, title, fixed))
    history = fitted.history or History("")
    seconds = time.perf_counter() - start + history.earlier_seconds
    uar = training_uar(fitted, stores.of(fitted.frontend), train, title)
    total, trainable = fitted.parameters
    cost = {
        "parameters": total,
        "trained_parameters": trainable,
        "train_seconds": round(seconds, 2),
        "audio_seconds": round(float(train.clips["duration"].sum()), 1),
        "peak_memory_mb": memory.megabytes(),
    }
    return Outcome(fitted, pd.DataFrame({"side": []}), {**history.data(), "train_uar": uar}, cost)
