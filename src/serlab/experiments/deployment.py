"""Models for deployment: a recipe trained on all speakers of a corpus, with the scores of a comparison.

Such a model cannot be tested on the corpus. A comparison has measured the same recipe on unseen
speakers; the model card quotes that measurement and states that it is of other models.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from serlab import approaches
from serlab.approaches.base import Fixed
from serlab.core import UserError, argument, setting
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.corpora.screening import MAX_SHARE, check_usable
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.reliance import Reliance
from serlab.evaluation.resampling import Resampling
from serlab.experiments.context import RunContext, RunIdentity, RunSpec
from serlab.experiments.layout import EVERYONE, RunFiles
from serlab.experiments.plan import check_seeds
from serlab.experiments.run import run_on_everyone
from serlab.experiments.signature import sign
from serlab.experiments.teachers import choices_of, teach
from serlab.frontends.store import FeatureStores
from serlab.model.card import deployment_card
from serlab.model.folder import save
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe
from serlab.report.selection import RecipeRuns, group_runs
from serlab.report.words import numbered
from serlab.tables import ledger
from serlab.tables.predictions import logits_of, read_runs, truth_of
from serlab.training import processes


@dataclass(frozen=True)
class Quote:
    """The scores of a recipe in a comparison, as in the model's signature.

    Attributes:
        protocol: name of the comparison's protocol.
        speaker_disjoint: whether its test speakers were unseen in training; None if unknown.
        folds, seeds: names of the folds, and the seeds.
        clips: test clips.
        speakers: test speakers; None if unknown.
        uar, low, high: UAR with its interval; None without an interval.
        reason: why there is no interval.
        where: folds and seeds in words.
    """

    protocol: str
    speaker_disjoint: bool | None
    folds: list[int | str]
    seeds: list[int]
    clips: int
    speakers: int | None
    uar: float
    low: float | None
    high: float | None
    reason: str | None
    where: str


@dataclass(frozen=True)
class DeployedIdentity(RunIdentity):
    """The identity of a model that was trained on all speakers.

    Attributes:
        fixed: choices made on the dev subsets of other runs.
        quoted: the scores of the recipe in a comparison; None without one.
    """

    fixed: Fixed
    quoted: Quote | None


@processes.led
def train_on_everyone(
    corpus: Corpus,
    recipe: Recipe,
    *,
    quote: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: Path = Path("runs"),
    max_excluded: float = MAX_SHARE,
    cache: bool = True,
) -> Path:
    """Train a recipe on all clips of a corpus, and keep the model.

    Args:
        corpus: the corpus.
        recipe: the recipe.
        quote: a comparison's folder, ``<out>/<corpus>/<protocol>``, that has tested this recipe on
            this corpus. A network is then trained to the median of its best epochs, a probe with
            its most frequent choice. Temperature and abstention thresholds come from its pooled
            dev subsets.
        epochs: number of epochs of a network; overrides that of ``quote``.
        seed: the run's seed.
        out: results folder; the model is in ``<out>/<corpus>/everyone/<recipe>/seed<s>``.
        max_excluded: share of clips that may be left out.
        cache: keep features on disk.

    Returns:
        The model folder.

    Raises:
        UserError: the comparison is of another corpus or recipe, or the folder has another model.
        FindingsError, MachineError: as in a comparison.
    """
    check_seeds([seed])
    fold = Fold(1, tuple(corpus.clips["clip"]), (), ())
    split = Split(EVERYONE, "Every clip is for training.", None, None, (fold,))
    context, spec = RunContext(corpus, split, out, FeatureStores(cached=cache)), RunSpec.of(recipe, fold, seed)
    runs = _runs_to_quote(quote, spec, corpus) if quote else None
    return deploy(
        spec, context, runs, epochs=epochs, check=lambda: check_usable(corpus, context.exclusions, max_excluded)
    )


def deploy(
    spec: RunSpec, context: RunContext, runs: RecipeRuns | None, *, epochs: int | None, check: Callable[[], None]
) -> Path:
    """Train on all clips of a context, unless the model is there.

    Args:
        spec: recipe and seed, on a fold with all clips in its train subset.
        context: the corpus, or several.
        runs: tests of the same recipe, to be quoted and to choose epochs and settings; None without.
        epochs: number of epochs of a network; overrides that of ``runs``.
        check: called before the training; it raises an error if clips are not usable.

    Returns:
        The model folder.
    """
    recipe = spec.recipe
    fixed = _fixed([run.signature["training"] for run in runs.runs]) if runs else Fixed()
    if epochs is not None:
        fixed = replace(fixed, epoch=_checked(epochs, recipe))
    quoted = _quote(runs) if runs else None
    identity = DeployedIdentity(**vars(context.identity(spec)), fixed=fixed, quoted=quoted)
    files = context.results.files(spec.folder, f"seed{spec.seed}")
    with locked(files.model):
        if files.model.is_dir():
            _check_there(files, identity, recipe)
            say(f"{files.model} exists already.")
        else:
            check()
            taught_by = _fixed(choices_of([run.signature for run in runs.runs])) if runs else Fixed()
            reliance = _reliance(runs, context.corpus) if runs else None
            _train(spec, context, identity, files, taught_by, reliance)
    return files.model


def _train(
    spec: RunSpec,
    context: RunContext,
    identity: DeployedIdentity,
    files: RunFiles,
    taught_by: Fixed,
    reliance: Reliance | None,
) -> None:
    title = f"{spec.recipe.name} on everyone, seed {spec.seed}"
    started, workspace = ledger.now(), files.open_workspace(identity.data())
    taught = teach(spec, context, title, taught_by)
    result = run_on_everyone(spec, context, identity.fixed, workspace=workspace, title=title, taught=taught)
    result = replace(result, training=replace(result.training, reliance=reliance))
    signature = sign(spec, context, result, started, identity).data()
    card = deployment_card(signature, needs_serlab=result.fitted.needs_serlab)
    save(result.fitted, files.model, signature, card, inputs=result.inputs, speech=result.speech)
    shutil.rmtree(workspace, ignore_errors=True)
    uar = f"training UAR {result.training.train_uar:.3f}"
    say(f"{title}: done, {uar}; it is untested: it was trained on every speaker.")


def _checked(epochs: int, recipe: Recipe) -> int:
    if not approaches.get(recipe.model.kind).supports.epochs:
        raise UserError(f"{recipe.name} has no epochs; omit {argument('epochs')}.")
    if not 1 <= epochs <= recipe.training.epochs:
        raise UserError(
            f"{argument('epochs', epochs)} is not between 1 and {recipe.training.epochs}, the epochs of {recipe.name}; "
            f"for more, change {setting('training.epochs')}."
        )
    return epochs


def _check_there(files: RunFiles, identity: DeployedIdentity, recipe: Recipe) -> None:
    try:
        there = json.loads((files.model / "serlab.json").read_text(encoding="utf-8"))["signature"]["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        there = None
    # With ``auto``, another machine, or a busier one, may have chosen another precision.
    free = {"precision"} if recipe.training.precision == "auto" else set()
    wanted = {name: value for name, value in identity.data().items() if name not in free}
    if not isinstance(there, dict) or {name: value for name, value in there.items() if name not in free} != wanted:
        raise UserError(
            f"{files.model} holds a model of another configuration or quotation; move it away, or choose another "
            f"{argument('out')} folder."
        )


def _runs_to_quote(folder: Path, spec: RunSpec, corpus: Corpus) -> RecipeRuns:
    """A comparison's runs of the recipe, after checking that recipe and data are the same."""
    if folder.name == "index.html":
        folder = folder.parent
    if folder.name == "report":
        folder = folder.parent
    runs = read_runs(folder, {spec.folder}) if folder.is_dir() else []
    if not runs:
        raise UserError(
            f"{argument('quote', folder)} has no run of {spec.folder}; name the folder of a comparison that has one, "
            "OUT/CORPUS/PROTOCOL."
        )
    (group,) = group_runs(runs)
    for run in group.runs:
        for key, value in {"recipe": spec.hash, "corpus": corpus.fingerprint}.items():
            if run.signature["identity"][key] != value:
                raise UserError(f"{argument('quote', folder)} is of another {key}; quote a comparison of this {key}.")
    if group.side != "test":
        raise UserError(
            f"{argument('quote', folder)} has no test subset of {spec.folder}; run it without {argument('dev_only')}."
        )
    return group


