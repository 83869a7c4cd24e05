"""Trials on dev subsets only: a recipe with a changed setting minus the original recipe, on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from publication.tables import table
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.metrics import uar
from serlab.report.pairs import compare_pair
from serlab.report.selection import RecipeRuns, fold_seed_of, full_grid, group_runs
from serlab.report.words import interval_text, percent, points, spans
from serlab.tables.predictions import Run, labels_of


def ablations(runs: Sequence[Run]) -> str:
    """Every configuration that has not read a test subset, beside the preset that it changes.

    Args:
        runs: the main protocol's.

    Returns:
        A Markdown table; a sentence if nothing was tried.
    """
    groups = {group.name: group for group in group_runs(runs)} if runs else {}
    pairs = [
        (tried, whole)
        for name, tried in groups.items()
        if tried.side == "dev"
        and (whole := groups.get(name.rpartition("-")[0]))
        and {*tried.fold_seeds} & {*whole.fold_seeds}
    ]
    if not pairs:
        return "Nothing has been tried on dev subsets alone yet.\n"
    head = ["Tried", "Beside", "Folds; seeds", "UAR, dev", "Beside it", "Points of UAR, dev (95 %)", "UAR in training"]
    return table([*head, "Beside it"], [_row(*pair) for pair in pairs], left=3)


def _row(tried: RecipeRuns, whole: RecipeRuns) -> list[str]:
    shared = full_grid({*tried.fold_seeds} & {*whole.fold_seeds})
    members = tuple(
        replace(each, side="dev", runs=tuple(run for run in each.runs if fold_seed_of(run) in shared))
        for each in (tried, whole)
    )
    found = compare_pair(*members).comparison
    gain = None if found is None else found.differences["uar"]
    scores = [uar(count_by_speaker(each.rows, labels_of(each.rows)).by_seed).mean() for each in members]
    learned = [[run.signature["training"]["train_uar"] for run in each.runs] for each in members]
    return [
        *(each.title for each in members),
        f"{spans(members[0].folds)}; {spans(members[0].seeds)}",
        *(percent(float(score)) for score in scores),
        "–" if gain is None else f"{points(gain.value)} ({interval_text(gain)})",
        *(percent(sum(each) / len(each)) for each in learned),
    ]
