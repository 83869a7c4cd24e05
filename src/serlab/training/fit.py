"""Fit a recipe by its approach; networks are trained by the training loop, in one or several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serlab import approaches
from serlab.approaches.base import FitContext, Fitted, Fixed, Subset
from serlab.approaches.network import FittedNetwork, Network
from serlab.audio.augment import View
from serlab.core import UserError
from serlab.core.precision import device, resolve
from serlab.core.progress import say
from serlab.core.randomness import keyed_seed
from serlab.evaluation.metrics import confusion, uar
from serlab.frontends.store import ClipFile, FeatureStore, FeatureStores
from serlab.recipes import Recipe, precision_of
from serlab.training import loop, processes
from serlab.training.batches import TrainingBatches
from serlab.training.lesson import Lesson
from serlab.training.scoring import SubsetScorer
from serlab.training.states import StateFeed, StateLesson
from serlab.training.targets import targets_of


@dataclass(frozen=True)
class FitTask:
    """A recipe to fit, and the clips to fit it on.

    Attributes:
        recipe: the recipe.
        labels: names of the classes.
        train: the training clips.
        dev: the clips for selection; without them, a network is trained to ``fixed.epoch``.
        seed: the run's seed.
        stores: features computed so far.
        workspace: private folder for checkpoints.
        title: label of progress bars.
        fixed: choices made on the dev subsets of other runs.
        lesson: what teachers say about the training clips, if the recipe has teachers.
    """

    recipe: Recipe
    labels: tuple[str, ...]
    train: Subset
    dev: Subset | None
    seed: int
    stores: FeatureStores
    workspace: Path
    title: str
    fixed: Fixed = field(default_factory=Fixed)
    lesson: Lesson | None = None


def fit(task: FitTask) -> Fitted:
    """Fit a recipe; if there are several processes, a network is trained in all of them.

    Returns:
        The fitted model, with its history.

    Raises:
        UserError: the recipe does not fit the data, or needs a dev subset.
        FindingsError: training diverged.
        MachineError: weights, disk or network fail.
    """
    together = approaches.get(task.recipe.model.kind).supports.epochs
    return processes.everywhere(_fit, task) if together else _fit(task)


def _fit(task: FitTask) -> Fitted:
    recipe = task.recipe
    context = FitContext(
        recipe=recipe.name,
        title=task.title,
        labels=task.labels,
        seed=task.seed,
        precision=precision_of(recipe),
        features=recipe.training.features,
        stores=task.stores,
        fixed=task.fixed,
        train=lambda network, train, dev: _train(task, network, train, dev),
    )
    with loop.own_randomness(keyed_seed(task.seed, "initial weights")):
        return approaches.get(recipe.model.kind).fit(recipe.model, task.train, task.dev, context)


def _train(task: FitTask, network: Network, train: Subset, dev: Subset | None) -> FittedNetwork:
    """Train a network epoch by epoch; with several processes, this runs in each of them."""
    recipe, settings = task.recipe, task.recipe.training
    masks = recipe.augmentation.time_masks or recipe.augmentation.band_masks
    if masks and network.frontend.config.get("frontend") == "waveform":
        raise UserError(
            f"augmentation.time_masks and augmentation.band_masks hide parts of a spectrogram, but {recipe.name} "
            "reads the waveform; leave them out for it."
        )
    rank, world = processes.share()
    pretraining = _pretrain(task, network, train) if settings.pretraining else None
    store = task.stores.of(network.frontend)
    files, targets = train.files, targets_of(train.clips, task.labels, settings.targets)
    if task.lesson and task.lesson.unlabelled:
        files = (*files, *task.lesson.unlabelled)
        targets = np.concatenate([targets, np.zeros((len(files) - len(targets), targets.shape[1]), np.float32)])
    precision = resolve(settings.precision)
    fitted = FittedNetwork(network, task.labels, precision)
    learned = task.lesson.states if task.lesson else None
    feed = _attach(task, network, learned, files) if learned else None
    batches = TrainingBatches(
        store,
        files,
        targets,
        augmentation=recipe.augmentation,
        batch_size=settings.batch_size,
        batch_seconds=settings.batch_seconds,
        window=network.window,
        fill=network.fill,
        max_seconds=min(settings.max_seconds, network.longest),
        seed=task.seed,
        share=(rank, world),
        lesson=task.lesson,
        states=feed,
        pinned=device().type == "cuda",
    )
    every_view = settings.epochs >= len(batches.views)
    kept = "cached" if every_view else "possible"
    say(f"{task.title}: {batches.describe()}; {len(batches.views)} {kept} views per clip")
    if every_view:
        # All are needed, so compute them first; the remaining time can then be estimated from the
        # first steps.
        store.fill(files[rank::world], batches.views, task.seed, f"{task.title}: features")
        processes.exchange(None)
    history = loop.fit(
        network,
        batches,
        None if dev is None else _dev_uar(fitted, store, dev, task.title),
        training=settings,
        precision=precision,
        seed=task.seed,
        folder=task.workspace,
        title=task.title,
        last_epoch=task.fixed.epoch,
    )
    if feed:
        del network.matching
    fitted.history = replace(history, pretraining=pretraining)
    return fitted


def _attach(task: FitTask, network: Network, lesson: StateLesson, files: Sequence[ClipFile]) -> StateFeed:
    """Give a network projections to predict its teacher's states."""
    from serlab.training.projections import attach

    views = task.recipe.augmentation.views or (View(),)
    lesson.load(files, views, task.seed)
    return attach(network, lesson, files, views[0], seed=task.seed, recipe=task.recipe.name)


def _pretrain(task: FitTask, network: Network, train: Subset) -> dict[str, Any]:
    from serlab.training.pretraining import pretrain_network

    return pretrain_network(
        network,
        task.recipe,
        train,
        cached=task.stores.cached,
        workspace=task.workspace,
        precision=resolve(task.recipe.training.precision),
        title=task.title,
    )


def _dev_uar(fitted: Fitted, store: FeatureStore, dev: Subset, title: str) -> Callable[[], float]:
    """A function that scores the dev subset, each process its share of the clips."""
    rank, world = processes.share()
    scorer = SubsetScorer(store, dev.files[rank::world], f"{title}: dev features")
    scorer.hold()

    def score() -> float:
        mine = scorer.logits(fitted).argmax(axis=1)
        predicted = np.empty(len(dev.files), np.intp)
        for number, part in enumerate(processes.exchange(mine)):
            predicted[number::world] = part
        return float(uar(confusion(dev.targets, predicted, len(fitted.labels))))

    return score
