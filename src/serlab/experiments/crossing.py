"""Comparisons from one corpus to another: train on sources, test each target once, report the matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from serlab.core import Exclusion, UserError, argument
from serlab.core.progress import say
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.emotions import LabelMap, Mapped, mapped, only, read_map
from serlab.corpora.screening import MAX_SHARE, check_labels_at_sight, check_usable
from serlab.experiments.context import RunContext
from serlab.experiments.crossing_models import (
    GivenModel,
    GivenRun,
    given_split,
    heard_target,
    is_model,
    load_given,
    test_given,
)
from serlab.experiments.crossing_runs import CrossRun, cross_run, execute, heard_by
from serlab.experiments.crossing_sides import (
    Pairs,
    Source,
    common_labels,
    heard_recordings,
    same_recordings,
    source_of,
    target_split,
)
from serlab.experiments.layout import Results
from serlab.experiments.plan import check_seeds
from serlab.frontends.store import FeatureStores
from serlab.protocols import default_protocol
from serlab.recipes import Recipe, identify, load_recipe
from serlab.report import crossing_pages
from serlab.report.crossing import CellRuns
from serlab.report.crossing import Crossing as Judged
from serlab.report.crossing_judge import judge
from serlab.tables import ledger
from serlab.tables.predictions import read_run, read_runs
from serlab.training import processes

EACH = "each"
"""Value of ``test``: leave one corpus of each source out, and test on it."""
FOLDER = "cross-corpus"
"""Folder of the report below the results folder."""

Named = str | Corpus
Sides = Sequence[tuple[tuple[Named, ...], tuple[Named, ...]]]
Labels = str | Path | Sequence[str | Path] | Mapping[str, Any] | LabelMap | None


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
    """

    report: Path
    scores: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    lines: tuple[str, ...]


@processes.led
def compare_across(
    train: Named | Sequence[Named | Sequence[Named]],
    test: Named | Sequence[Named],
    recipes: Sequence[str | Recipe],
    *,
    data: Mapping[str, Path | str] | None = None,
    labels: Labels = None,
    balance: bool = False,
    seeds: Sequence[int] = (0,),
    out: Path | str = "runs",
    max_excluded: float = MAX_SHARE,
    cache: bool = True,
) -> Crossing:
    """Train on corpora and test on others, each target once.

    A model is trained on all speakers of its sources, except a fifth of them that is held out for
    development. It can only predict the emotions that sources and target have in common.

    Args:
        train: the sources, one model each: a corpus (name of a known one, path of a folder, table
            or description, or loaded), or a list of corpora that are trained on together. Empty if ``recipes`` are
            finished models.
        test: the targets; or ``each``: each corpus of a source is left out once, and tested.
        recipes: names of presets, paths of YAML files, or recipes; or finished models, which are
            tested as they are: folders of serlab or transformers, or names on the hub.
        data: folders of known corpora, by name.
        labels: changes of serlab's table of emotions; see :func:`serlab.corpora.emotions.read_map`.
        balance: repeat the training clips of smaller corpora of a source until each corpus has as
            many as the largest.
        seeds: seeds of the runs.
        out: results folder. Results are in ``<out>/<target>/from-<source>/<recipe>``, or
            ``<out>/<target>/as-is/<model>``; runs that exist are not repeated.
        max_excluded: maximum share of a corpus's clips that may be left out.
        cache: keep features on disk.

    Returns:
        Path of the report, and the scores as a DataFrame.

    Raises:
        UserError: a name or label is unknown, nothing can be tested, or the folder has results of
            another configuration.
        FindingsError: too many clips must be left out, or training diverged.
        MachineError: weights, disk or network fail.

    Example:
        ``serlab.compare_across([["crema-d", "tess"]], ["emovo"], ["mfcc-svm"]).scores``
    """
    check_seeds(seeds)
    map_ = read_map(labels)
    given = [str(each) for each in recipes if isinstance(each, str) and is_model(each)]
    trained = [each if isinstance(each, Recipe) else load_recipe(each) for each in recipes if each not in given]
    rows = _rows(train)
    if not recipes:
        raise UserError(f"{argument('recipes')} is empty; name at least one recipe or model.")
    if trained and not rows:
        raise UserError(
            f"{argument('train')} is empty, but {trained[0].name} must be trained; name the corpora for it."
        )
    sides = _pairs_of_sides(rows, test)
    corpora = _loaded([*(name for row, targets in sides for name in (*row, *targets))], data or {})
    maps = {name: mapped(corpus, map_) for name, corpus in corpora.items()}
    job = _Job(Path(out), FeatureStores(cached=cache), map_, maps, seeds, max_excluded)
    models = [load_given(name, map_) for name in given]
    return job.run(sides, trained, models, balance)


def _rows(train: Any) -> list[tuple[Named, ...]]:
    listed = [train] if isinstance(train, str | Corpus) else list(train)
    return [(row,) if isinstance(row, str | Corpus) else tuple(row) for row in listed]


