"""Fusions as recipes: runs made from other runs' tables, judged and compared like any recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serlab.core import UserError
from serlab.evaluation.fusion import Rule, fit_weights, fuse
from serlab.report.selection import FoldSeed, RecipeRuns, fold_seed_of, full_grid
from serlab.report.words import counted
from serlab.tables.predictions import Run

FITTED = "@dev"
"""Ends the name of a fusion whose weights were fitted on dev subsets."""


def fuse_recipes(members: Sequence[RecipeRuns], *, fitted: bool = False) -> RecipeRuns:
    """Mean of the members' log-probabilities, in the folds and seeds that all of them have.

    Args:
        members: at least two recipes of one corpus and protocol.
        fitted: whether the members' weights are fitted on the dev subset of each fold and seed,
            instead of being equal.

    Raises:
        UserError: they have no fold and seed in common, no dev subset to fit weights on, or only
            some have test predictions.
    """
    names = [member.name for member in members]
    developed = [member.name for member in members if member.side == "dev"]
    if 0 < len(developed) < len(members):
        raise UserError(
            f"{' and '.join(developed)} has no test predictions and cannot be fused with recipes that have."
        )
    shared = full_grid(set[FoldSeed].intersection(*(set(member.fold_seeds) for member in members)))
    if not shared:
        raise UserError(f"{' and '.join(names)} have no fold and seed in common to fuse.")
    by_cell = [{fold_seed_of(run): run for run in member.runs} for member in members]
    titles = " and ".join(member.title for member in members)
    name, title = "+".join(names) + FITTED * fitted, f"Mean of log-probabilities of {titles}"
    runs = []
    for cell in shared:
        parts = [runs_of[cell] for runs_of in by_cell]
        weights = _fit(parts, names) if fitted else None
        runs.append(_fused(parts, name, "log-probabilities", weights))
    return RecipeRuns(name, title + ", weighted on dev" * fitted, members[0].side, tuple(runs), ())


def _fit(runs: Sequence[Run], names: Sequence[str]) -> dict[str, float]:
    if "dev" not in _shared_sides(runs):
        fold, seed = fold_seed_of(runs[0])
        raise UserError(
            f"{' and '.join(names)} have no dev predictions in fold {fold}, seed {seed}, to fit fusion weights on; "
            "fuse them with equal weights."
        )
    tables = [run.table[run.table["side"] == "dev"] for run in runs]
    return dict(zip(names, fit_weights(tables), strict=True))


def fuse_seeds(recipe: RecipeRuns) -> RecipeRuns:
    """Mean over a recipe's seeds of their probabilities, fold by fold."""
    seeds = recipe.seeds
    name = f"{recipe.name} x {len(seeds)}"
    runs = [
        _fused([run for run in recipe.runs if fold_seed_of(run)[0] == fold], name, "probabilities")
        for fold in recipe.folds
    ]
    title = f"{recipe.title}, mean of {counted(len(seeds), 'seed')}"
    return RecipeRuns(name, title, recipe.side, tuple(runs), ())


def _fused(runs: Sequence[Run], name: str, rule: Rule, weights: Mapping[str, float] | None = None) -> Run:
    first = runs[0]
    tables = [run.table[run.table["side"].isin(_shared_sides(runs))] for run in runs]
    seeds = sorted({fold_seed_of(run)[1] for run in runs})
    signature = {
        **first.signature,
        **_of_all(runs, weights),
        "recipe": _recipe(runs, name, fitted=weights is not None),
        "weights_sha256": None,
        "seeds": seeds,
    }
    fused = fuse(tables, rule, weights=None if weights is None else list(weights.values()))
    return Run(fused, signature, first.path)


def _shared_sides(runs: Sequence[Run]) -> set[str]:
    return set[str].intersection(*(set(run.table["side"]) for run in runs))


def _recipe(runs: Sequence[Run], name: str, *, fitted: bool) -> dict[str, Any]:
    recipes = [run.signature["recipe"] for run in runs]
    weights = dict.fromkeys(recipe["pretrained"] for recipe in recipes if recipe["pretrained"])
    return {
        **recipes[0],
        "name": name,
        "hash": "+".join(recipe["hash"] for recipe in recipes) + FITTED * fitted,
        "config": {},
        "pretrained": ", ".join(weights) or None,
    }


def _of_all(runs: Sequence[Run], weights: Mapping[str, float] | None) -> dict[str, Any]:
    """What a fusion costs is what its members cost together; no network was trained for it."""
    costs = [run.signature["cost"] for run in runs]
    names = ("parameters", "trained_parameters", "train_seconds", "predict_seconds", "real_time_factor")
    sums = {name: sum(cost[name] for cost in costs) for name in names if all(name in cost for cost in costs)}
    return {
        "cost": {
            **sums,
            "peak_memory_mb": max(
                (cost["peak_memory_mb"] for cost in costs if cost["peak_memory_mb"] is not None), default=None
            ),
        },
        "training": {
            "epochs": [],
            "best_epoch": None,
            "selection": "weights fitted on dev" if weights else "none: a mean of models",
            "chosen": dict(weights or {}),
            "train_uar": None,
        },
    }
