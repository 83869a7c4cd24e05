"""One recipe's part of the summary, and the paired difference of two."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from serlab.corpora import describe as describe_corpus
from serlab.evaluation.bootstrap import Interval, intervals
from serlab.evaluation.judge import per_class
from serlab.evaluation.learning import chance_of, fit_caution, has_learned
from serlab.evaluation.metrics import absent, uar, wa
from serlab.evaluation.outcomes import Called, count_outcomes
from serlab.evaluation.paired import compare
from serlab.evaluation.spread import over_folds, over_seeds, student
from serlab.evaluation.trust import trust
from serlab.recipes.variants import changed_settings
from serlab.report.selection import Cell, RecipeRuns, called, full_grid
from serlab.report.words import interval_text, percent
from serlab.tables.predictions import Run, labels_of, probabilities_of

WORST = 12
_WORST_COLUMNS = ("clip", "speaker", "label", "predicted", "probability", "probability_of_label", "fold", "seed")


def describe(recipe: RecipeRuns) -> dict[str, Any]:
    """Everything the report says of one recipe, as plain data."""
    corpus = recipe.signature["corpus"]
    labels, known = corpus["labels"], corpus["speakers_known"]
    outcomes = count_outcomes(recipe.rows, labels)
    scores = intervals(outcomes, speakers_known=known)
    fold_wise = over_folds(outcomes)
    runs = [_describe_run(run, recipe.side, labels) for run in recipe.runs]
    train_uar = _mean([run["train_uar"] for run in runs])
    without = absent(outcomes.by_seed, labels)
    heard = len(labels) - len(without)
    learned = has_learned(scores["uar"], heard, side=recipe.side)
    return {
        "name": recipe.name,
        "title": recipe.title,
        "hash": recipe.signature["recipe"]["hash"],
        "pretrained": recipe.signature["recipe"]["pretrained"],
        "weights_sha256": recipe.signature.get("weights_sha256"),
        "changed": changed_settings(recipe.signature["recipe"]),
        "precision": sorted({str(run.signature["precision"]) for run in recipe.runs}),
        "versions": sorted({str(run.signature["serlab"]) for run in recipe.runs}),
        "side": recipe.side,
        "folds": recipe.folds,
        "seeds": recipe.trained_seeds,
        "seeds_comparable": len(recipe.seeds) == 1 or outcomes.seeds_comparable,
        "left_out": [{"fold": fold, "seed": seed} for fold, seed in recipe.left_out],
        "clips": int(recipe.rows["clip"].nunique()),
        "speakers": len(outcomes.speakers) if known else None,
        "scores": {metric: asdict(score) for metric, score in scores.items()},
        "train_uar": train_uar,
        "dev_uar": _mean([run["dev_uar"] for run in runs]),
        "chance": chance_of(heard),
        "learned": learned,
        "not_learned": [_at_chance(scores["uar"], heard)] if learned is False else [],
        "fit_caution": fit_caution(train_uar, scores["uar"].value, heard),
        "absent": without,
        "per_class": per_class(outcomes.by_seed, recipe.rows, labels),
        "confusion": outcomes.by_seed.sum(axis=0).tolist(),
        "per_speaker": _per_speaker(outcomes.speakers, uar(outcomes.by_speaker)) if known else [],
        "over_seeds": asdict(over_seeds(outcomes)),
        "over_folds": asdict(fold_wise) | {"student": student(fold_wise)},
        "runs": runs,
        "curves": _curves(recipe),
        "worst": worst_confusions(recipe),
        "cost": _cost([run.signature["cost"] for run in recipe.runs]),
    }


def describe_trust(recipe: RecipeRuns, clips: pd.DataFrame | None) -> dict[str, Any]:
    """How far one recipe's answers can be trusted; see :func:`serlab.evaluation.trust.trust`."""
    corpus = recipe.signature["corpus"]
    tables = [run.table for run in recipe.runs]
    dev = pd.concat([table[table["side"] == "dev"] for table in tables], ignore_index=True)
    outcomes = count_outcomes(recipe.rows, corpus["labels"])
    fitted_on = dev if recipe.side == "test" else dev.iloc[:0]
    known = describe_corpus(corpus["name"])
    return trust(
        recipe.rows,
        fitted_on,
        outcomes,
        clips,
        tracks=known.tracks if known else None,
        speakers_known=corpus["speakers_known"],
        folds=recipe.fold_names,
        seeds=recipe.seed_names,
    )


def _at_chance(score: Interval, labels: int) -> str:
    """Why a recipe is not shown to have learned."""
    interval, chance = interval_text(asdict(score)), percent(chance_of(labels))
    return f"the 95 % interval of its UAR ({interval}) does not lie above chance ({chance} %)"


