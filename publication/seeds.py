"""Variation between trainings: each recipe's seeds on their common folds, and the mean of their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from publication.tables import table
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.spread import over_seeds
from serlab.report.fused import fuse_seeds
from serlab.report.selection import RecipeRuns, fold_seed_of, full_grid
from serlab.report.words import interval_text, percent, spans
from serlab.tables.predictions import Run, labels_of


def seeds(runs: Sequence[Run], titles: Mapping[str, str]) -> str:
    """Several trainings of a recipe, alone and averaged.

    The main table contains complete folds. This one uses the folds that all seeds of a recipe have
    tested, so it includes seeds that were trained on some of the folds.

    Args:
        runs: the main protocol's.
        titles: of the recipes to show, by folder name, in the order to show them.

    Returns:
        A Markdown table; a sentence if no recipe has two seeds of one fold.
    """
    again = [found for name, title in titles.items() for found in _trained_again(name, title, runs)]
    if not again:
        return "No recipe has been trained with several seeds yet.\n"
    head = ["Recipe", "Folds", "Seeds", "UAR of each", "Standard deviation", "Same answer", "Their mean (95 %)"]
    head += ["Mean of their probabilities (95 % over actors)"]
    return table(head, map(_row, again), left=3)


def _trained_again(name: str, title: str, runs: Sequence[Run]) -> list[RecipeRuns]:
    """A recipe's tested runs as in the main table, and in the common folds of its seeds, if there are two seeds."""
    tested = {
        fold_seed_of(run): run for run in runs if run.path.parent.name == name and (run.table["side"] == "test").any()
    }
    trained = {seed for _, seed in tested}
    by_all = sorted((fold, seed) for fold, seed in tested if all((fold, other) in tested for other in trained))
    grids = [grid for grid in (full_grid(tested), by_all) if len({seed for _, seed in grid}) > 1]
    return [
        RecipeRuns(name, title, "test", tuple(tested[cell] for cell in grid), ())
        for grid in dict.fromkeys(map(tuple, grids))
    ]


def _row(recipe: RecipeRuns) -> list[str]:
    labels = labels_of(recipe.rows)
    counts, fused = (count_by_speaker(each.rows, labels) for each in (recipe, fuse_seeds(recipe)))
    spread = over_seeds(counts)
    scores = [intervals(each)["uar"] for each in (counts, fused)]
    return [
        recipe.title,
        spans(recipe.folds),
        spans(recipe.seeds),
        ", ".join(map(percent, spread.values)),
        percent(spread.sd),
        f"{percent(_agreement(recipe))} %",
        *(f"**{percent(score.value)}** ({interval_text(score)})" for score in scores),
    ]


def _agreement(recipe: RecipeRuns) -> float:
    """Share of clips for which two trainings predict the same label, mean over pairs of trainings."""
    answers = recipe.rows.pivot(index=["fold", "clip"], columns="seed", values="predicted")
    each = [float((answers[first] == answers[second]).mean()) for first, second in combinations(answers, 2)]
    return sum(each) / len(each)
