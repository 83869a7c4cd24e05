"""One recipe's part of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from serlab.core.settings import plain
from serlab.corpora import describe as describe_corpus
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.judge import Scored, score_table
from serlab.evaluation.learning import fit_caution
from serlab.evaluation.metrics import absent, recall_metrics, uar, wa
from serlab.evaluation.population import cautions
from serlab.evaluation.resampling import Interval
from serlab.evaluation.spread import Spread, over_folds, over_seeds, student
from serlab.evaluation.trust import Trust, trust
from serlab.recipes.variants import changed_settings
from serlab.report.selection import RecipeRuns, called
from serlab.report.words import interval_text, people, percent
from serlab.tables.predictions import Run, labels_of, probabilities_of

WORST = 12


@dataclass(frozen=True)
class Exclusion:
    """A clip that was left out; ``recipes`` are those whose runs name it."""

    fold: int | None
    side: str
    clip: str
    reason: str
    recipes: tuple[str, ...]


@dataclass(frozen=True)
class RunReport:
    """One run: its scores, and how its model was chosen; None for what its table does not name."""

    fold: int | str | None
    seed: int | None
    clips: int
    uar: float
    wa: float
    absent: tuple[str, ...]
    dev_uar: float | None
    train_uar: float | None
    best_epoch: int | None
    selection: str
    chosen: Mapping[str, Any]
    train_seconds: float | None


@dataclass(frozen=True)
class Curve:
    """A run's learning curve: per epoch ``epoch``, ``loss`` and ``dev_uar``."""

    fold: int
    seed: int
    best_epoch: int | None
    epochs: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class FoldSpread(Spread):
    """Scores of folds, with Student's interval over them, shown beside for comparison only."""

    student: tuple[float, float] | None


@dataclass(frozen=True)
class SpeakerScore:
    """A speaker's UAR, mean over seeds."""

    speaker: str
    uar: float


@dataclass(frozen=True)
class WrongClip:
    """A clip that a model got wrong, by the probability it gave to its wrong answer."""

    clip: str
    speaker: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float
    fold: int | str | None
    seed: int | None


@dataclass(frozen=True)
class Cost:
    """Cost per run: sizes as they are, times as means, memory as the largest.

    ``teacher_seconds`` is the time to train the run's teachers and to score its training clips by
    them; None without teachers.
    """

    parameters: float | None
    trained_parameters: float | None
    train_seconds: float | None
    predict_seconds: float | None
    real_time_factor: float | None
    peak_memory_mb: float | None
    teacher_seconds: float | None = None


