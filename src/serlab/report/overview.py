"""Results of one corpus across protocols: every recipe's scores, fusions, and leak premiums.

A recipe that was trained under two protocols is compared with itself on the clips that both tested.
If one of them lets speakers appear in training and test, that paired difference is the leak
premium: the gain from having heard the test speakers in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from serlab.core import UserError, argument
from serlab.core.settings import plain
from serlab.evaluation.counts import count_by_speaker, judged_by_all
from serlab.evaluation.paired import PairedComparison, compare
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.significance import MARGIN
from serlab.report.fused import FITTED, fuse_recipes, fuse_seeds
from serlab.report.pairs import PairReport, compare_pair, judged_together
from serlab.report.recipe import RecipeReport, RunReport, describe
from serlab.report.selection import RecipeRuns, group_runs
from serlab.tables.predictions import Run


@dataclass(frozen=True)
class ProtocolReport:
    """Results of one protocol.

    Attributes:
        name: of the protocol.
        definition: in a sentence.
        speaker_disjoint: whether it keeps speakers apart.
        folds: their number.
        recipes: best first.
        fusions: means of several models, best first.
        gains: each fusion of recipes less each of its members, one family of pairs.
    """

    name: str
    definition: str
    speaker_disjoint: bool
    folds: int
    recipes: tuple[RecipeReport, ...]
    fusions: tuple[RecipeReport, ...]
    gains: tuple[PairReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a gain has no breakdown."""
        found: dict[str, Any] = plain(self)
        found |= {name: [each.to_dict() for each in getattr(self, name)] for name in ("recipes", "fusions", "gains")}
        for gain in found["gains"]:
            del gain["breakdown"]
        return found


@dataclass(frozen=True)
class ProtocolDifference:
    """A recipe under ``second`` less itself under ``first``, on the clips that both tested.

    Each is a question of its own, asked before any run, and so a family of one.

    Attributes:
        recipe: folder name.
        title: of the recipe.
        first: name of the one protocol.
        second: name of the other.
        leak: whether only ``second`` lets speakers appear in training and test.
        comparison: the paired differences.
        clips: that both tested.
        seeds: of both.
        speakers: of these clips, None if they are unknown.
    """

    recipe: str
    title: str
    first: str
    second: str
    leak: bool
    comparison: PairedComparison
    clips: int
    seeds: tuple[int, ...]
    speakers: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the comparison's fields among the others."""
        flat: dict[str, Any] = {}
        for key, value in plain(self).items():
            flat |= value if key == "comparison" else {key: value}
        return flat


