"""Comparisons from one corpus to another: train on sources, test each target once, report the matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serlab.core import UserError, argument
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.emotions import LabelMap, mapped, read_map
from serlab.corpora.screening import MAX_SHARE, check_labels_at_sight
from serlab.experiments.crossing_job import Crossing, How, Job, Named, Sides
from serlab.experiments.crossing_models import is_model, load_given
from serlab.experiments.crossing_normalised import can_normalise
from serlab.experiments.crossing_sides import mapped_part
from serlab.experiments.jobs import check_jobs
from serlab.experiments.plan import check_seeds
from serlab.experiments.reduced import smoke_limit, smoke_recipe
from serlab.frontends.store import FeatureStores
from serlab.recipes import Recipe, load_recipe
from serlab.training import processes

__all__ = ["EACH", "Crossing", "compare_across"]

EACH = "each"
"""Value of ``test``: leave one corpus of each source out, and test on it."""

Labels = str | Path | Sequence[str | Path] | Mapping[str, Any] | LabelMap | None


@processes.led
def compare_across(
    train: Named | Sequence[Named | Sequence[Named]],
    test: Named | Sequence[Named],
    recipes: Sequence[str | Recipe],
    *,
    data: Mapping[str, Path | str] | None = None,
    labels: Labels = None,
    balance: bool = False,
    normalise: bool = False,
    seeds: Sequence[int] = (0,),
    out: Path | str = "runs",
    keep_models: bool = False,
    max_excluded: float = MAX_SHARE,
    cache: bool = True,
    jobs: int = 1,
    limit: int | None = None,
    smoke: bool = False,
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
        normalise: add a row for each source whose features are normalised per corpus, without
            labels: those of a target over all of its clips (transductive). For recipes whose
            features are vectors, such as SVMs and probes.
        seeds: seeds of the runs.
        out: results folder. Results are in ``<out>/<target>/from-<source>/<recipe>``, or
            ``<out>/<target>/as-is/<model>``; runs that exist are not repeated.
        keep_models: keep the models, in ``<out>/<source>/as-source/<recipe>``.
        max_excluded: maximum share of a corpus's clips that may be left out.
        cache: keep features on disk.
        jobs: number of trainings at once, each in its own process with its share of the cores.
        limit: maximum number of clips per label and speaker, on both sides; the results are of
            corpora called ``<name>-limit<N>``.
        smoke: only check that everything runs: a few clips of each corpus, and one epoch; the
            corpora are called ``<name>-smoke``.

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
    check_jobs(jobs)
    check_seeds(seeds)
    if limit is not None and limit < 1:
        raise UserError(f"{argument('limit', limit)} leaves no clip; it must be 1 or more.")
    map_ = read_map(labels)
    # Recipes have no hash, because settings may be maps.
    recipes = [recipe for place, recipe in enumerate(recipes) if recipe not in recipes[:place]]
    seeds = list(dict.fromkeys(seeds))
    given = [str(each) for each in recipes if isinstance(each, str) and is_model(each)]
    trained = [each if isinstance(each, Recipe) else load_recipe(each) for each in recipes if each not in given]
    rows = _rows(train)
    if not recipes:
        raise UserError(f"{argument('recipes')} is empty; name at least one recipe or model.")
    if trained and not rows:
        raise UserError(
            f"{argument('train')} is empty, but {trained[0].name} must be trained; name the corpora for it."
        )
    if normalise and not any(map(can_normalise, trained)):
        raise UserError(
            f"{argument('normalise')} is for recipes whose features are vectors, such as SVMs and probes; "
            f"{f'{trained[0].name} has none' if trained else f'{given[0]} is a finished model'}."
        )
    sides = _pairs_of_sides(rows, test)
    corpora = loaded([*(name for row, targets in sides for name in (*row, *targets))], data or {})
    if smoke:
        trained = [smoke_recipe(recipe) for recipe in trained]
    part = "-smoke" if smoke else f"-limit{limit}" if limit else ""
    maps = {
        name: mapped_part(corpus, map_, limit or smoke_limit(corpus), smoke) if part else mapped(corpus, map_)
        for name, corpus in corpora.items()
    }
    how = How(balance, normalise, keep_models, jobs, part)
    job = Job(Path(out), FeatureStores(cached=cache), map_, maps, seeds, max_excluded, how)
    models = [load_given(name, map_) for name in given]
    map_.say_idle([*maps, *(model.name for model in models)])
    return job.run(sides, trained, models)


def _rows(train: Any) -> list[tuple[Named, ...]]:
    listed = [train] if isinstance(train, str | Corpus) else list(train)
    rows = [(row,) if isinstance(row, str | Corpus) else tuple(dict.fromkeys(row)) for row in listed]
    return list(dict.fromkeys(rows))


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
    targets = (test,) if isinstance(test, str | Corpus) else tuple(dict.fromkeys(test))
    if not targets:
        raise UserError(f"{argument('test')} is empty; name at least one corpus, or {EACH}.")
    return [(row, targets) for row in rows] or [((), targets)]


def loaded(names: Sequence[Named], data: Mapping[str, Path | str]) -> dict[Any, Corpus]:
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
