"""The report as dataclasses: everything that the page, the Markdown and the JSON show, and nothing else decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, get_args

import pandas as pd

from serlab.core import UserError
from serlab.core.progress import bar
from serlab.core.settings import plain
from serlab.evaluation.claims import Scope
from serlab.evaluation.resampling import LEVEL, STANDARD, Resampling
from serlab.evaluation.significance import MARGIN, WHY_MARGIN
from serlab.evaluation.trust import HumanReference, human_reference
from serlab.report.foreign import Judged
from serlab.report.letters import letters_of
from serlab.report.notices import Notice, at_head, notices
from serlab.report.pairs import PairReport, compare_pair, judged_together
from serlab.report.recipe import Exclusion, RecipeReport, describe, describe_trust
from serlab.report.selection import RecipeRuns, group_runs, is_foreign, recipe_of
from serlab.report.verdict import Verdict, answer
from serlab.report.words import people, points, signature_line
from serlab.tables.predictions import Run


@dataclass(frozen=True)
class Bootstrap:
    """How intervals were made."""

    replicates: int = STANDARD.replicates
    level: float = LEVEL
    over: str = "speakers"
    seed: int = STANDARD.seed


@dataclass(frozen=True)
class LedgerCount:
    """How often the test subsets of this corpus and protocol have been read.

    Attributes:
        evaluations: lines of the ledger.
        configurations: distinct recipes by hash.
        not_shown: recipes that have read them and are not in the report.
    """

    evaluations: int
    configurations: int
    not_shown: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What the runs of one corpus and protocol show.

    Attributes:
        serlab: versions that made the runs.
        answer: which recipe is ahead.
        notices: what limits the figures, gravest first.
        corpus: as the runs' signatures describe it.
        protocol: likewise.
        signature: what the figures are of, in a line.
        chance: of UAR.
        bootstrap: how intervals were made.
        over_seeds: whether intervals are widened by how far seeds lie apart.
        scope: what all intervals are about at least, see :mod:`serlab.evaluation.claims`.
        margin: differences of UAR up to this are called equivalent.
        recipes: best first.
        pairs: of all recipes.
        letters: by recipe; two that share one are not shown to differ. Empty below four recipes.
        exclusions: clips that were left out.
        people: human raters of the same clips, None without votes.
        audit: what the leak audit found, None if it was not made.
        ledger: how often the test subsets have been read, None of others' tables.
        machines: that made the runs.
        versions: of what they used.
    """

    serlab: tuple[str, ...]
    answer: Verdict
    notices: tuple[Notice, ...]
    corpus: Mapping[str, Any]
    protocol: Mapping[str, Any]
    signature: str
    chance: float
    bootstrap: Bootstrap
    over_seeds: bool
    scope: Scope
    margin: float
    recipes: tuple[RecipeReport, ...]
    pairs: tuple[PairReport, ...]
    letters: Mapping[str, str]
    exclusions: tuple[Exclusion, ...]
    people: HumanReference | None
    audit: Mapping[str, Any] | None
    ledger: LedgerCount | None
    machines: tuple[Mapping[str, Any], ...]
    versions: tuple[Mapping[str, Any], ...]

    @property
    def head(self) -> tuple[Notice, ...]:
        """Notices that stand above the figures: the gravest."""
        return self.notices[: at_head(self.notices)]

    @property
    def further(self) -> tuple[Notice, ...]:
        """The other notices, which are folded, or stand at the end."""
        return self.notices[at_head(self.notices) :]

    @property
    def foreign(self) -> bool:
        """Whether the tables are others', so that nothing is known of training."""
        return self.ledger is None

    @property
    def noun(self) -> str:
        """What is compared: recipes, or the models of others' tables."""
        return "model" if self.foreign else "recipe"

    @property
    def has_intervals(self) -> bool:
        """Whether any score has an interval."""
        return any(recipe.scores["uar"].low is not None for recipe in self.recipes)

    @property
    def intervals_text(self) -> str:
        """What the scores are shown with, as the end of a sentence."""
        if self.has_intervals:
            return f"with 95 % intervals over {people(self.corpus['name'])}"
        return f"without intervals: {self.recipes[0].scores['uar'].reason}"

    @property
    def tests_pairs(self) -> bool:
        """Whether any pair has an interval and a p."""
        return any(pair.comparison is not None and pair.comparison.p is not None for pair in self.pairs)

    @property
    def margin_text(self) -> str:
        """What is called equivalent, and why so much."""
        why = f" (the default, {WHY_MARGIN})" if self.margin == MARGIN else ", as chosen for this report"
        return f"Equivalent: the 90 % interval lies within {points(self.margin)} points{why}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold, without NaN: ``report.json``."""
        found: dict[str, Any] = plain(self)
        return found | {name: [each.to_dict() for each in getattr(self, name)] for name in ("recipes", "pairs")}


