"""Cross-corpus runs: one model per source, recipe and seed, which then predicts each target once.

The results of a target are in ``<out>/<target>/from-<source>/<recipe>``. A run is identified by what
identifies every run, where the corpus is the target with its mapped labels and the protocol's version
stands for the sources (see :func:`serlab.experiments.crossing_sides.target_split`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from serlab.approaches.base import Fitted, Subset
from serlab.checkpoints.weights import find, public_name
from serlab.core import UserError, argument
from serlab.core.files import read_json, write_json
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora.emotions import Mapped
from serlab.evaluation.relabel import relabelled, relabelled_logits
from serlab.experiments import heard
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.crossing_normalised import CAUTION
from serlab.experiments.crossing_sides import Source, normalised_target, target_fold
from serlab.experiments.held_out import check_held_out
from serlab.experiments.layout import RunFiles
from serlab.experiments.plan import Todo, todo_of
from serlab.experiments.run import RunResult, run
from serlab.experiments.signature import sign
from serlab.experiments.teachers import teach
from serlab.model.card import model_card
from serlab.model.folder import save
from serlab.model.schema import FILE
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe, teacher_of
from serlab.tables import ledger
from serlab.tables.heard import overlaps
from serlab.tables.predictions import make_table, write_table
from serlab.training.scoring import SubsetScorer


@dataclass(frozen=True)
class CrossRun:
    """One model on one target.

    Attributes:
        spec: recipe and seed; its fold has the target's clips as the test subset.
        context: of the target.
        target: the target, reduced to the common emotions.
        about: for the signature: where the model comes from, and what was dropped.
    """

    spec: RunSpec
    context: RunContext
    target: Mapped
    about: Mapping[str, Any]

    @property
    def files(self) -> RunFiles:
        """The files of the run."""
        return self.context.files(self.spec)

    @property
    def done(self) -> bool:
        """Whether the results exist.

        Raises:
            UserError: the folder has a run of another configuration.
        """
        return todo_of(self.spec, self.context) is Todo.NOTHING


def cross_run(recipe: Recipe, seed: int, source: Source, target: Mapped, split: Split, context: RunContext) -> CrossRun:
    """Describe a run; nothing is written.

    Args:
        recipe: the recipe.
        seed: its seed.
        source: what it is trained on.
        target: what it is tested on, reduced to the common emotions.
        split: of the target.
        context: of the target.
    """
    (fold,) = split.folds
    return CrossRun(RunSpec.of(recipe, fold, seed), context, target, about_of(source, target))


def about_of(source: Source, target: Mapped) -> dict[str, Any]:
    """What a signature says about the two sides."""
    (fold,) = source.split.folds
    return {
        "sources": [side_of(part) for part in source.parts],
        "train_clips": len(fold.train),
        "dev_clips": len(fold.dev),
        "dev_speakers": sorted({*source.corpus.clips.set_index("clip").loc[list(fold.dev), "speaker"]}),
        "balanced": source.balanced,
        "normalised": source.normalised,
        "caution": CAUTION if source.normalised else "",
        "target": side_of(target),
        "labels": list(target.corpus.labels),
    }


def side_of(part: Mapped) -> dict[str, Any]:
    """A side in a signature."""
    return {
        "corpus": part.corpus.name,
        "fingerprint": part.original.fingerprint,
        "mapped_fingerprint": part.corpus.fingerprint,
        "clips": len(part.corpus.clips),
        "labels": list(part.corpus.labels),
        "emotions": dict(part.emotions),
        "dropped": dict(part.dropped),
    }


def heard_by(recipe: Recipe, target: Mapped) -> str:
    """Why a recipe cannot be tested on a target: what its weights or teachers have heard; empty if nothing."""
    fold, settings = target_fold(target), recipe.training.teacher
    try:
        check_held_out(recipe, target.original, fold)
    except UserError as error:
        return str(error).removesuffix(".")
    records = heard.before(RunSpec(recipe, "", None, fold, 0))
    if settings and settings.checkpoint:
        records += heard.records_of(find(settings.checkpoint), f"the teacher {public_name(settings.checkpoint)}")
    if reason := overlap(records, target):
        return reason
    # A teacher that is a recipe is trained on the source too.
    teacher = teacher_of(recipe)
    return heard_by(teacher, target) if teacher else ""


def overlap(records: Sequence[Mapping[str, Any]], target: Mapped, fold: Fold | None = None) -> str:
    """Why a model with these records cannot be tested on a target (SL012); empty if it can.

    Args:
        records: what it has heard.
        target: the target.
        fold: whose test subset is tested; all clips if None.
    """
    clips = target.corpus.clips
    tested = clips if fold is None else clips[clips["clip"].isin(fold.test)]
    speakers = {*tested["speaker"]} if target.corpus.speakers_known else {""}
    found = overlaps(
        records,
        corpus=target.corpus.name,
        fingerprint=target.original.fingerprint,
        train=(),
        dev=(),
        test=speakers,
    )
    first = next(found, None)
    return "" if first is None else f"SL012: {first.text.removesuffix('.').replace(' of this fold', '')}"


@dataclass(frozen=True)
class Training:
    """One model, and the targets that it is tested on.

    Attributes:
        source: what it is trained on.
        runs: of one recipe and seed on this source.
        context: of the source.
    """

    source: Source
    runs: tuple[CrossRun, ...]
    context: RunContext

    @property
    def spec(self) -> RunSpec:
        """Recipe and seed on the fold of the source."""
        (fold,) = self.source.split.folds
        return replace(self.runs[0].spec, fold=fold)

    @property
    def files(self) -> RunFiles:
        """Its workspace, and its model folder if models are kept."""
        return self.context.files(self.spec)

    @property
    def waiting(self) -> list[CrossRun]:
        """Targets whose results do not exist yet."""
        return [each for each in self.runs if not each.done]

    @property
    def lacks_model(self) -> bool:
        """Whether the model is to be kept and is not there.

        Raises:
            UserError: the folder has a model of another configuration.
        """
        folder = self.files.model
        if not self.context.keep_models or not folder.is_dir():
            return self.context.keep_models
        wanted = self.context.identity(self.spec).data()
        try:
            there = read_json(folder / FILE)["signature"]["identity"]
        except (OSError, ValueError, KeyError, TypeError, UserError):
            there = {}
        free = {"precision"} if self.spec.recipe.training.precision == "auto" else set()
        if any(there.get(name) != value for name, value in wanted.items() if name not in free):
            raise UserError(
                f"{folder} holds a model of another configuration; move it away, or choose another "
                f"{argument('out')} folder."
            )
        return False


def execute(training: Training, title: str) -> None:
    """Train one model and predict with it the targets whose results do not exist yet.

    Args:
        training: the model and its targets.
        title: label of progress bars.

    Raises:
        FindingsError: training diverged.
        MachineError: disk or network fail.
    """
    files, started = training.files, ledger.now()
    with locked(files.model):
        # Another process may have executed it since the plan was made.
        waiting = training.waiting
        if not waiting and not training.lacks_model:
            return
        spec, context = training.spec, training.context
        taught = teach(spec, context, title)
        workspace = files.open_workspace(context.identity(spec).data())
        result = run(spec, context, workspace=workspace, before_test=None, title=title, taught=taught)
        if training.lacks_model:
            signature = sign(spec, context, result, started).data()
            card = model_card(signature, needs_serlab=result.fitted.needs_serlab)
            save(result.fitted, files.model, signature, card, inputs=result.inputs, speech=result.speech)
        for each in waiting:
            _test(each, result, training.source, started, title)
        shutil.rmtree(workspace, ignore_errors=True)
    _remove_empty(files.model.parent, context.out)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders of a finished training that hold nothing."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _test(each: CrossRun, result: RunResult, source: Source, started: str, title: str) -> None:
    labels, fitted = each.target.corpus.labels, result.fitted
    same: dict[str, str | None] = {label: label for label in fitted.labels}
    dev = relabelled(result.table, same, labels)
    title = f"{title} on {each.target.corpus.name}"
    entry = each.context.ledger_entry(each.spec)
    context = normalised_target(each.context) if source.normalised else each.context
    test = predict(context, fitted, same, entry, title, seed=each.spec.seed)
    table = pd.concat([dev, test], ignore_index=True)
    signature = sign(each.spec, each.context, replace(result, table=table), started).data()
    write(each.files, table, {**signature, "crossing": dict(each.about)}, title)


def predict(
    context: RunContext,
    fitted: Fitted,
    emotions: Mapping[str, str | None],
    entry: Mapping[str, Any],
    title: str,
    *,
    fold: Fold | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The test subset of a run's prediction table; this reads the target, and enters it in the ledger before.

    Args:
        context: of the target.
        fitted: the model.
        emotions: emotion of each of its labels.
        entry: for the ledger.
        title: label of progress bars.
        fold: whose test subset is predicted; the only one of the split if None.
        seed: of the model.
    """
    corpus, fold = context.corpus, fold or context.split.folds[0]
    subset = Subset.of(corpus, fold.test, context.excluded)
    if not len(subset.clips):
        raise UserError(f"no clip of {corpus.name} can be used, so nothing can be tested on it.")
    ledger.enter(context.out, dict(entry))
    store = context.stores.of(fitted.frontend)
    logits = SubsetScorer(store, subset.files, title).logits(fitted)
    scores = relabelled_logits(logits, fitted.labels, emotions, corpus.labels)
    return make_table(subset.clips, scores, corpus.labels, side="test", fold=fold.number, seed=seed)


def write(files: RunFiles, table: pd.DataFrame, signature: Mapping[str, Any], title: str) -> None:
    """Write signature and table, the table last, because it marks a run as complete."""
    files.table.unlink(missing_ok=True)
    write_json(files.signature, dict(signature))
    write_table(files.table, table)
    say(f"{title}: done.")
