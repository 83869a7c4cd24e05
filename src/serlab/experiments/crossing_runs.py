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
from serlab.core import UserError
from serlab.core.files import write_json
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora.emotions import Mapped
from serlab.evaluation.relabel import relabelled, relabelled_logits
from serlab.experiments import heard
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.crossing_sides import Source, context_of, target_fold
from serlab.experiments.held_out import check_held_out
from serlab.experiments.layout import RunFiles
from serlab.experiments.plan import Todo, todo_of
from serlab.experiments.run import RunResult, run
from serlab.experiments.signature import sign
from serlab.frontends.store import FeatureStores
from serlab.protocols import Split
from serlab.recipes import Recipe
from serlab.tables import ledger
from serlab.tables.heard import ITSELF, overlaps, record
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
    """Why a recipe cannot be tested on a target: what its pretrained weights have heard; empty if nothing.

    Raises:
        UserError: the recipe has a teacher, or speech for pretraining that contains clips of the
            target.
    """
    if recipe.training.teacher:
        raise UserError(
            f"{recipe.name} has a teacher, and cross-corpus runs have none: nothing says on which corpora it was "
            "trained; use a recipe without one."
        )
    fold = target_fold(target)
    try:
        check_held_out(recipe, target.original, fold)
    except UserError as error:
        return str(error).removesuffix(".")
    return overlap(heard.before(RunSpec(recipe, "", None, fold, 0)), target)


def overlap(records: Sequence[Mapping[str, Any]], target: Mapped) -> str:
    """Why a model with these records cannot be tested on a target (SL012); empty if it can."""
    speakers = {*target.corpus.clips["speaker"]} if target.corpus.speakers_known else {""}
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


def execute(runs: Sequence[CrossRun], source: Source, out: Path, stores: FeatureStores, title: str) -> None:
    """Train one model and predict with it the targets whose results do not exist yet.

    Args:
        runs: of one recipe and seed on one source.
        source: the source.
        out: results folder.
        stores: features computed so far.
        title: label of progress bars.

    Raises:
        FindingsError: training diverged.
        MachineError: disk or network fail.
    """
    waiting = [each for each in runs if not each.done]
    if not waiting:
        return
    context = context_of(source, out, stores)
    (fold,) = source.split.folds
    spec = replace(waiting[0].spec, fold=fold)
    files, started = context.files(spec), ledger.now()
    with locked(files.model):
        workspace = files.open_workspace(context.identity(spec).data())
        result = run(spec, context, workspace=workspace, before_test=None, title=title)
        records = _records(result, source)
        for each in waiting:
            _test(each, replace(result, heard=records), result.fitted, started, title)
        shutil.rmtree(workspace, ignore_errors=True)
    _remove_empty(files.model.parent, out)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders of a finished training that hold nothing."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _records(result: RunResult, source: Source) -> list[dict[str, Any]]:
    """What the model has heard, by corpus, with the corpora's own names of speakers."""
    own, *others = result.heard
    made = []
    for part in source.parts:
        name = part.corpus.name
        subsets = {
            side: [each.removeprefix(f"{name}/") for each in own[side] or () if each.startswith(f"{name}/")]
            for side in ("train", "dev")
        }
        known = part.corpus.speakers_known
        made.append(
            record(
                ITSELF,
                name,
                part.original.fingerprint,
                subsets["train"] if known else None,
                subsets["dev"] if known else None,
            )
        )
    return [*made, *others]


def _test(each: CrossRun, result: RunResult, fitted: Fitted, started: str, title: str) -> None:
    labels = each.target.corpus.labels
    same: dict[str, str | None] = {label: label for label in fitted.labels}
    dev = relabelled(result.table, same, labels)
    title = f"{title} on {each.target.corpus.name}"
    entry = each.context.ledger_entry(each.spec)
    test = predict(each.context, fitted, same, entry, title, seed=each.spec.seed)
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
    seed: int = 0,
) -> pd.DataFrame:
    """The test subset of a run's prediction table; this reads the target, and enters it in the ledger before.

    Args:
        context: of the target.
        fitted: the model.
        emotions: emotion of each of its labels.
        entry: for the ledger.
        title: label of progress bars.
        seed: of the model.
    """
    corpus = context.corpus
    subset = Subset.of(corpus, context.split.folds[0].test, context.excluded)
    if not len(subset.clips):
        raise UserError(f"no clip of {corpus.name} can be used, so nothing can be tested on it.")
    ledger.enter(context.out, dict(entry))
    store = context.stores.of(fitted.frontend)
    logits = SubsetScorer(store, subset.files, title).logits(fitted)
    scores = relabelled_logits(logits, fitted.labels, emotions, corpus.labels)
    return make_table(subset.clips, scores, corpus.labels, side="test", fold=1, seed=seed)


def write(files: RunFiles, table: pd.DataFrame, signature: Mapping[str, Any], title: str) -> None:
    """Write signature and table, the table last, because it marks a run as complete."""
    files.table.unlink(missing_ok=True)
    write_json(files.signature, dict(signature))
    write_table(files.table, table)
    say(f"{title}: done.")
