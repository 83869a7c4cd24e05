"""The paired difference of two recipes of a report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from serlab.core.settings import plain
from serlab.evaluation.breakdown import Breakdown, breakdown
from serlab.evaluation.claims import Scope, answer_words, scope_of
from serlab.evaluation.counts import Names, comparable_rows, count_by_speaker
from serlab.evaluation.paired import PairedComparison, as_family, compare
from serlab.evaluation.resampling import Resampling
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
        partial: whether one of them has more folds or seeds.
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


def compare_pair(first: RecipeRuns, second: RecipeRuns) -> PairReport:
    """Compare ``first`` with ``second`` on the clips, folds and seeds that both have."""
    shared = _shared_runs(first, second)
    if first.side != second.side:
        reason = f"one is judged on {first.side}, the other on {second.side}"
        return PairReport(first.name, second.name, reason=reason)
    if not shared:
        return PairReport(first.name, second.name, reason="they have no fold and seed in common")
    corpus = first.signature["corpus"]
    # Others may have put their clips into folds in different ways.
    keys = ["clip", "seed"] if "called" in first.signature else ["clip", "fold", "seed"]
    grid = pd.DataFrame(shared, columns=["fold", "seed"])[keys[1:]].drop_duplicates()
    both = first.rows[keys].merge(second.rows[keys], on=keys).merge(grid)
    if both.empty:
        return PairReport(first.name, second.name, reason="they have no clip in common")
    both, _ = comparable_rows(both)
    one, other = (count_by_speaker(each.rows.merge(both, on=keys), corpus["labels"]) for each in (first, second))
    resampling = Resampling(known=corpus["speakers_known"])
    seeds = _shared_names(first.seed_names, second.seed_names, {seed for _, seed in shared})
    return PairReport(
        first.name,
        second.name,
        compare(one, other, resampling=resampling),
        breakdown(one, other, resampling=resampling),
        folds=_shared_names(first.fold_names, second.fold_names, {fold for fold, _ in shared}),
        seeds=seeds,
        clips=int(both["clip"].nunique()),
        speakers=len(one.speakers) if corpus["speakers_known"] else None,
        partial=set(shared) != set(first.fold_seeds) or set(shared) != set(second.fold_seeds),
        scope=scope_of(len(seeds), comparable=one.seeds_comparable),
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


def _shared_runs(first: RecipeRuns, second: RecipeRuns) -> list[FoldSeed]:
    """Folds and seeds that can be paired; of others' tables every fold, under the seeds that both have."""
    if "called" in first.signature:
        seeds = set(first.seeds) & set(second.seeds)
        return sorted({each for each in (*first.fold_seeds, *second.fold_seeds) if each[1] in seeds})
    return full_grid(set(first.fold_seeds) & set(second.fold_seeds))


def _shared_names(first: Names, second: Names, numbers: Collection[int]) -> tuple[int | str, ...]:
    """What both call the folds or seeds of these numbers, in order; nothing if they call them differently."""
    named = {number: first.get(number) for number in sorted(numbers)}
    return tuple(name for number, name in named.items() if name is not None and name == second.get(number))
