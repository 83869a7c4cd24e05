"""Training at steady state: serlab's own through its trainer, and the loop that examples show.

Both are stamped whenever a step begins. The first steps are dropped; what is not steady (building the model, the first
steps' excess, the checkpoint at the end) is reported apart. The peer gets its clips decoded beforehand, for free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Size, Timing
from benchmarks.materials import Clips, corpus, empty_cache, scratch
from serlab.approaches import encoder, resnet
from serlab.approaches.encoder.network import from_recipe
from serlab.approaches.network import Network
from serlab.approaches.resnet.network import ResNet
from serlab.checkpoints.weights import quiet
from serlab.core.precision import device, resolve
from serlab.recipes import Recipe
from serlab.training.batches import Batch, TrainingBatches
from serlab.training.loop import fit, own_randomness

_MAX_GRAD_NORM = 1.0

Collate = Callable[[Sequence[int]], tuple[dict[str, torch.Tensor], torch.Tensor]]


def clips_needed(batch_size: int, steps: int, warm_up: int) -> int:
    """Clips of a repeat, for either side: the last step only marks the end of the one before."""
    return batch_size * (warm_up + steps + 1)


class _Stamped(TrainingBatches):
    """Training batches that note when each one is handed over."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.stamps: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self.stamps.append(time.perf_counter())
            yield batch


def ours(recipe: Recipe, clips: Clips, *, steps: int, warm_up: int) -> Timing:
    """Train with serlab for one epoch over ``clips``, from an empty feature cache that is filled first.

    This is the only place that knows how a run puts store, batches and trainer together.
    """
    from serlab.frontends.store import FeatureStore

    start = time.perf_counter()
    precision = resolve(recipe.training.precision)
    with empty_cache(), scratch() as folder, own_randomness(0):
        network = _network(recipe.model, precision)
        store = FeatureStore(network.frontend)
        batches = _Stamped(
            store,
            clips.files,
            np.eye(len(corpus().labels), dtype=np.float32)[clips.targets],
            augmentation=recipe.augmentation,
            batch_size=recipe.training.batch_size,
            window=network.window,
            fill=network.fill,
            max_seconds=recipe.training.max_seconds,
            seed=0,
        )
        network.to(device())
        filling = time.perf_counter()
        store.fill(clips.files, batches.views, 0, "filling the cache")
        filled = time.perf_counter() - filling
        fit(
            network,
            batches,
            lambda: 0.0,
            training=recipe.training,
            precision=precision,
            seed=0,
            folder=folder,
            title=recipe.name,
        )
    extra = {"fill_seconds_a_clip": filled / len(clips)}
    return _timing(batches.stamps, recipe.training.batch_size, steps, warm_up, start, filled, extra)


def peer(
    model: nn.Module,
    collate: Collate,
    clips: Clips,
    *,
    batch_size: int,
    learning_rate: float,
    steps: int,
    warm_up: int,
    start: float,
) -> Timing:
    """Train as examples do: random batches, AdamW, fp32, everything below the trained layers computed again.

    Args:
        model: of transformers; its forward pass takes what ``collate`` gives and returns logits.
        collate: indices of a batch's clips to inputs and targets.
        clips: the clips.
        batch_size: clips a step.
        learning_rate: of AdamW.
        steps: that count.
        warm_up: steps that do not.
        start: when the building of the model began.
    """
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    order = np.random.default_rng(0).permutation(len(clips))
    model.train()
    stamps = [time.perf_counter()]
    with own_randomness(0):
        for step in range(warm_up + steps):
            inputs, targets = collate(order[step * batch_size : (step + 1) * batch_size].tolist())
            loss = nn.functional.cross_entropy(model(**inputs).logits, targets)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRAD_NORM)
            optimiser.step()
            optimiser.zero_grad()
            stamps.append(time.perf_counter())
    return _timing(stamps, batch_size, steps, warm_up, start, 0.0, {})


def pretrained(folder: Any, **fields: Any) -> Any:
    """A classification model of transformers, in fp32, for the peer."""
    from transformers import AutoModelForAudioClassification

    with quiet():
        return AutoModelForAudioClassification.from_pretrained(
            str(folder),
            dtype=torch.float32,
            num_labels=len(corpus().labels),
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            **fields,
        )


def described(recipe: Recipe, size: Size) -> dict[str, Any]:
    """What a training row says of its settings."""
    return {
        "recipe": recipe.name,
        "batch_size": recipe.training.batch_size,
        "precision": resolve(recipe.training.precision),
        "warm_up_steps_dropped": size.warm_up,
    }


def _network(model: Any, precision: Any) -> Network:
    if isinstance(model, encoder.Settings):
        return from_recipe(model, corpus().labels, precision, recipe="benchmark")
    assert isinstance(model, resnet.Settings)
    # What the bands' mean and deviation are makes no difference to the time a step takes.
    mean, std = torch.full((model.logmel.bands,), -50.0), torch.full((model.logmel.bands,), 20.0)
    return ResNet(model, corpus().labels, mean, std)


def _timing(
    stamps: Sequence[float],
    batch_size: int,
    steps: int,
    warm_up: int,
    start: float,
    filled: float,
    extra: dict[str, float],
) -> Timing:
    steady = stamps[warm_up + steps] - stamps[warm_up]
    whole = time.perf_counter() - start - filled
    every_step = steady / steps * (len(stamps) - 1)
    return Timing(steady, steps * batch_size, start_up=max(0.0, whole - every_step), extra=extra)
