"""Comparisons: recipes x folds x seeds on one corpus and protocol, resumable run by run.

A run is identified by recipe hash, corpus fingerprint, protocol, fold, seed and precision. A run is
never repeated, and a different run is never overwritten silently. The ledger lists every evaluation
on a test subset.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from serlab.core import Exclusion, UserError, argument
from serlab.corpora import Folders, load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.emotions import read_map
from serlab.corpora.screening import MAX_SHARE, check_labels_at_sight
from serlab.evaluation.significance import MARGIN
from serlab.experiments.context import RunContext
from serlab.experiments.crossing import Labels
from serlab.experiments.crossing_models import is_model, test_given
from serlab.experiments.execute import execute
from serlab.experiments.frames import differences_of, scores_of
from serlab.experiments.given import load_for, runs_of
from serlab.experiments.jobs import check_jobs
from serlab.experiments.plan import Plan, check_seeds, chosen_folds, plan
from serlab.experiments.reduced import reduced, smoke_limit, smoke_recipe
from serlab.frontends.store import FeatureStores
from serlab.protocols import default_protocol
from serlab.protocols.files import find_split
from serlab.recipes import Recipe, load_recipe
from serlab.report import build
from serlab.report.render import Audio
from serlab.training import processes

DEFAULT_RECIPES = ("wav2vec2-small", "resnet18-small", "mfcc-svm")


# Tables have no truth value, so comparisons are compared by identity.
@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of a comparison.

    Attributes:
        folder: ``<out>/<corpus>/<protocol>``.
        report: path of the report's page.
        models: the runs' model folders that were kept.
        exclusions: clips and other entries of the corpus that were left out.
        done, trained: number of runs that already existed, and of new runs.
        scores: one row per recipe and metric, with intervals; see
            :func:`serlab.experiments.frames.scores_of`.
        differences: one row per pair of recipes and metric, with intervals and p-values; see
            :func:`serlab.experiments.frames.differences_of`.
    """

    folder: Path
    report: Path
    models: tuple[Path, ...]
    exclusions: tuple[Exclusion, ...]
    done: int
    trained: int
    scores: pd.DataFrame
    differences: pd.DataFrame


@processes.led
def compare(
    corpus: str | Corpus,
    recipes: Sequence[str | Recipe] = DEFAULT_RECIPES,
    *,
    data: Folders = None,
    protocol: str | None = None,
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    out: Path | str = "runs",
    dev_only: bool = False,
    keep_models: bool = False,
    max_excluded: float = MAX_SHARE,
    audio: Audio = "link",
    margin: float = MARGIN,
    cache: bool = True,
    jobs: int = 1,
    limit: int | None = None,
    smoke: bool = False,
    labels: Labels = None,
) -> Comparison:
    """Train every recipe on every missing fold and seed, and write the report.

    Args:
        corpus: name of a known corpus, path of a folder or table, or a loaded corpus.
        recipes: names of presets, paths of YAML files, or recipes; or finished models, which are
            tested as they are on the same test subsets: folders of serlab or transformers, names on
            the hub, or ``box``.
        data: folder of a known corpus, or folders by name.
        protocol: how to split: name of a protocol, or a CSV file with columns ``clip`` and
            ``side``; the corpus's default if None.
        folds: numbers of the folds to run; all if empty.
        seeds: seeds of the runs.
        out: results folder.
        dev_only: develop without ever predicting the test subset.
        keep_models: keep each run's model folder.
        max_excluded: maximum share of clips that may be left out.
        audio: how the report plays its clips: ``link``, ``embed`` or ``none``.
        margin: differences of UAR up to this are called equivalent; choose it beforehand.
        cache: keep features on disk for other folds, seeds and recipes; results do not depend on
            it.
        jobs: number of parallel runs, each in its own process with its share of the cores.
        limit: maximum number of clips per label and speaker; the results are in
            ``<out>/<corpus>-limit<N>``.
        smoke: only check that everything runs: a few clips per label and speaker, one epoch, and
            the first fold unless ``folds`` is given; the results are in ``<out>/<corpus>-smoke``.
        labels: for finished models, changes of serlab's table of emotions; see
            :func:`serlab.corpora.emotions.read_map`.

    Returns:
        Paths of the report and the kept models, and the scores and differences as DataFrames.

    Raises:
        UserError: a name does not exist, or the folder has results of another configuration.
        FindingsError: too many clips must be left out, or training diverged.
        MachineError: weights, disk or network fail, or the system ended a run's process.

    Example:
        ``serlab.compare("crema-d", ["wav2vec2-small", "resnet18"], folds=[3]).scores``
    """
    check_jobs(jobs)
    given = [str(each) for each in recipes if isinstance(each, str) and is_model(each)]
    loaded = [each if isinstance(each, Recipe) else load_recipe(each) for each in recipes if each not in given]
    if not recipes:
        raise UserError(f"{argument('recipes')} is empty; name at least one recipe, e.g. {DEFAULT_RECIPES[-1]}.")
    check_seeds(seeds)
    if limit is not None and limit < 1:
        raise UserError(f"{argument('limit', limit)} leaves no clip; it must be 1 or more.")
    found = corpus if isinstance(corpus, Corpus) else load_corpus(corpus, data=data)
    check_labels_at_sight(found)
    split = find_split(found, protocol or default_protocol(found))
    if smoke or limit is not None:
        found, split = reduced(found, split, limit or smoke_limit(found), smoke=smoke)
    if smoke:
        loaded = [smoke_recipe(recipe) for recipe in loaded]
        folds = folds or [split.folds[0].number]
    models = load_for(given, found, read_map(labels))
    context = RunContext(found, split, Path(out), FeatureStores(cached=cache), dev_only, keep_models)
    if models and dev_only:
        raise UserError(f"{models[0].name} is a finished model, and {argument('dev_only')} tests nothing; omit one.")
    planned = plan(context, loaded, folds=folds, seeds=seeds)
    tests = [run for model in models for run in runs_of(model, context, chosen_folds(split, folds))]
    execute(planned, max_excluded=max_excluded, jobs=jobs)
    for run in tests:
        test_given(run)
    return report(planned, audio=audio, margin=margin)


def report(plan: Plan, *, audio: Audio = "link", margin: float = MARGIN) -> Comparison:
    """Write the report of all runs in the folder of a plan.

    Args:
        plan: a plan that was executed.
        audio: how the report plays its clips: ``link``, ``embed`` or ``none``.
        margin: differences of UAR up to this are called equivalent.
    """
    context = plan.context
    folder = context.results.folder
    page = build(folder, clips=context.corpus.clips, audio=audio, margin=margin)
    found = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    models = (context.files(run.spec).model for run in plan.runs)
    return Comparison(
        folder=folder,
        report=page,
        models=tuple(path for path in models if path.is_dir()),
        exclusions=(*context.exclusions, *context.corpus.excluded),
        done=len(plan.done),
        trained=len(plan.waiting),
        scores=scores_of(found),
        differences=differences_of(found),
    )
