"""A model for use: a recipe trained on every speaker of a corpus, and what a comparison says of that recipe.

Such a model has heard everybody, so no clip of the corpus can test it. What is known of it is what a comparison has
measured of the same recipe on speakers that its models had not heard; its card quotes that, and says what it is.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from serlab.core import UserError
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.corpora.screening import MAX_SHARE, check_usable
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.outcomes import count_outcomes
from serlab.experiments.compare import check_seeds, exclusions_of
from serlab.experiments.everyone import Fixed, fit_everyone
from serlab.experiments.run import Stores, identify
from serlab.experiments.signature import Cell, sign
from serlab.experiments.workspace import workspace_of
from serlab.model.card import deployment_card
from serlab.model.folder import save
from serlab.protocols import Fold, Split
from serlab.recipes import EncoderModel, Recipe, ResNetModel
from serlab.report.selection import RecipeRuns, group_runs
from serlab.report.words import numbered
from serlab.tables import ledger
from serlab.tables.predictions import read_runs
from serlab.training import processes

EVERYONE = "everyone"
"""Where results of a protocol lie, models that were trained on everyone lie under this name."""


@dataclass(frozen=True)
class Quote:
    """What a comparison says of a recipe.

    Attributes:
        figures: for the model's signature: protocol, folds, seeds, speakers, UAR with its interval.
        fixed: what its dev sides have chosen.
    """

    figures: dict[str, Any]
    fixed: Fixed


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
        quote: a comparison's folder, ``<out>/<corpus>/<protocol>``, that has tested this recipe on this corpus. A
            network is then trained to the median of the epochs that were best there, a probe as was chosen most often.
        epochs: a network's last epoch, instead.
        seed: the run's seed.
        out: results folder; the model lies in ``<out>/<corpus>/everyone/<recipe>/seed<s>``.
        max_excluded: share of clips that may be left out.
        cache: keep features on disk.

    Returns:
        The model folder.

    Raises:
        UserError: the comparison is of another corpus or recipe, or another model is in the way.
        FindingsError, MachineError: as in a comparison.
    """
    check_seeds([seed])
    fold = Fold(1, tuple(corpus.clips["clip"]), (), ())
    everyone = Split(EVERYONE, "Every clip is for training.", None, None, (fold,))
    cell = Cell(recipe, *identify(recipe), corpus, everyone, fold, seed)
    quoted = _quote(quote, cell) if quote else None
    fixed = quoted.fixed if quoted else Fixed()
    if epochs is not None:
        fixed = replace(fixed, epoch=_checked(epochs, recipe))
    identity = {**cell.identity, "fixed": vars(fixed), "quoted": quoted.figures if quoted else None}
    target = out / corpus.name / EVERYONE / cell.folder / f"seed{seed}"
    title = f"{recipe.name} on everyone, seed {seed}"
    with locked(target):
        if target.is_dir():
            _check_there(target, identity)
            say(f"{target} is there already.")
            return target
        exclusions = exclusions_of(corpus)
        check_usable(corpus, exclusions, max_excluded)
        started, workspace = ledger.now(), workspace_of(target, identity)
        outcome = fit_everyone(
            recipe,
            corpus,
            excluded=frozenset(exclusion.clip for exclusion in exclusions),
            seed=seed,
            stores=Stores(cached=cache),
            workspace=workspace,
            fixed=fixed,
            title=title,
        )
        signature = {**sign(cell, outcome, exclusions, started), "identity": identity}
        card = deployment_card(signature, needs_serlab=outcome.classifier.needs_serlab)
        save(outcome.classifier, target, signature, card)
        shutil.rmtree(workspace, ignore_errors=True)
    say(f"{title}: done, training UAR {outcome.training['train_uar']:.3f}; it is untested: it has heard every speaker.")
    return target


def _checked(epochs: int, recipe: Recipe) -> int:
    if not isinstance(recipe.model, (EncoderModel, ResNetModel)):
        raise UserError(f"{recipe.name} has no epochs; leave --epochs out.")
    if not 1 <= epochs <= recipe.training.epochs:
        raise UserError(
            f"--epochs {epochs} is not within 1 to {recipe.training.epochs}, the epochs that {recipe.name} plans; for "
            "more, give them with --set training.epochs."
        )
    return epochs


def _check_there(target: Path, identity: dict[str, Any]) -> None:
    try:
        there = json.loads((target / "serlab.json").read_text(encoding="utf-8"))["signature"]["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        there = None
    if there != identity:
        raise UserError(
            f"{target} holds a model of another configuration or quotation; move it away, or choose another --out."
        )


def _quote(folder: Path, cell: Cell) -> Quote:
    """What a comparison says of a recipe, once it is clear that it is of the same recipe and data."""
    if folder.name == "index.html":
        folder = folder.parent
    if folder.name == "report":
        folder = folder.parent
    runs = read_runs(folder, {cell.folder}) if folder.is_dir() else []
    if not runs:
        raise UserError(
            f"--quote {folder} has no run of {cell.folder}; name a comparison's folder, OUT/CORPUS/PROTOCOL, that has."
        )
    (group,) = group_runs(runs)
    wanted = {"recipe": cell.hash, "corpus": cell.corpus.fingerprint}
    for run in group.runs:
        for key, value in wanted.items():
            if run.signature["identity"][key] != value:
                raise UserError(f"--quote {folder} is of another {key}; quote a comparison of this {key}.")
    if group.side != "test":
        raise UserError(f"--quote {folder} has no test side of {cell.folder}; run it without --dev-only.")
    corpus = group.signature["corpus"]
    outcomes = count_outcomes(group.rows, corpus["labels"])
    score = intervals(outcomes, speakers_known=corpus["speakers_known"])["uar"]
    figures = {
        "protocol": group.signature["protocol"]["name"],
        "speaker_disjoint": group.signature["protocol"]["speaker_disjoint"],
        "folds": group.folds,
        "seeds": group.seeds,
        "clips": int(group.rows["clip"].nunique()),
        "speakers": len(outcomes.speakers) if corpus["speakers_known"] else None,
        "uar": score.value,
        "low": score.low,
        "high": score.high,
        "reason": score.reason,
        "where": f"{numbered('fold', group.folds)}, {numbered('seed', group.seeds)}",
    }
    return Quote(figures, _fixed(group))


def _fixed(group: RecipeRuns) -> Fixed:
    histories = [run.signature["training"] for run in group.runs]
    best = [history["best_epoch"] for history in histories if history.get("best_epoch")]
    if best:
        return Fixed(epoch=round(median(best)))
    chosen = Counter(
        (history["chosen"]["layer"], history["chosen"]["C"])
        for history in histories
        if {"layer", "C"} <= history.get("chosen", {}).keys()
    )
    if not chosen:
        return Fixed()
    layer, penalty = min(chosen, key=lambda choice: (-chosen[choice], choice))
    return Fixed(layer=layer, penalty=penalty)
