"""Training at steady state with serlab's trainer and with a loop as in common examples.

Both record the time at the start of each step. The first steps are dropped. Start-up costs
(building the model, the slower first steps, the final checkpoint) are reported separately. The peer
gets decoded clips at no cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Size, Timing, ratios
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
    """Return the number of clips per repeat and side; the last step only marks the end of the previous one."""
    return batch_size * (warm_up + steps + 1)


class _Stamped(TrainingBatches):
    """Training batches that record when each one is used."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.stamps: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self.stamps.append(time.perf_counter())
            yield batch


def ours(recipe: Recipe, clips: Clips, *, steps: int, warm_up: int) -> Timing:
    """Train with serlab for one epoch over ``clips``, after filling an empty feature cache.

    No other benchmark combines store, batches and trainer.
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
    bf16: bool = False,
) -> Timing:
    """Train as in common examples: random batches, AdamW, recomputing everything below the trained layers.

    Args:
        model: a transformers model whose forward pass takes the output of ``collate`` and returns
            logits.
        collate: function from clip indices to inputs and targets.
        clips: the clips.
        batch_size: clips per step.
        learning_rate: of AdamW.
        steps: number of measured steps.
        warm_up: number of dropped steps.
        start: time before building the model.
        bf16: whether under autocast to bf16, as ``bf16=True`` of transformers' Trainer.
    """
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    order = np.random.default_rng(0).permutation(len(clips))
    model.train()
    stamps = [time.perf_counter()]
    with own_randomness(0):
        for step in range(warm_up + steps):
            inputs, targets = collate(order[step * batch_size : (step + 1) * batch_size].tolist())
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(model(**inputs).logits, targets)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRAD_NORM)
            optimiser.step()
            optimiser.zero_grad()
            stamps.append(time.perf_counter())
    return _timing(stamps, batch_size, steps, warm_up, start, 0.0, {})


def beside_both(
    ours: Sequence[Timing], timings: Mapping[str, Sequence[Timing]]
) -> tuple[dict[str, list[float]], dict[str, Sequence[Timing]]]:
    """Speedups over the peer in fp32 and in bf16, and the timings behind them."""
    figures = {"ratio": ratios(ours, timings["peer"]), "ratio_bf16": ratios(ours, timings["peer-bf16"])}
    return figures, {"serlab": ours, "peer": timings["peer"], "peer-bf16": timings["peer-bf16"]}


def pretrained(folder: Any, **fields: Any) -> Any:
    """Load a transformers classification model in fp32 for the peer."""
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
    """Return the settings of a training row."""
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
    # The bands' mean and standard deviation do not affect the time of a step.
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