def _quote(group: RecipeRuns) -> Quote:
    corpus, protocol = group.signature["corpus"], group.signature["protocol"]
    across = f", tested on {corpus['name']}" if "crossing" in group.signature else ""
    counts = count_by_speaker(group.rows, corpus["labels"])
    score = intervals(counts, resampling=Resampling(known=corpus["speakers_known"]))["uar"]
    return Quote(
        protocol=f"{protocol['name']}{across}",
        speaker_disjoint=protocol["speaker_disjoint"],
        folds=group.folds,
        seeds=group.seeds,
        clips=int(group.rows["clip"].nunique()),
        speakers=len(counts.speakers) if corpus["speakers_known"] else None,
        uar=score.value,
        low=score.low,
        high=score.high,
        reason=score.reason,
        where=f"{numbered('fold', group.folds)}, {numbered('seed', group.seeds)}",
    )


def _reliance(group: RecipeRuns, corpus: Corpus) -> Reliance | None:
    """Temperature and thresholds from the dev subsets of all runs together; each clip is unseen by its run.

    None if the runs only scored some of the labels, as on another corpus.
    """
    if tuple(group.signature["corpus"]["labels"]) != corpus.labels:
        return None
    tables = [run.table[run.table["side"] == "dev"] for run in group.runs]
    rows = pd.concat(tables, ignore_index=True)
    return Reliance.fit(logits_of(rows), truth_of(rows, corpus.labels))


def _fixed(histories: Sequence[Mapping[str, Any]]) -> Fixed:
    best = [history["best_epoch"] for history in histories if history.get("best_epoch")]
    if best:
        return Fixed(epoch=round(median(best)))
    chosen = Counter(
        (history["chosen"]["layer"], history["chosen"]["C"])
        for history in histories
        if {"layer", "C"} <= (history.get("chosen") or {}).keys()
    )
    if not chosen:
        return Fixed()
    layer, penalty = min(chosen, key=lambda choice: (-chosen[choice], choice))
    return Fixed(layer=layer, penalty=penalty)
