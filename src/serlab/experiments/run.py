"""One run: fit a recipe on a fold's train subset, choose by its dev subset, then read the test subset once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from serlab.approaches.base import Fitted, History, Subset
from serlab.audio import Audio
from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.evaluation.reliance import Reliance
from serlab.experiments.context import RunContext, RunSpec
from serlab.protocols import Fold
from serlab.tables.predictions import logits_of, make_table
from serlab.training.fit import FitTask, fit
from serlab.training.memory import PeakMemory
from serlab.training.scoring import SubsetScorer, training_uar

_TIMED_CLIPS = 24


@dataclass(frozen=True)
class Outcome:
    """What a run gives.

    Attributes:
        fitted: the trained model.
        table: the prediction table.
        training: history, selection and training UAR, as in the signature.
        cost: parameters, times and memory, as in the signature.
    """

    fitted: Fitted
    table: pd.DataFrame
    training: dict[str, Any]
    cost: dict[str, Any]


def run(
    spec: RunSpec, context: RunContext, *, workspace: Path, before_test: Callable[[], None] | None, title: str
) -> Outcome:
    """Train on a fold and predict its dev subset and, unless developing, its test subset.

    Args:
        spec: the recipe, the fold and the seed.
        context: the corpus, what to leave out, and features computed so far.
        workspace: private folder for checkpoints.
        before_test: called right before the test subset is read; None means that it is not read at all.
        title: what progress bars call this run.

    Raises:
        UserError: a subset is empty, or a label has no training clip.
    """
    corpus, fold, stores = context.corpus, spec.fold, context.stores
    names = {"training": fold.train, "dev": fold.dev} | ({} if before_test is None else {"test": fold.test})
    subsets = {name: Subset.of(corpus, clips, context.excluded) for name, clips in names.items()}
    _check(subsets, corpus, fold)
    train, dev = subsets["training"], subsets["dev"]
    memory, start = PeakMemory(), time.perf_counter()
    fitted = fit(FitTask(spec.recipe, corpus.labels, train, dev, spec.seed, stores, workspace, title))
    trained = time.perf_counter()
    store = stores.of(fitted.frontend)
    history = fitted.history or History("")
    training = {**history.data(), "train_uar": training_uar(fitted, store, train, title)}

    def predict(side: str) -> pd.DataFrame:
        subset = subsets[side]
        logits = SubsetScorer(store, subset.files, f"{title}: predicting {side}").logits(fitted)
        return make_table(subset.clips, logits, fitted.labels, side=side, fold=fold.number, seed=spec.seed)

    tables = [predict("dev")]
    training["reliance"] = asdict(Reliance.fit(logits_of(tables[0]), dev.targets))
    if before_test is not None:
        before_test()
        tables.append(predict("test"))
    predicted = time.perf_counter()
    total, trainable = fitted.parameters
    cost = {
        "parameters": total,
        "trained_parameters": trainable,
        "train_seconds": round(trained - start + history.earlier_seconds, 2),
        "predict_seconds": round(predicted - trained, 2),
        "audio_seconds": round(float(train.clips["duration"].sum()), 1),
        "real_time_factor": _real_time_factor(fitted, dev),
        "peak_memory_mb": memory.megabytes(),
    }
    return Outcome(fitted, pd.concat(tables, ignore_index=True), training, cost)


def _real_time_factor(fitted: Fitted, subset: Subset) -> float:
    """Seconds of computing per second of audio: reading, front end and network, clip by clip."""
    files = subset.files[:: max(1, len(subset.files) // _TIMED_CLIPS)][:_TIMED_CLIPS]
    fitted.logits([fitted.frontend(Audio.from_file(files[0].path).samples)])
    start = time.perf_counter()
    for file in files:
        fitted.logits([fitted.frontend(Audio.from_file(file.path).samples)])
    return (time.perf_counter() - start) / sum(file.duration for file in files)


def _check(subsets: Mapping[str, Subset], corpus: Corpus, fold: Fold) -> None:
    for name, subset in subsets.items():
        if not len(subset.clips):
            instead = "choose another protocol" + ", or --dev-only" * (name == "test")
            raise UserError(
                f"the {name} side of fold {fold.number} of {corpus.name} has no clip that can be used; {instead}."
            )
    absent = sorted(set(corpus.labels) - set(subsets["training"].clips["label"]))
    if absent:
        raise UserError(
            f"the label {absent[0]} has no training clip in fold {fold.number} of {corpus.name}: a model cannot learn "
            "it; choose another protocol or add clips."
        )
