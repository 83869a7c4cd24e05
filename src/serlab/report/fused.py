"""Fusions as recipes: runs made of other runs' tables, so that they are judged and compared like any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serlab.core import UserError
from serlab.evaluation.fusion import Rule, fuse
from serlab.report.selection import Cell, RecipeRuns, cell_of, full_grid
from serlab.report.words import counted
from serlab.tables import Run


def fuse_recipes(members: Sequence[RecipeRuns]) -> RecipeRuns:
    """Mean of the members' log-probabilities, in the folds and seeds that all of them have.

    Args:
        members: at least two recipes of one corpus and protocol.

    Raises:
        UserError: they have no fold and seed in common.
    """
    name = "+".join(member.name for member in members)
    shared = full_grid(set[Cell].intersection(*(set(member.cells) for member in members)))
    if not shared:
        raise UserError(f"{' and '.join(member.name for member in members)} have no fold and seed in common to fuse.")
    by_cell = [{cell_of(run): run for run in member.runs} for member in members]
    runs = [_fused([runs[cell] for runs in by_cell], name, "log-probabilities") for cell in shared]
    title = f"Mean of log-probabilities of {' and '.join(member.title for member in members)}"
    return RecipeRuns(name, title, members[0].side, tuple(runs), ())


def fuse_seeds(recipe: RecipeRuns) -> RecipeRuns:
    """Mean over a recipe's seeds of their probabilities, fold by fold."""
    seeds = recipe.seeds
    name = f"{recipe.name} x {len(seeds)}"
    runs = [
        _fused([run for run in recipe.runs if cell_of(run)[0] == fold], name, "probabilities") for fold in recipe.folds
    ]
    title = f"{recipe.title}, mean of {counted(len(seeds), 'seed')}"
    return RecipeRuns(name, title, recipe.side, tuple(runs), ())


def _fused(runs: Sequence[Run], name: str, rule: Rule) -> Run:
    first = runs[0]
    tables = [run.table[run.table["side"].isin(_shared_sides(runs))] for run in runs]
    seeds = sorted({cell_of(run)[1] for run in runs})
    signature = {**first.signature, **_of_all(runs), "recipe": _recipe(runs, name), "seeds": seeds}
    return Run(fuse(tables, rule), signature, first.path)


def _shared_sides(runs: Sequence[Run]) -> set[str]:
    return set[str].intersection(*(set(run.table["side"]) for run in runs))


def _recipe(runs: Sequence[Run], name: str) -> dict[str, Any]:
    recipes = [run.signature["recipe"] for run in runs]
    weights = dict.fromkeys(recipe["pretrained"] for recipe in recipes if recipe["pretrained"])
    return {
        **recipes[0],
        "name": name,
        "hash": "+".join(recipe["hash"] for recipe in recipes),
        "pretrained": ", ".join(weights) or None,
    }


def _of_all(runs: Sequence[Run]) -> dict[str, Any]:
    """What a fusion costs is what its members cost together; nothing was trained for it."""
    costs = [run.signature["cost"] for run in runs]
    names = ("parameters", "trained_parameters", "train_seconds", "predict_seconds", "real_time_factor")
    sums = {name: sum(cost[name] for cost in costs) for name in names if all(name in cost for cost in costs)}
    return {
        "cost": {**sums, "peak_memory_mb": max(cost["peak_memory_mb"] for cost in costs)},
        "training": {"epochs": [], "best_epoch": None, "selection": "none: a mean of models", "train_uar": None},
    }
