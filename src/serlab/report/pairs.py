"""The paired difference of two recipes of a report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from serlab.core.settings import plain
from serlab.evaluation.breakdown import Breakdown
from serlab.evaluation.claims import Scope, answer_words
from serlab.evaluation.counts import Names
from serlab.evaluation.judge import PairEvaluation, judge_pair
from serlab.evaluation.paired import PairedComparison, as_family
from serlab.evaluation.prepare import PreparedTable
from serlab.evaluation.significance import MARGIN
from serlab.report.selection import FoldSeed, RecipeRuns, full_grid


@dataclass(frozen=True)
class PairReport:
    """The first recipe less the second, on the clips, folds and seeds that both have.

    Attributes:
        first: folder name of the one.
        second: folder name of the other.
        comparison: differences and tests, None if they cannot be compared.
        breakdown: the difference by speaker and by label, None if they cannot be compared.
        reason: why they cannot, empty if they can.
        folds: that both have, as they are called.
        seeds: likewise.
        clips: that both have.
        speakers: of these clips, None if they are unknown.
        only: how many clips of these folds and seeds only the first, and only the second, has.
        uneven_clips: clips left out because not every seed judged them.
        partial: whether one of them has more folds, seeds or clips.
        scope: what intervals are about, see :mod:`serlab.evaluation.claims`.
    """

    first: str
    second: str
    comparison: PairedComparison | None = None
    breakdown: Breakdown | None = None
    reason: str = ""
    folds: tuple[int | str, ...] = ()
    seeds: tuple[int | str, ...] = ()
    clips: int = 0
    speakers: int | None = None
    only: tuple[int, int] = (0, 0)
    uneven_clips: int = 0
    partial: bool = False
    scope: Scope = "models"

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold, with the comparison's fields among the pair's."""
        head: dict[str, Any] = {"first": self.first, "second": self.second, "differences": None, "reason": self.reason}
        if self.comparison is None:
            return head | {"p_holm": None, "breakdown": None}
        found: dict[str, Any] = plain(self)
        compared: dict[str, Any] = found.pop("comparison")
        return head | compared | {key: value for key, value in found.items() if key not in head}


def compare_pair(
    first: RecipeRuns, second: RecipeRuns, *, margin: float = MARGIN, found: PairEvaluation | None = None
) -> PairReport:
    """Compare ``first`` with ``second`` on the clips, folds and seeds that both have.

    Args:
        first: runs of one recipe.
        second: runs of another.
        margin: differences of UAR up to this are called equivalent.
        found: the comparison of two of others' tables, if it has been made already.

    Raises:
        UserError: others' tables cannot be compared, as :func:`serlab.evaluation.judge.judge_pair`.
    """
    if first.side != second.side:
        reason = f"one is judged on {first.side}, the other on {second.side}"
        return PairReport(first.name, second.name, reason=reason)
    tables, shared = (first.whole, second.whole), first.fold_seeds
    if not first.foreign:
        shared = tuple(full_grid(set(first.fold_seeds) & set(second.fold_seeds)))
        if not shared:
            reason = "they have no fold and seed in common"
            return PairReport(first.name, second.name, reason=reason, partial=True)
        tables = (_of_runs(first.whole, shared), _of_runs(second.whole, shared))
        if not set(tables[0].rows["clip"]) & set(tables[1].rows["clip"]):
            return PairReport(first.name, second.name, reason="they have no clip in common", partial=True)
    found = found or judge_pair(*tables, by_fold=not first.foreign, margin=margin)
    partial = len(first.seeds) != len(second.seeds) or 0 < len(found.seeds) < len(first.seeds)
    if not first.foreign:
        partial = set(shared) != set(first.fold_seeds) or set(shared) != set(second.fold_seeds)
    return PairReport(
        first.name,
        second.name,
        found.comparison,
        found.breakdown,
        folds=_shared_names(first.fold_names, second.fold_names, shared),
        seeds=found.seeds,
        clips=found.clips,
        speakers=found.speakers,
        only=found.only,
        uneven_clips=found.uneven_clips,
        partial=partial or any(found.only),
        scope=found.scope,
    )


def judged_together(pairs: Sequence[PairReport]) -> tuple[PairReport, ...]:
    """Pairs that a reader sees beside each other, with the answers that all of them together allow."""
    together = as_family([pair.comparison for pair in pairs])
    return tuple(replace(pair, comparison=found) for pair, found in zip(pairs, together, strict=True))


def answer_text(pair: PairReport) -> str:
    """The answer of a pair in a few words; empty if it cannot be compared."""
    found = pair.comparison
    if found is None:
        return ""
    recipes = pair.scope == "recipes"
    return answer_words(found.answer, recipes=recipes, alone=found.answer_alone, family=found.family)


def _of_runs(table: PreparedTable, shared: Collection[FoldSeed]) -> PreparedTable:
    """The rows of these folds and seeds."""
    grid = pd.DataFrame(shared, columns=["fold", "seed"])
    return replace(table, rows=table.rows.merge(grid))


def _shared_names(first: Names, second: Names, shared: Collection[FoldSeed]) -> tuple[int | str, ...]:
    """What both call the folds, in order; empty if they call them differently."""
    named = {number: first.get(number) for number in sorted({fold for fold, _ in shared})}
    return tuple(name for number, name in named.items() if name is not None and name == second.get(number))
