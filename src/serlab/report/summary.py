"""The report as plain data: everything that the page, the Markdown and the JSON show, and nothing else decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from serlab.core import UserError
from serlab.core.progress import bar
from serlab.core.settings import plain
from serlab.evaluation.paired import adjusted
from serlab.evaluation.resampling import LEVEL, STANDARD, Resampling
from serlab.evaluation.significance import MARGIN
from serlab.evaluation.trust import human_reference
from serlab.report.notices import notices
from serlab.report.recipe import compare_pair, describe, describe_trust
from serlab.report.selection import RecipeRuns, group_runs
from serlab.report.verdict import answer
from serlab.report.words import signature_line
from serlab.tables.predictions import Run


def summarise(
    runs: Sequence[Run],
    ledger: Iterable[Mapping[str, Any]] = (),
    audit: Mapping[str, Any] | None = None,
    clips: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Judge runs of one corpus and protocol.

    Args:
        runs: the runs, of any recipes, folds and seeds.
        ledger: the lines of ``ledger.jsonl``.
        audit: what the leak audit found: ``verdict`` and ``findings``.
        clips: the corpus's table, for votes and what it knows of the speakers.

    Returns:
        Plain data that JSON can hold, without NaN: ``answer``, ``notices``, ``corpus``, ``protocol``, ``signature``,
        ``chance``, ``bootstrap``, ``over_seeds``, ``margin``, ``recipes`` (best first), ``pairs``, ``exclusions``,
        ``people``, ``audit`` and ``ledger``.

    Raises:
        UserError: there are no runs, or they do not belong together.
    """
    if not runs:
        raise UserError("there are no runs to report on; make some with serlab compare.")
    signature = runs[0].signature
    corpus, protocol = signature["corpus"], signature["protocol"]
    groups = group_runs(runs)
    by_name = {group.name: group for group in groups}
    with bar("judging recipes", len(groups)) as progress:
        recipes = []
        for group in groups:
            recipes.append(describe(group) | {"trust": describe_trust(group, clips)})
            progress.advance()
    recipes.sort(key=_rank)
    couples = list(combinations([by_name[recipe["name"]] for recipe in recipes], 2))
    with bar("comparing recipes", len(couples)) as progress:
        pairs = []
        for first, second in couples:
            pairs.append(compare_pair(first, second))
            progress.advance()
    p_holm = adjusted([pair.get("p") for pair in pairs])
    pairs = [pair | {"p_holm": p} for pair, p in zip(pairs, p_holm, strict=True)]
    exclusions = _exclusions(runs)
    found: dict[str, Any] = plain(
        {
            "serlab": sorted({str(run.signature["serlab"]) for run in runs}),
            "answer": answer(corpus, protocol, recipes, pairs),
            "notices": notices(corpus, protocol, recipes, exclusions, audit),
            "corpus": corpus,
            "protocol": protocol,
            "signature": _signature(corpus, protocol, groups),
            "chance": _chance(recipes, corpus),
            "bootstrap": {
                "replicates": STANDARD.replicates,
                "level": LEVEL,
                "over": "speakers",
                "seed": STANDARD.seed,
            },
            "over_seeds": all(len(recipe["seeds"]) > 1 and recipe["seeds_comparable"] for recipe in recipes),
            "margin": MARGIN,
            "recipes": recipes,
            "pairs": pairs,
            "exclusions": exclusions,
            "people": None if clips is None else _people(groups, clips),
            "audit": audit,
            "ledger": _ledger(ledger, corpus, protocol, set(by_name)),
            "machines": _distinct(run.signature["machine"] for run in runs if run.signature["machine"]),
            "versions": _distinct(run.signature["versions"] for run in runs if run.signature["versions"]),
        }
    )
    return found


def _chance(recipes: Sequence[Mapping[str, Any]], corpus: Mapping[str, Any]) -> float:
    """Chance of the labels that have clips, where that is the same for all recipes; otherwise of all labels."""
    found = {float(recipe["chance"]) for recipe in recipes}
    return found.pop() if len(found) == 1 else 1 / len(corpus["labels"])


def _people(groups: Sequence[RecipeRuns], clips: pd.DataFrame) -> dict[str, Any] | None:
    """People on all clips that any recipe is judged on."""
    corpus = groups[0].signature["corpus"]
    judged = pd.concat([group.rows[["clip"]] for group in groups]).drop_duplicates()
    found: dict[str, Any] | None = plain(
        human_reference(judged, clips, corpus["labels"], resampling=Resampling(known=corpus["speakers_known"]))
    )
    return found


def _rank(recipe: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Test before dev, then by UAR."""
    return recipe["side"] == "dev", -recipe["scores"]["uar"]["value"], recipe["name"]


def _signature(corpus: Mapping[str, Any], protocol: Mapping[str, Any], groups: Sequence[RecipeRuns]) -> str:
    folds = dict.fromkeys(fold for group in groups for fold in group.folds)
    seeds = {seed for group in groups for seed in group.seed_names.values() if seed is not None}
    return signature_line(corpus, protocol["name"], folds, seeds)


def _exclusions(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every exclusion once a fold and side, with the recipes whose runs name it."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run in runs:
        for exclusion in run.signature["exclusions"]:
            key = (exclusion["fold"], exclusion["side"], exclusion["clip"], exclusion["reason"])
            entry = found.setdefault(key, {name: exclusion[name] for name in ("fold", "side", "clip", "reason")})
            entry.setdefault("recipes", set()).add(run.path.parent.name)
    return [found[key] | {"recipes": sorted(found[key]["recipes"])} for key in sorted(found, key=_place)]


def _place(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Exclusions of no fold come before those of one."""
    return key[0] is not None, *key[0:1] * (key[0] is not None), *key[1:]


def _ledger(
    lines: Iterable[Mapping[str, Any]], corpus: Mapping[str, Any], protocol: Mapping[str, Any], names: set[str]
) -> dict[str, Any]:
    """How often the test sides of this corpus and protocol have been read, and by how many configurations."""
    here = [line for line in lines if line["corpus"] == corpus["name"] and line["protocol"] == protocol["name"]]
    return {
        "evaluations": len(here),
        "configurations": len({line["hash"] for line in here}),
        "not_shown": sorted({str(line["recipe"]) for line in here} - names),
    }


def _distinct(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        if dict(value) not in found:
            found.append(dict(value))
    return found
