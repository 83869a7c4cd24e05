"""What training again changes: each recipe's seeds on the folds that all of them have, and the mean of their models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from publication.tables import table
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.fusion import fuse
from serlab.evaluation.outcomes import count_outcomes
from serlab.evaluation.spread import over_seeds
from serlab.report.words import interval_text, percent, spans
from serlab.tables import Run, labels_of

_Tables = dict[int, dict[int, pd.DataFrame]]
"""Test rows by seed and fold."""


def seeds(runs: Sequence[Run], titles: Mapping[str, str]) -> str:
    """Several trainings of a recipe, alone and averaged.

    The main table is of the folds that are whole; here a recipe counts with the folds that every seed of it has tested,
    so that seeds which were trained on some folds alone are seen too.

    Args:
        runs: the main protocol's.
        titles: of the recipes to show, by folder name, in the order to show them.

    Returns:
        A Markdown table; a sentence where no recipe has two seeds of one fold.
    """
    by_recipe: dict[str, _Tables] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        rows = run.table[run.table["side"] == "test"]
        if len(rows):
            by_recipe[run.path.parent.name][int(run.signature["seed"])][int(run.signature["fold"])] = rows
    shown = [(title, shared) for name, title in titles.items() if (shared := _shared(by_recipe[name]))]
    if not shown:
        return "No recipe has been trained with several seeds yet.\n"
    head = ["Recipe", "Folds", "Seeds", "UAR of each", "Standard deviation", "Their mean (95 %)"]
    head += ["Mean of their probabilities (95 % over actors)"]
    return table(head, [[title, *_row(shared)] for title, shared in shown], left=3)


def _shared(tables: _Tables) -> _Tables | None:
    """Each seed's tables of the folds that all seeds have, None where that is no second training."""
    folds = set[int].intersection(*map(set, tables.values())) if tables else set()
    if len(tables) < 2 or not folds:
        return None
    return {seed: {fold: tables[seed][fold] for fold in sorted(folds)} for seed in sorted(tables)}


def _row(tables: _Tables) -> list[str]:
    folds = list(next(iter(tables.values())))
    rows = pd.concat([each[fold] for each in tables.values() for fold in folds], ignore_index=True)
    fused = pd.concat([fuse([each[fold] for each in tables.values()], "probabilities") for fold in folds])
    labels = labels_of(rows)
    outcomes = count_outcomes(rows, labels)
    spread = over_seeds(outcomes)
    found = [intervals(outcomes)["uar"], intervals(count_outcomes(fused, labels))["uar"]]
    return [
        spans(folds),
        spans(tables),
        ", ".join(map(percent, spread.values)),
        percent(spread.sd),
        *(f"**{percent(score.value)}** ({interval_text(asdict(score))})" for score in found),
    ]