def _pairs_of_sides(rows: Sequence[tuple[Named, ...]], test: Any) -> Sides:
    """Sources with their targets; a source is empty for finished models alone."""
    if test == EACH:
        found = [
            (tuple(other for other in row if other is not left), (left,))
            for row in rows
            for left in row
            if len(row) > 1
        ]
        if not found:
            raise UserError(
                f"{argument('test', EACH)} leaves one corpus out at a time, so {argument('train')} needs several, e.g. "
                "crema-d,emovo,nemo."
            )
        return found
    targets = (test,) if isinstance(test, str | Corpus) else tuple(test)
    if not targets:
        raise UserError(f"{argument('test')} is empty; name at least one corpus, or {EACH}.")
    return [(row, targets) for row in rows] or [((), targets)]


def _loaded(names: Sequence[Named], data: Mapping[str, Path | str]) -> dict[Any, Corpus]:
    """Each corpus by what it was asked for; different data may not share a name."""
    unused = sorted({*data} - {each for each in names if isinstance(each, str)})
    if unused:
        raise UserError(
            f"{argument('data', f'{unused[0]}=…')} is for a corpus that is not used; the corpora are "
            f"{', '.join(dict.fromkeys(str(getattr(each, 'name', each)) for each in names))}."
        )
    found: dict[Any, Corpus] = {}
    for name in dict.fromkeys(names):
        found[name] = name if isinstance(name, Corpus) else load_corpus(name, data=data.get(name))
        check_labels_at_sight(found[name])
    homes: dict[str, Any] = {}
    for name, corpus in found.items():
        if homes.setdefault(corpus.name, name) != name:
            raise UserError(
                f"{name if isinstance(name, str) else corpus.name} and {homes[corpus.name]} are both called "
                f"{corpus.name}; rename one of the folders or tables, because results are stored by name."
            )
    return found


@dataclass
class _Job:
    """What all runs share.

    Attributes:
        out: results folder.
        stores: features computed so far.
        labels: the map of labels.
        maps: each corpus with its labels mapped, by what it was asked for.
        seeds: of the runs.
        max_excluded: maximum share of clips that may be left out.
    """

    out: Path
    stores: FeatureStores
    labels: LabelMap
    maps: Mapping[Any, Mapped]
    seeds: Sequence[int]
    max_excluded: float

    def run(
        self,
        sides: Sides,
        recipes: Sequence[Recipe],
        models: Sequence[GivenModel],
        balance: bool,
    ) -> Crossing:
        """Run and report."""
        used = list({each.corpus.name: each for each in self.maps.values()}.values())
        for each in used:
            _say_dropped(each)
        heard = [each for each in used if len(each.corpus.clips)]
        pairs = same_recordings(heard) if recipes and len(heard) > 1 else []
        planned: list[tuple[CellRuns, list[CrossRun] | list[GivenRun], Source | None]] = []
        for row, targets in sides if recipes else []:
            source = source_of([self.maps[name] for name in row], pairs, balanced=balance)
            for recipe in recipes:
                planned += [(*self._cell(source, self.maps[name], recipe, pairs), source) for name in targets]
        for model in models:
            for name in dict.fromkeys(name for _, targets in sides for name in targets):
                planned.append((*self._given(model, self.maps[name]), None))
        self._check(planned)
        self._execute(planned)
        return self._report(planned, used)

    def _cell(self, source: Source, target: Mapped, recipe: Recipe, pairs: Pairs) -> tuple[CellRuns, list[CrossRun]]:
        name, names = target.corpus.name, [part.corpus.name for part in source.parts]
        recipe_folder = recipe.folder(identify(recipe)[0])
        cell = CellRuns(source.name, name, recipe_folder, recipe.title, emotions=target.emotions)
        labels = common_labels(source.labels, target)
        reason = "the model is trained on it" if name in names else heard_recordings(pairs, names, name)
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
        return cell, [GivenRun(model, RunContext(part.corpus, given_split(model, part), self.out, self.stores), part)]

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

    def _execute(self, planned: Sequence[Any]) -> None:
        jobs: dict[tuple[str, str, int], tuple[Source, list[CrossRun]]] = {}
        for _, runs, source in planned:
            for each in runs:
                if source is None:
                    test_given(each)
                else:
                    key = (source.protocol, each.spec.folder, each.spec.seed)
                    jobs.setdefault(key, (source, []))[1].append(each)
        for number, ((name, recipe, seed), (source, cross)) in enumerate(jobs.items(), 1):
            title = f"[{number}/{len(jobs)}] {recipe} {name} seed {seed}"
            execute(cross, source, self.out, self.stores, title)

    def _report(self, planned: Sequence[Any], used: Sequence[Mapped]) -> Crossing:
        cells = []
        originals = {each.corpus.name: each.original for each in used}
        for cell, runs, source in planned:
            found = tuple(read_run(each.files.table) for each in runs)
            within, protocol = self._within(originals[cell.target], cell.recipe, source)
            cells.append(replace(cell, runs=found, within=within, protocol=protocol))
        tested = {(each.target, run.signature["protocol"]["name"]) for each in cells for run in each.runs}
        tests = sum((line.get("corpus"), line.get("protocol")) in tested for line in ledger.read(self.out))
        judged = judge(self.labels.shown, cells, tests)
        page = crossing_pages.write(judged, self.out / FOLDER / "report")
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


def _say_dropped(each: Mapped) -> None:
    for label, clips in each.dropped.items():
        why = LabelMap().why_dropped(label, each.corpus.name)
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