@dataclass(frozen=True)
class LeftOut:
    """A run outside the full grid of folds and seeds."""

    fold: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class RecipeReport(Scored):
    """Everything the report says about one recipe, beside its scores.

    Attributes:
        name: the recipe's folder name.
        title: unique within the report.
        hash: of its configuration.
        pretrained: name of the weights that it starts from, or whose states its encoder learned to
            predict.
        weights_sha256: their hash.
        changed: settings that differ from the preset, None if they are not known.
        precision: of all its runs.
        versions: of serlab, of all its runs.
        side: the subset it is judged on.
        folds: as they are called.
        seeds: that were trained.
        left_out: runs outside the full grid.
        train_uar: mean UAR on training clips.
        dev_uar: mean UAR on dev.
        not_learned: why UAR is not shown to be above chance.
        fit_caution: ``underfitted``, ``overfitted`` or None.
        recalls: the recall of each label that has clips, each with a 95 % interval of its own.
        per_speaker: each speaker's UAR, empty if they are unknown.
        over_seeds: UAR of each seed.
        over_folds: UAR of each fold.
        runs: each run.
        curves: learning curves of the runs that have one.
        worst: wrong clips that it was surest of.
        cost: of a run.
        trust: how far to trust its answers; None in an overview.
        weights: of a fusion's members, least and most over runs; None for what is not a fusion.
        dev_used: whether a teacher chose its settings by a run's dev subset; None if not.
    """

    name: str
    title: str
    hash: str
    pretrained: str | None
    weights_sha256: str | None
    changed: Mapping[str, Any] | None
    precision: tuple[str, ...]
    versions: tuple[str, ...]
    side: str
    folds: tuple[int | str, ...]
    seeds: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    train_uar: float | None
    dev_uar: float | None
    not_learned: tuple[str, ...]
    fit_caution: str | None
    recalls: dict[str, Interval]
    per_speaker: tuple[SpeakerScore, ...]
    over_seeds: Spread
    over_folds: FoldSpread
    runs: tuple[RunReport, ...]
    curves: tuple[Curve, ...]
    worst: tuple[WrongClip, ...]
    cost: Cost
    trust: Trust | None = None
    weights: dict[str, tuple[float, float]] | None = None
    dev_used: bool | None = None

    @property
    def confidence(self) -> Trust:
        """``trust`` of a recipe in a report, where it is always there."""
        assert self.trust is not None
        return self.trust

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold, without ``trust``, ``weights`` and ``dev_used`` if they are None."""
        optional = ("trust", "weights", "dev_used")
        return {key: value for key, value in plain(self).items() if key not in optional or value is not None}


def describe(recipe: RecipeRuns, found: Scored | None = None) -> RecipeReport:
    """Judge one recipe, without how far to trust it.

    Args:
        recipe: its runs.
        found: the scores of another's table, if they have been computed already.
    """
    recorded, labels = recipe.signature["recipe"], recipe.table.labels
    counts = count_by_speaker(recipe.rows, labels)
    speakers = people(recipe.signature["corpus"]["name"])
    scored = (
        _with_people(found, counts, speakers)
        if found
        else score_table(recipe.table, counts, side=recipe.side, uneven_clips=recipe.uneven_clips, people=speakers)
    )
    uar_of, without = scored.scores["uar"], (*scored.absent, *scored.partly_absent)
    fold_wise = over_folds(counts)
    runs = tuple(_describe_run(run, recipe.side, labels) for run in recipe.runs)
    train_uar = _mean([run.train_uar for run in runs])
    return RecipeReport(
        **{each.name: getattr(scored, each.name) for each in fields(Scored)},
        name=recipe.name,
        title=recipe.title,
        hash=recorded["hash"],
        pretrained=recorded["pretrained"] or _distilled(recorded["config"]),
        weights_sha256=recipe.signature.get("weights_sha256"),
        changed=changed_settings(recorded),
        precision=tuple(sorted({str(run.signature["precision"]) for run in recipe.runs})),
        versions=tuple(sorted({str(run.signature["serlab"]) for run in recipe.runs})),
        side=recipe.side,
        folds=tuple(recipe.folds),
        seeds=tuple(recipe.trained_seeds),
        left_out=tuple(LeftOut(fold, seed) for fold, seed in recipe.left_out),
        train_uar=train_uar,
        dev_uar=_mean([run.dev_uar for run in runs]),
        not_learned=(_at_chance(uar_of, scored.chance),) if scored.learned is False else (),
        fit_caution=fit_caution(train_uar, uar_of.value, scored.chance),
        recalls=intervals(counts, metrics=recall_metrics(labels, without), resampling=recipe.table.resampling),
        per_speaker=_per_speaker(counts) if recipe.table.speakers_known else (),
        over_seeds=over_seeds(counts),
        over_folds=FoldSpread(**vars(fold_wise), student=student(fold_wise)),
        runs=runs,
        curves=_curves(recipe),
        worst=worst_confusions(recipe),
        dev_used=any((run.signature.get("teacher") or {}).get("dev_used") for run in recipe.runs) or None,
        cost=_cost([run.signature["cost"] | _of_teacher(run.signature) for run in recipe.runs]),
    )


def describe_trust(recipe: RecipeRuns, clips: pd.DataFrame | None) -> Trust:
    """Judge how far one recipe's answers can be trusted; see :func:`serlab.evaluation.trust.trust`."""
    table = recipe.table
    known = describe_corpus(recipe.signature["corpus"]["name"])
    return trust(table, count_by_speaker(table.rows, table.labels), clips, tracks=known.tracks if known else None)


