"""Plan, execute and report cross-corpus runs; :func:`serlab.compare_across` calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from serlab.core import Exclusion, UserError
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.corpora.emotions import LabelMap, Mapped, only
from serlab.corpora.screening import check_usable
from serlab.experiments.context import RunContext
from serlab.experiments.crossing_models import GivenModel, GivenRun, given_split, heard_target, test_given
from serlab.experiments.crossing_normalised import can_normalise
from serlab.experiments.crossing_runs import CrossRun, Training, cross_run, execute, heard_by
from serlab.experiments.crossing_sides import (
    Pairs,
    Source,
    common_labels,
    context_of,
    heard_recordings,
    same_recordings,
    source_of,
    target_split,
)
from serlab.experiments.jobs import spread
from serlab.experiments.layout import Results
from serlab.frontends.store import FeatureStores
from serlab.protocols import default_protocol
from serlab.recipes import Recipe, identify, precision_of, teacher_of
from serlab.report import crossing_pages
from serlab.report.crossing import CellRuns
from serlab.report.crossing import Crossing as Judged
from serlab.report.crossing_judge import judge
from serlab.tables import ledger
from serlab.tables.predictions import read_run, read_runs

FOLDER = "cross-corpus"
"""Folder of the report below the results folder."""

Named = str | Corpus
Sides = Sequence[tuple[tuple[Named, ...], tuple[Named, ...]]]


# Tables have no truth value, so crossings are compared by identity.
@dataclass(frozen=True, eq=False)
class Crossing:
    """The result of cross-corpus runs.

    Attributes:
        report: path of the report's page.
        scores: one row per source, target and recipe: UAR with its interval, the difference from
            training within the target, and ``reason`` if the target was not tested.
        exclusions: clips that could not be used. Clips whose label has no counterpart are not among
            them; the report counts them.
        lines: the judgement in sentences.
        models: folders of the models that were kept.
    """

    report: Path
    scores: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    lines: tuple[str, ...]
    models: tuple[Path, ...] = ()


@dataclass(frozen=True)
class How:
    """How models are trained; as the arguments of :func:`serlab.compare_across`, and what names of parts end in."""

    balance: bool
    normalise: bool
    keep_models: bool
    jobs: int
    part: str = ""


Planned = tuple[CellRuns, Sequence[CrossRun] | Sequence[GivenRun], Source | None]


@dataclass
class Job:
    """What all runs share.

    Attributes:
        out: results folder.
        stores: features computed so far.
        labels: the map of labels.
        maps: each corpus with its labels mapped, by what it was asked for.
        seeds: of the runs.
        max_excluded: maximum share of clips that may be left out.
        how: how models are trained.
    """

    out: Path
    stores: FeatureStores
    labels: LabelMap
    maps: Mapping[Any, Mapped]
    seeds: Sequence[int]
    max_excluded: float
    how: How

    def run(self, sides: Sides, recipes: Sequence[Recipe], models: Sequence[GivenModel]) -> Crossing:
        """Run and report."""
        for each in self._used:
            _say_dropped(each, self.labels)
        return self.finish(self.plan(sides, recipes, models))

    @cached_property
    def _used(self) -> list[Mapped]:
        return list({each.corpus.name: each for each in self.maps.values()}.values())

    @cached_property
    def _recorded_twice(self) -> Pairs:
        heard = [each for each in self._used if len(each.corpus.clips)]
        return same_recordings(heard) if len(heard) > 1 else []

    def plan(self, sides: Sides, recipes: Sequence[Recipe], models: Sequence[GivenModel]) -> list[Planned]:
        """The cells of the matrix with their runs; nothing is written."""
        planned: list[Planned] = []
        for row, targets in sides if recipes else []:
            plain = source_of([self.maps[name] for name in row], self._recorded_twice, balanced=self.how.balance)
            for recipe in recipes:
                for source in self._rows_of(plain, recipe):
                    planned += [(*self._cell(source, self.maps[name], recipe), source) for name in targets]
        for model in models:
            for name in dict.fromkeys(name for _, targets in sides for name in targets):
                planned.append((*self._given(model, self.maps[name]), None))
        return planned

    def finish(self, planned: Sequence[Planned]) -> Crossing:
        """Execute what is missing of a plan, and report on all of it."""
        self._check(planned)
        trainings = self._trainings(planned)
        self._execute(planned, trainings)
        kept = tuple(each.files.model for each in trainings if each.files.model.is_dir())
        return replace(self._report(planned), models=kept)

    def _rows_of(self, source: Source, recipe: Recipe) -> list[Source]:
        """A source as it is and, if asked for and possible, with features normalised per corpus."""
        if not self.how.normalise:
            return [source]
        if not can_normalise(recipe):
            say(f"{recipe.name} has no row with normalised features: its input is not a vector of one length.")
            return [source]
        return [source, source.as_normalised()]

    def _cell(self, source: Source, target: Mapped, recipe: Recipe) -> tuple[CellRuns, list[CrossRun]]:
        name, names = target.corpus.name, [part.corpus.name for part in source.parts]
        recipe_folder = recipe.folder(identify(recipe)[0])
        cell = CellRuns(
            source.name, name, recipe_folder, recipe.title, emotions=target.emotions, normalised=source.normalised
        )
        labels = common_labels(source.labels, target)
        reason = "the model is trained on it" if name in names else heard_recordings(self._recorded_twice, names, name)
        reason = reason or _too_few(labels, source.name, source.labels, target) or heard_by(recipe, target)
        if reason:
            return replace(cell, reason=reason), []
        part = only(target, labels)
        split = target_split(source, part)
        context = RunContext(part.corpus, split, self.out, self.stores)
        return cell, [cross_run(recipe, seed, source, part, split, context) for seed in self.seeds]

    def _given(self, model: GivenModel, target: Mapped) -> tuple[CellRuns, list[GivenRun]]:
        cell = CellRuns("", target.corpus.name, model.subfolder, model.title, emotions=target.emotions)
        labels = common_labels(model.labels, target)
        reason = _too_few(labels, f"the model {model.name}", model.labels, target) or heard_target(model, target)
        if reason:
            return replace(cell, reason=reason), []
        part = only(target, labels)
        context = RunContext(part.corpus, given_split(model, part), self.out, self.stores)
        return cell, [GivenRun(model, context, part, context.split.folds[0])]

    def _check(self, planned: Sequence[Any]) -> None:
        """Stop before training if nothing can be tested, results are of another configuration, or clips fail."""
        if not any(runs for _, runs, _ in planned):
            cell = planned[0][0]
            where = f"{cell.source or cell.title} to {cell.target}"
            raise UserError(f"nothing can be tested: {where}: {cell.reason}.")
        for cell, _, _ in planned:
            if cell.reason:
                say(f"not tested: {cell.title}, {cell.source or 'as it is'} to {cell.target}: {cell.reason}.")
        checked = set()
        for _, runs, source in planned:
            if any(not each.done for each in runs):
                parts = [*(source.parts if source else ()), runs[0].target]
                for part in parts:
                    if part.corpus.fingerprint not in checked:
                        checked.add(part.corpus.fingerprint)
                        context = RunContext(part.corpus, runs[0].context.split, self.out)
                        check_usable(part.corpus, context.exclusions, self.max_excluded)

    def _trainings(self, planned: Sequence[Planned]) -> list[Training]:
        """The models to train, each with its targets."""
        jobs: dict[tuple[str, str, int], tuple[Source, list[CrossRun]]] = {}
        for _, runs, source in planned:
            for each in runs:
                if source is not None and isinstance(each, CrossRun):
                    key = (source.protocol, each.spec.folder, each.spec.seed)
                    mine = jobs.setdefault(key, (source, []))[1]
                    # Two recipes of one content, e.g. a preset and its file, are one run.
                    if each.files not in [other.files for other in mine]:
                        mine.append(each)
        return [
            Training(source, tuple(runs), context_of(source, self.out, self.stores, keep_models=self._keeps(source)))
            for source, runs in jobs.values()
        ]

    def _keeps(self, source: Source) -> bool:
        """Whether models are kept; one with normalised features could not predict anything without a corpus."""
        return self.how.keep_models and not source.normalised

    def _execute(self, planned: Sequence[Planned], trainings: Sequence[Training]) -> None:
        for _, runs, _ in planned:
            for run in runs:
                if isinstance(run, GivenRun):
                    test_given(run)
        waiting = [each for each in trainings if each.waiting or each.lacks_model]
        titles = [
            f"[{number}/{len(waiting)}] {each.spec.folder} {each.source.protocol} seed {each.spec.seed}"
            for number, each in enumerate(waiting, 1)
        ]
        if self.how.jobs == 1:
            for each, title in zip(waiting, titles, strict=True):
                execute(each, title)
        elif waiting:
            for each in waiting:
                # Measures whether bf16 is faster, which busy workers could not.
                for recipe in (each.spec.recipe, teacher_of(each.spec.recipe)):
                    if recipe:
                        precision_of(recipe)
            calls = [(title, (each, title)) for each, title in zip(waiting, titles, strict=True)]
            spread(execute, calls, self.how.jobs)

    def _report(self, planned: Sequence[Any]) -> Crossing:
        cells = []
        originals = {each.corpus.name: each.original for each in self._used}
        for cell, runs, source in planned:
            found = tuple(read_run(each.files.table) for each in runs)
            within, protocol = self._within(originals[cell.target], cell.recipe, source)
            cells.append(replace(cell, runs=found, within=within, protocol=protocol))
        tested = {(each.target, run.signature["protocol"]["name"]) for each in cells for run in each.runs}
        tests = sum((line.get("corpus"), line.get("protocol")) in tested for line in ledger.read(self.out))
        judged, counts = judge(self.labels.shown, cells, tests)
        page = crossing_pages.write(judged, counts, self.out / f"{FOLDER}{self.how.part}" / "report")
        exclusions = {
            (run.target.corpus.name, each.clip): each
            for _, runs, _ in planned
            for run in runs
            for each in run.context.exclusions
        }
        lines = tuple(cell.line for cell in judged.cells)
        return Crossing(page, scores_of(judged), tuple(exclusions.values()), lines)

    def _within(self, target: Corpus, recipe: str, source: Source | None) -> tuple[tuple[Any, ...], str]:
        """Runs of a recipe within a target, if the results folder has any of the same data."""
        if source is None:
            return (), ""
        protocol = default_protocol(target)
        folder = Results(self.out, target.name, protocol).folder
        runs = read_runs(folder, {recipe}) if folder.is_dir() else []
        same = [run for run in runs if run.signature["corpus"]["fingerprint"] == target.fingerprint]
        return tuple(run for run in same if (run.table["side"] == "test").any()), protocol


def _too_few(labels: Sequence[str], source: str, of_source: Sequence[str], target: Mapped) -> str:
    if len(labels) > 1:
        return ""
    return (
        f"it has {'only ' + labels[0] if labels else 'no emotion'} in common with {source} ({source}: "
        f"{', '.join(of_source)}; {target.corpus.name}: {', '.join(target.corpus.labels) or 'none'})"
    )


def _say_dropped(each: Mapped, labels: LabelMap) -> None:
    for label, clips in each.dropped.items():
        why = labels.why_dropped(label, each.original.name)
        note = f" ({why})" if why else ""
        say(f"{each.corpus.name}: {clips:,} clips of {label} are dropped by the map of labels{note}.")


def scores_of(found: Judged) -> pd.DataFrame:
    """One row per source, target and recipe, as in :class:`Crossing`."""
    rows = []
    for cell in found.cells:
        uar, drop = cell.uar, cell.within.drop if cell.within else None
        rows.append(
            {
                "source": cell.source,
                "target": cell.target,
                "recipe": cell.recipe,
                "normalised": cell.normalised,
                "uar": uar.value if uar else None,
                "low": uar.low if uar else None,
                "high": uar.high if uar else None,
                "clips": cell.clips,
                "speakers": cell.speakers,
                "labels": len(cell.labels),
                "within_uar": cell.within.uar.value if cell.within else None,
                "difference": drop.value if drop else None,
                "difference_low": drop.low if drop else None,
                "difference_high": drop.high if drop else None,
                "reason": cell.reason,
            }
        )
    return pd.DataFrame(rows)