def summarise(
    runs: Sequence[Run],
    ledger: Iterable[Mapping[str, Any]] = (),
    audit: Mapping[str, Any] | None = None,
    clips: pd.DataFrame | None = None,
    *,
    margin: float = MARGIN,
    judged: Judged | None = None,
) -> Report:
    """Judge runs of one corpus and protocol.

    Args:
        runs: the runs, of any recipes, folds and seeds.
        ledger: the lines of ``ledger.jsonl``.
        audit: what the leak audit found: ``verdict`` and ``findings``.
        clips: the corpus's table, for votes and what it knows of the speakers.
        margin: differences of UAR up to this are called equivalent.
        judged: what has been found of others' tables already and need not be computed again.

    Raises:
        UserError: there are no runs, or they do not belong together.
    """
    if not runs:
        raise UserError("there are no runs to report on; compare recipes first.")
    signature = runs[0].signature
    known = all(run.signature["corpus"]["speakers_known"] for run in runs)
    corpus, protocol = signature["corpus"] | {"speakers_known": known}, signature["protocol"]
    groups = group_runs(runs)
    by_name = {group.name: group for group in groups}
    with bar("judging recipes", len(groups)) as progress:
        recipes = []
        for group in groups:
            known_of = judged.tables.get(group.name) if judged else None
            found = known_of.trust if known_of else describe_trust(group, clips)
            recipes.append(replace(describe(group, known_of), trust=found))
            progress.advance()
    recipes.sort(key=_rank)
    couples = list(combinations([by_name[recipe.name] for recipe in recipes], 2))
    with bar("comparing recipes", len(couples)) as progress:
        pairs = []
        for first, second in couples:
            found_of = judged.pairs.get((first.name, second.name)) if judged else None
            pairs.append(compare_pair(first, second, margin=margin, found=found_of))
            progress.advance()
    together = judged_together(pairs)
    scope = min((recipe.scope for recipe in recipes), key=get_args(Scope).index)
    exclusions = _exclusions(runs)
    return Report(
        serlab=tuple(sorted({str(run.signature["serlab"]) for run in runs})),
        answer=answer(corpus, protocol, recipes, together, noun="model" if is_foreign(signature) else "recipe"),
        notices=tuple(notices(corpus, protocol, recipes, together, exclusions, audit, _given(groups))),
        corpus=corpus,
        protocol=protocol,
        signature=_signature(corpus, protocol, groups),
        chance=_chance(recipes, corpus),
        bootstrap=Bootstrap(),
        over_seeds=scope in ("two seeds", "recipes"),
        scope=scope,
        margin=margin,
        recipes=tuple(recipes),
        pairs=together,
        letters=letters_of([recipe.name for recipe in recipes], together),
        exclusions=exclusions,
        people=None if clips is None else _human_reference(groups, clips),
        audit=audit,
        ledger=None if is_foreign(signature) else _ledger(ledger, corpus, protocol, set(by_name)),
        machines=_distinct(run.signature["machine"] for run in runs if run.signature["machine"]),
        versions=_distinct(run.signature["versions"] for run in runs if run.signature["versions"]),
    )


def _chance(recipes: Sequence[RecipeReport], corpus: Mapping[str, Any]) -> float:
    """Chance of the labels that have clips, if that is the same for all recipes; otherwise of all labels."""
    found = {recipe.chance for recipe in recipes}
    return found.pop() if len(found) == 1 else 1 / len(corpus["labels"])


def _human_reference(groups: Sequence[RecipeRuns], clips: pd.DataFrame) -> HumanReference | None:
    """Human raters on all clips that any recipe is judged on."""
    corpus = groups[0].signature["corpus"]
    judged = pd.concat([group.rows[["clip"]] for group in groups]).drop_duplicates()
    return human_reference(judged, clips, corpus["labels"], resampling=Resampling(known=corpus["speakers_known"]))


def _rank(recipe: RecipeReport) -> tuple[bool, float, str]:
    """Test before dev, then by UAR."""
    return recipe.side == "dev", -recipe.scores["uar"].value, recipe.name


def _signature(corpus: Mapping[str, Any], protocol: Mapping[str, Any], groups: Sequence[RecipeRuns]) -> str:
    folds = dict.fromkeys(fold for group in groups for fold in group.folds)
    seeds = {seed for group in groups for seed in group.seed_names.values() if seed is not None}
    return signature_line(corpus, protocol["name"], folds, seeds)


def _exclusions(runs: Sequence[Run]) -> tuple[Exclusion, ...]:
    """Every exclusion once per fold and side, with the recipes whose runs name it."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for run in runs:
        for entry in run.signature["exclusions"]:
            key = (entry["fold"], entry["side"], entry["clip"], entry["reason"])
            found.setdefault(key, set()).add(recipe_of(run))
    return tuple(
        Exclusion(fold, side, clip, reason, tuple(sorted(found[fold, side, clip, reason])))
        for fold, side, clip, reason in sorted(found, key=_place)
    )


def _place(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Exclusions of no fold come before those of one."""
    return key[0] is not None, *key[0:1] * (key[0] is not None), *key[1:]


def _ledger(
    lines: Iterable[Mapping[str, Any]], corpus: Mapping[str, Any], protocol: Mapping[str, Any], names: set[str]
) -> LedgerCount:
    """How often the test subsets of this corpus and protocol have been read, and by how many configurations."""
    here = [line for line in lines if line["corpus"] == corpus["name"] and line["protocol"] == protocol["name"]]
    return LedgerCount(
        evaluations=len(here),
        configurations=len({line["hash"] for line in here}),
        not_shown=tuple(sorted({str(line["recipe"]) for line in here} - names)),
    )


def _distinct(values: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return tuple(found)


def _given(groups: Sequence[RecipeRuns]) -> list[str]:
    """What is not known about finished models that were tested beside trained recipes."""
    found = [(group.title, group.signature.get("given", {}).get("caution")) for group in groups]
    return [f"{title}: {caution}" for title, caution in found if caution]