def _with_people(scored: Scored, counts: SpeakerCounts, people: str) -> Scored:
    """The same scores, with cautions in the words of the corpus."""
    return replace(scored, cautions=cautions(counts, people=people)) if scored.cautions else scored


def _distilled(config: Mapping[str, Any]) -> str | None:
    """Name of the encoder whose states a recipe's encoder first learned to predict; None if it did not."""
    pretraining = config.get("training", {}).get("pretraining")
    return f"{pretraining['checkpoint']}, by distillation" if pretraining else None


def _at_chance(score: Interval, chance: float) -> str:
    """Why a recipe is not shown to have learned."""
    return f"the 95 % interval of its UAR ({interval_text(score)}) does not lie above chance ({percent(chance)} %)"


def worst_confusions(recipe: RecipeRuns) -> tuple[WrongClip, ...]:
    """The wrong clips that the recipe was surest of, each clip once, surest first; none if it has no scores."""
    rows = recipe.rows
    if not labels_of(rows):
        return ()
    wrong = rows[rows["predicted"] != rows["label"]].sort_values(["probability", "clip"], ascending=[False, True])
    worst = wrong.drop_duplicates("clip").head(WORST)
    column = {label: index for index, label in enumerate(labels_of(worst))}
    of_label = probabilities_of(worst)[range(len(worst)), [column[label] for label in worst["label"]]]
    worst = worst.assign(probability_of_label=of_label)[[field.name for field in fields(WrongClip)]].astype(object)
    for key, names in (("fold", recipe.fold_names), ("seed", recipe.seed_names)):
        worst[key] = [names[number] for number in worst[key]]
    return tuple(WrongClip(*row) for row in worst.itertuples(index=False))


def _describe_run(run: Run, side: str, labels: Sequence[str]) -> RunReport:
    training = run.signature["training"]
    judged = run.table[run.table["side"] == side]
    dev = run.table[run.table["side"] == "dev"]
    counts = count_by_speaker(judged, labels).by_seed[0]
    return RunReport(
        fold=called(run)["fold"],
        seed=called(run)["seed"],
        clips=len(judged),
        uar=float(uar(counts)),
        wa=float(wa(counts)),
        absent=tuple(absent(counts, labels)),
        dev_uar=float(uar(count_by_speaker(dev, labels).by_seed[0])) if len(dev) else None,
        train_uar=training["train_uar"],
        best_epoch=training.get("best_epoch"),
        selection=training["selection"],
        chosen=training.get("chosen") or {},
        train_seconds=run.signature["cost"].get("train_seconds"),
    )


def _curves(recipe: RecipeRuns) -> tuple[Curve, ...]:
    each = [(run.signature, run.signature["training"]) for run in recipe.runs]
    return tuple(
        Curve(signature["fold"], signature["seed"], training.get("best_epoch"), training["epochs"])
        for signature, training in each
        if training["epochs"]
    )


def _per_speaker(counts: SpeakerCounts) -> tuple[SpeakerScore, ...]:
    """Mean of each speaker's UAR over the seeds that have judged them."""
    means = np.nanmean(uar(counts.by_speaker), axis=0)
    return tuple(SpeakerScore(name, float(value)) for name, value in zip(counts.speakers, means, strict=True))


def _cost(costs: Sequence[Mapping[str, Any]]) -> Cost:
    sizes, times = ("parameters", "trained_parameters"), ("train_seconds", "predict_seconds", "teacher_seconds")
    memory = [cost["peak_memory_mb"] for cost in costs if cost.get("peak_memory_mb") is not None]
    means = {name: _mean([cost.get(name) for cost in costs]) for name in (*sizes, *times, "real_time_factor")}
    return Cost(**means, peak_memory_mb=max(memory, default=None))


def _of_teacher(signature: Mapping[str, Any]) -> dict[str, float]:
    teacher = signature.get("teacher")
    return {"teacher_seconds": teacher["train_seconds"] + teacher["score_seconds"]} if teacher else {}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