def compare_pair(first: RecipeRuns, second: RecipeRuns) -> dict[str, Any]:
    """The paired difference ``first - second`` on the clips, folds and seeds that both have."""
    pair: dict[str, Any] = {"first": first.name, "second": second.name, "differences": None, "reason": ""}
    shared = _shared_cells(first, second)
    if first.side != second.side:
        return pair | {"reason": f"one is judged on {first.side}, the other on {second.side}"}
    if not shared:
        return pair | {"reason": "they have no fold and seed in common"}
    corpus = first.signature["corpus"]
    # Others may have put their clips into folds in different ways.
    keys = ["clip", "seed"] if "called" in first.signature else ["clip", "fold", "seed"]
    cells = pd.DataFrame(shared, columns=["fold", "seed"])[keys[1:]].drop_duplicates()
    both = first.rows[keys].merge(second.rows[keys], on=keys).merge(cells)
    if both.empty:
        return pair | {"reason": "they have no clip in common"}
    one, other = (count_outcomes(side.rows.merge(both, on=keys), corpus["labels"]) for side in (first, second))
    return pair | {
        **compare(one, other, speakers_known=corpus["speakers_known"]),
        "folds": _shared_names(first.fold_names, second.fold_names, {fold for fold, _ in shared}),
        "seeds": _shared_names(first.seed_names, second.seed_names, {seed for _, seed in shared}),
        "clips": int(both["clip"].nunique()),
        "speakers": len(one.speakers) if corpus["speakers_known"] else None,
        "partial": set(shared) != set(first.cells) or set(shared) != set(second.cells),
    }


def _shared_cells(first: RecipeRuns, second: RecipeRuns) -> list[Cell]:
    """Folds and seeds that can be paired; of others' tables every fold, under the seeds that both have."""
    if "called" in first.signature:
        seeds = set(first.seeds) & set(second.seeds)
        return sorted({cell for cell in (*first.cells, *second.cells) if cell[1] in seeds})
    return full_grid(set(first.cells) & set(second.cells))


def _shared_names(first: Called, second: Called, numbers: Collection[int]) -> list[int | str]:
    """What both call the folds or seeds of these numbers, in order; nothing where they call them differently."""
    named = {number: first.get(number) for number in sorted(numbers)}
    return [name for number, name in named.items() if name is not None and name == second.get(number)]


def worst_confusions(recipe: RecipeRuns) -> list[dict[str, Any]]:
    """The wrong clips that the recipe was surest of, each clip once, surest first; none where it has no scores."""
    rows = recipe.rows
    if not labels_of(rows):
        return []
    wrong = rows[rows["predicted"] != rows["label"]].sort_values(["probability", "clip"], ascending=[False, True])
    worst = wrong.drop_duplicates("clip").head(WORST)
    column = {label: index for index, label in enumerate(labels_of(worst))}
    of_label = probabilities_of(worst)[range(len(worst)), [column[label] for label in worst["label"]]]
    worst = worst.assign(probability_of_label=of_label)[list(_WORST_COLUMNS)].astype(object)
    for key, names in (("fold", recipe.fold_names), ("seed", recipe.seed_names)):
        worst[key] = [names[number] for number in worst[key]]
    return [dict(zip(_WORST_COLUMNS, row, strict=True)) for row in worst.itertuples(index=False)]


def _describe_run(run: Run, side: str, labels: Sequence[str]) -> dict[str, Any]:
    training = run.signature["training"]
    judged = run.table[run.table["side"] == side]
    dev = run.table[run.table["side"] == "dev"]
    counts = count_outcomes(judged, labels).by_seed[0]
    return {
        "fold": called(run)["fold"],
        "seed": called(run)["seed"],
        "clips": len(judged),
        "uar": float(uar(counts)),
        "wa": float(wa(counts)),
        "absent": absent(counts, labels),
        "dev_uar": float(uar(count_outcomes(dev, labels).by_seed[0])) if len(dev) else None,
        "train_uar": training["train_uar"],
        "best_epoch": training.get("best_epoch"),
        "selection": training["selection"],
        "chosen": training.get("chosen") or {},
        "train_seconds": run.signature["cost"].get("train_seconds"),
    }


def _curves(recipe: RecipeRuns) -> list[dict[str, Any]]:
    return [
        {
            "fold": run.signature["fold"],
            "seed": run.signature["seed"],
            "best_epoch": run.signature["training"].get("best_epoch"),
            "epochs": run.signature["training"]["epochs"],
        }
        for run in recipe.runs
        if run.signature["training"]["epochs"]
    ]


def _per_speaker(speakers: Sequence[str], scores: Any) -> list[dict[str, Any]]:
    """Mean of each speaker's UAR over the seeds that have judged them; scores have shape (seeds, speakers)."""
    means = np.nanmean(scores, axis=0)
    return [{"speaker": name, "uar": float(value)} for name, value in zip(speakers, means, strict=True)]


def _cost(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per run: sizes as they are, times as means, memory as the largest."""
    mean = ("parameters", "trained_parameters", "train_seconds", "predict_seconds", "real_time_factor")
    memory = [cost["peak_memory_mb"] for cost in costs if cost.get("peak_memory_mb") is not None]
    found: dict[str, Any] = {name: _mean([cost.get(name) for cost in costs]) for name in mean}
    return found | {"peak_memory_mb": max(memory, default=None)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
