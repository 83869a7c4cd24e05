"""One run: fit a recipe on the train subset of a fold, select on the dev subset, then predict the test subset once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.approaches.base import Fitted, Fixed, Subset
from serlab.approaches.history import History
from serlab.audio import Audio
from serlab.core import UserError, argument
from serlab.core.randomness import keyed
from serlab.evaluation.reliance import Reliance
from serlab.experiments import heard
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.held_out import check_held_out
from serlab.experiments.records import Taught, TeacherRecord
from serlab.frontends.store import FeatureStore
from serlab.model.distance import Distance
from serlab.model.inputs import Inputs
from serlab.tables.predictions import logits_of, make_table
from serlab.training.fit import FitTask, fit
from serlab.training.memory import PeakMemory
from serlab.training.scoring import SubsetScorer, training_scores

_TIMED_CLIPS = 24
_EMBEDDED_CLIPS = 10_000


@dataclass(frozen=True)
class TrainingRecord:
    """The training of a run.

    Attributes:
        history: epochs and choices.
        train_uar: UAR on the train subset.
        reliance: temperature and abstention thresholds from the dev subset; None without one.
    """

    history: History
    train_uar: float
    reliance: Reliance | None = None

    def data(self) -> dict[str, Any]:
        """As in the signature."""
        data = {**self.history.data(), "train_uar": self.train_uar}
        return data if self.reliance is None else data | {"reliance": asdict(self.reliance)}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a run.

    Attributes:
        parameters: number of parameters of the model.
        trained_parameters: how many of them were trained.
        train_seconds: training time, including interrupted processes.
        predict_seconds: time to predict all subsets; None if nothing is held out.
        audio_seconds: length of the train subset.
        real_time_factor: seconds of computing per second of audio, clip by clip; None if nothing is
            held out.
        peak_memory_mb: peak memory of the process, in megabytes; None if the system does not report
            it.
    """

    parameters: int
    trained_parameters: int
    train_seconds: float
    predict_seconds: float | None = None
    audio_seconds: float
    real_time_factor: float | None = None
    peak_memory_mb: int | None

    def data(self) -> dict[str, Any]:
        """As in the signature, which omits values of held-out subsets if there are none."""
        held_out = ("predict_seconds", "real_time_factor")
        return {name: value for name, value in asdict(self).items() if value is not None or name not in held_out}


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        fitted: the trained model.
        table: the prediction table; without rows if nothing is held out.
        training: how it was trained.
        cost: parameters, times and memory.
        teacher: its teachers; None without any.
        heard: what it, its teachers and its pretrained weights have heard.
        inputs: the training clips, if the model is kept.
        speech: the recordings without labels among what was heard.
    """

    fitted: Fitted
    table: pd.DataFrame
    training: TrainingRecord
    cost: Cost
    teacher: TeacherRecord | None = None
    heard: Sequence[dict[str, Any]] = ()
    inputs: Inputs | None = None
    speech: Sequence[dict[str, Any]] = ()


def run(
    spec: RunSpec,
    context: RunContext,
    *,
    workspace: Path,
    title: str,
    before_test: Callable[[], None] | None,
    taught: Taught | None = None,
) -> RunResult:
    """Train on a fold and predict its dev subset and, unless developing, its test subset.

    Args:
        spec: recipe, fold and seed.
        context: the corpus, excluded clips, and features computed so far.
        workspace: private folder for checkpoints.
        title: label of progress bars.
        before_test: called right before the test subset is read; None means that it is not read.
        taught: what the recipe's teachers say about the training clips.

    Raises:
        UserError: a subset is empty, or a label has no training clip.
        FindingsError: training diverged.
    """
    corpus, fold = context.corpus, spec.fold
    check_held_out(spec.recipe, corpus, fold)
    earlier = heard.before(spec)
    heard.check(earlier, spec, context)
    names = {"training": fold.train, "dev": fold.dev} | ({} if before_test is None else {"test": fold.test})
    subsets = {name: Subset.of(corpus, clips, context.excluded) for name, clips in names.items()}
    _check(subsets, spec, context)
    train, dev = subsets["training"], subsets["dev"]
    task = FitTask(spec.recipe, corpus.labels, train, dev, spec.seed, context.stores, workspace, title)
    kept = context.keep_models
    trained = _train(task, taught, kept=kept)

    def predict(side: str, wanted: NDArray[np.intp]) -> tuple[pd.DataFrame, NDArray[np.float32] | None]:
        subset = subsets[side]
        scorer = SubsetScorer(trained.store, subset.files, f"{title}: predicting {side}")
        found, labels = scorer.scored(trained.fitted, wanted), trained.fitted.labels
        table = make_table(subset.clips, found.logits, labels, side=side, fold=fold.number, seed=spec.seed)
        return table, found.embeddings

    nothing = np.zeros(0, np.intp)
    drawn = _drawn(dev, spec.seed) if kept else nothing
    table, embeddings = predict("dev", drawn)
    tables = [table]
    reliance = Reliance.fit(logits_of(table), dev.targets)
    if before_test is not None:
        before_test()
        tables.append(predict("test", nothing)[0])
    seconds = round(time.perf_counter() - trained.end, 2)
    cost = trained.cost(predict_seconds=seconds, real_time_factor=_real_time_factor(trained.fitted, dev))
    record = TrainingRecord(trained.history, trained.uar, reliance)
    table = pd.concat(tables, ignore_index=True)
    behind = [*heard.own_records(spec, context, trained.history), *earlier]
    found = trained.result(table, record, cost, taught, behind, heard.speech_before(spec))
    speakers = dev.clips["speaker"].iloc[drawn].tolist()
    return replace(found, inputs=_inputs(trained, embeddings, speakers)) if kept else found


def run_on_everyone(
    spec: RunSpec, context: RunContext, fixed: Fixed, *, workspace: Path, title: str, taught: Taught | None = None
) -> RunResult:
    """Train on all clips of a corpus. Nothing is held out, so nothing can be selected or tested.

    Args:
        spec: recipe, seed, and a fold with all clips in its train subset.
        context: the corpus, excluded clips, and features computed so far.
        fixed: choices made on the dev subsets of other runs.
        workspace: private folder for checkpoints.
        title: label of progress bars.
        taught: what the recipe's teachers say about the training clips.

    Returns:
        The result, with a table without rows.

    Raises:
        UserError: a label has no clip left, or the recipe needs a choice that is not fixed.
        FindingsError: training diverged.
    """
    corpus, recipe = context.corpus, spec.recipe
    train = Subset.of(corpus, spec.fold.train, context.excluded)
    lost = sorted(set(corpus.labels) - set(train.clips["label"]))
    if lost:
        raise UserError(f"no clip of the label {lost[0]} of {corpus.name} can be used, so no model can learn it.")
    task = FitTask(recipe, corpus.labels, train, None, spec.seed, context.stores, workspace, title, fixed)
    trained = _train(task, taught, kept=True)
    record = TrainingRecord(trained.history, trained.uar)
    behind = [*heard.own_records(spec, context, trained.history), *heard.before(spec)]
    found = trained.result(
        pd.DataFrame({"side": []}), record, trained.cost(), taught, behind, heard.speech_before(spec)
    )
    return replace(found, inputs=_inputs(trained))


@dataclass(frozen=True)
class _Trained:
    """A fitted model, and the cost of fitting it.

    Attributes:
        task: the recipe and its clips.
        fitted: the model.
        history: how it was fitted.
        store: features of its front end.
        uar: UAR on the train subset.
        wanted: positions of training clips whose embeddings were kept.
        embeddings: these, shape (wanted, dims); None without any.
        memory: peak memory since the start.
        start, end: of fitting, from :func:`time.perf_counter`.
    """

    task: FitTask
    fitted: Fitted
    history: History
    store: FeatureStore
    uar: float
    wanted: NDArray[np.intp]
    embeddings: NDArray[np.float32] | None
    memory: PeakMemory
    start: float
    end: float

    def result(
        self,
        table: pd.DataFrame,
        record: TrainingRecord,
        cost: Cost,
        taught: Taught | None,
        behind: Sequence[dict[str, Any]],
        speech: Sequence[dict[str, Any]],
    ) -> RunResult:
        """The result, with what was heard by the model and everything ``behind`` it."""
        behind, taught_by = [*behind, *(taught.heard if taught else ())], taught.record if taught else None
        speech = [*speech, *(taught.speech if taught else ())]
        return RunResult(self.fitted, table, record, cost, taught_by, behind, speech=speech)

    def cost(self, *, predict_seconds: float | None = None, real_time_factor: float | None = None) -> Cost:
        """The cost, including the prediction of held-out subsets if there are any."""
        total, trained = self.fitted.parameters
        return Cost(
            parameters=total,
            trained_parameters=trained,
            train_seconds=round(self.end - self.start + self.history.earlier_seconds, 2),
            predict_seconds=predict_seconds,
            audio_seconds=round(float(self.task.train.clips["duration"].sum()), 1),
            real_time_factor=real_time_factor,
            peak_memory_mb=self.memory.megabytes(),
        )


def _train(task: FitTask, taught: Taught | None, *, kept: bool) -> _Trained:
    task = replace(task, lesson=taught.lesson if taught else None)
    memory, start = PeakMemory(), time.perf_counter()
    fitted = fit(task)
    end, store = time.perf_counter(), task.stores.of(fitted.frontend)
    wanted = _drawn(task.train, task.seed) if kept else np.zeros(0, np.intp)
    uar, embeddings = training_scores(fitted, store, task.train, task.title, wanted)
    history = fitted.history or History("")
    return _Trained(task, fitted, history, store, uar, wanted, embeddings, memory, start, end)


def _drawn(subset: Subset, seed: int) -> NDArray[np.intp]:
    """Positions of the clips whose embeddings are kept: all, or as many as memory allows, in order."""
    drawn = keyed(seed, "embeddings").permutation(len(subset.files))[:_EMBEDDED_CLIPS]
    return np.sort(drawn).astype(np.intp)


def _inputs(trained: _Trained, dev: NDArray[np.float32] | None = None, dev_speakers: Sequence[str] = ()) -> Inputs:
    """Describe the training clips for the model folder; without dev, from held-out training speakers."""
    train, distance = trained.task.train, None
    if trained.embeddings is not None:
        speakers = train.clips["speaker"].iloc[trained.wanted].tolist()
        distance = Distance.fit(trained.embeddings, speakers, dev, dev_speakers)
    return Inputs.fit(train, distance, seed=trained.task.seed)


def _real_time_factor(fitted: Fitted, subset: Subset) -> float:
    """Seconds of computing per second of audio: reading, front end and network, clip by clip."""
    files = subset.files[:: max(1, len(subset.files) // _TIMED_CLIPS)][:_TIMED_CLIPS]
    fitted.logits([fitted.frontend(Audio.from_file(files[0].path).samples)])
    start = time.perf_counter()
    for file in files:
        fitted.logits([fitted.frontend(Audio.from_file(file.path).samples)])
    return (time.perf_counter() - start) / sum(file.duration for file in files)


def _check(subsets: Mapping[str, Subset], spec: RunSpec, context: RunContext) -> None:
    where = f"fold {spec.fold.number} of {context.corpus.name}"
    for name, subset in subsets.items():
        if not len(subset.clips):
            instead = "choose another protocol" + (f", or use {argument('dev_only')}" if name == "test" else "")
            raise UserError(f"the {name} subset of {where} has no usable clip; {instead}.")
    absent = sorted(set(context.corpus.labels) - set(subsets["training"].clips["label"]))
    if absent:
        raise UserError(
            f"the label {absent[0]} has no training clip in {where}, so a model cannot learn it; choose another "
            "protocol or add clips."
        )