@dataclass(frozen=True)
class Overview:
    """Results of one corpus across protocols: ``between`` compares a recipe with itself under two protocols."""

    corpus: Mapping[str, Any]
    protocols: tuple[ProtocolReport, ...]
    between: tuple[ProtocolDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold: the overview's ``report.json``."""
        parts = {name: [each.to_dict() for each in getattr(self, name)] for name in ("protocols", "between")}
        return {"corpus": plain(self.corpus)} | parts


def survey(protocols: Mapping[str, Sequence[Run]], fusions: Iterable[str] = (), *, margin: float = MARGIN) -> Overview:
    """Judge all runs of a corpus.

    Args:
        protocols: the runs of each protocol, by its name.
        fusions: folder names of the recipes whose log-probabilities are averaged, joined by ``+``;
            with ``@dev`` at the end, by weights that each fold's dev subset gives. Fused wherever a
            protocol has all their recipes. Several seeds of a recipe are fused unasked.
        margin: differences of UAR up to this are called equivalent.

    Raises:
        UserError: there are no runs, they are of different data, or a fusion fits no protocol.
    """
    if not any(protocols.values()):
        raise UserError("there are no runs to report on; compare recipes first.")
    groups = {name: {g.name: g for g in group_runs(runs)} for name, runs in protocols.items() if runs}
    wanted = list(fusions)
    for fusion in wanted:
        names = members_of(fusion)
        if "" in names or len(set(names)) < max(2, len(names)):
            raise UserError(
                f"{fusion!r} is not a fusion; join the names of two or more recipes with +, e.g. resnet18+mfcc-svm."
            )
        if not any(set(names) <= set(members) for members in groups.values()):
            raise UserError(f"no protocol has all recipes of the fusion {fusion}; run them on one protocol.")
    corpora = [next(iter(members.values())).signature["corpus"] for members in groups.values()]
    if len({corpus["fingerprint"] for corpus in corpora}) > 1:
        raise UserError(
            f"the protocols' runs are of different data; keep each corpus copy in its own {argument('out')} folder."
        )
    return Overview(
        corpus=corpora[0],
        protocols=tuple(_protocol(members, wanted, margin) for members in groups.values()),
        between=tuple(
            found
            for first, second in combinations(_disjoint_first(groups), 2)
            for name in sorted(set(groups[first]) & set(groups[second]))
            if (found := compare_protocols(groups[first][name], groups[second][name], margin=margin))
        ),
    )


def members_of(fusion: str) -> list[str]:
    """Folder names of the recipes in a fusion.

    >>> members_of("resnet18+whisper-base@dev")
    ['resnet18', 'whisper-base']
    """
    return [name.strip() for name in fusion.removesuffix(FITTED).split("+")]


def compare_protocols(first: RecipeRuns, second: RecipeRuns, *, margin: float = MARGIN) -> ProtocolDifference | None:
    """The paired difference of a recipe under two protocols, ``second - first``; None without a shared test clip."""
    keys = ["clip", "seed"]
    if first.side != second.side or first.signature["recipe"]["hash"] != second.signature["recipe"]["hash"]:
        return None
    both = first.rows[keys].merge(second.rows[keys], on=keys)
    both = judged_by_all(both)
    if both.empty:
        return None
    corpus = first.signature["corpus"]
    one, other = (count_by_speaker(side.rows.merge(both, on=keys), corpus["labels"]) for side in (first, second))
    disjoint = [recipe.signature["protocol"]["speaker_disjoint"] for recipe in (first, second)]
    return ProtocolDifference(
        recipe=first.name,
        title=first.title,
        first=first.signature["protocol"]["name"],
        second=second.signature["protocol"]["name"],
        leak=disjoint == [True, False],
        comparison=compare(other, one, resampling=Resampling(known=corpus["speakers_known"]), margin=margin),
        clips=int(both["clip"].nunique()),
        seeds=tuple(sorted({int(seed) for seed in both["seed"]})),
        speakers=len(one.speakers) if corpus["speakers_known"] else None,
    )


def _protocol(members: Mapping[str, RecipeRuns], fusions: Sequence[str], margin: float) -> ProtocolReport:
    protocol = next(iter(members.values())).signature["protocol"]
    fused = [(fuse_seeds(group), [group]) for group in members.values() if len(group.seeds) > 1]
    for fusion in fusions:
        if set(names := members_of(fusion)) <= set(members):
            parts = [members[name] for name in names]
            fused.append((fuse_recipes(parts, fitted=fusion.endswith(FITTED)), parts))
    return ProtocolReport(
        **{key: protocol[key] for key in ("name", "definition", "speaker_disjoint", "folds")},
        recipes=_best_first(members.values()),
        fusions=tuple(
            replace(found, weights=_weights(found.runs)) for found in _best_first(fusion for fusion, _ in fused)
        ),
        gains=judged_together(
            [compare_pair(fusion, part, margin=margin) for fusion, parts in fused for part in parts if len(parts) > 1]
        ),
    )


def _weights(runs: Sequence[RunReport]) -> dict[str, tuple[float, float]]:
    """Least and most of each member's weight over the runs of a fusion; empty if none was fitted."""
    each = {name: [run.chosen[name] for run in runs] for name in runs[0].chosen}
    return {name: (min(weights), max(weights)) for name, weights in each.items()}


def _best_first(groups: Iterable[RecipeRuns]) -> tuple[RecipeReport, ...]:
    return tuple(sorted((describe(group) for group in groups), key=lambda recipe: -recipe.scores["uar"].value))


def _disjoint_first(groups: Mapping[str, Mapping[str, RecipeRuns]]) -> list[str]:
    """Speaker-disjoint protocols first, so that a difference is what the leak added."""
    leaky = {
        name: not next(iter(members.values())).signature["protocol"]["speaker_disjoint"]
        for name, members in groups.items()
    }
    return sorted(groups, key=lambda name: (leaky[name], name))
