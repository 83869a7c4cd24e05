"""The training loop: epochs of AdamW steps, each followed by a dev score and a checkpoint.

All randomness in a step is keyed by (seed, step, batch, process), so a training that was
interrupted and resumed from its last checkpoint equals an uninterrupted one. With several
processes, each computes its share of every batch, and DistributedDataParallel sums the gradients.
Before each backward pass, the processes exchange their parts of the loss, so all of them know the
loss of the batch, and a failure in one stops all.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from serlab.approaches.history import History
from serlab.approaches.network import Network
from serlab.core import FindingsError, argument, setting
from serlab.core.precision import Precision, autocast, device, without_tf32
from serlab.core.progress import Bar, bar
from serlab.core.randomness import keyed_seed
from serlab.recipes import Training
from serlab.training import processes
from serlab.training.averaging import Averaged
from serlab.training.batches import Batch, TrainingBatches
from serlab.training.checkpoint import Checkpoint, Epoch, load_weights
from serlab.training.lesson import Lesson, distillation
from serlab.training.memory import freed_memory_kept

_READ_EVERY = 50


def fit(
    network: Network,
    batches: TrainingBatches,
    score: Callable[[], float] | None,
    *,
    training: Training,
    precision: Precision,
    seed: int,
    folder: Path,
    title: str,
    last_epoch: int | None = None,
) -> History:
    """Train a network in place.

    Args:
        network: the network, on its device; it ends with the weights of the selected epoch, averaged
            if the recipe says so.
        batches: the training batches; this process's share of each.
        score: returns the network's UAR on the dev split, the same number in every process. None
            without a dev split; the last epoch is then kept.
        training: the recipe's settings.
        precision: of the matrix products.
        seed: the run's seed.
        folder: private folder for checkpoints. Training resumes from the last one in it. Only the
            first process writes there.
        title: label of the progress bar.
        last_epoch: stop after this epoch; the learning rate still follows the schedule of all
            epochs.

    Raises:
        FindingsError: the loss is not finite.
        MachineError: a checkpoint cannot be written.
    """
    if score is None:
        training = replace(training, select="last", patience=0)
    last_epoch = min(last_epoch or training.epochs, training.epochs)
    learner = Learner.of(network, batches, training, precision, seed)
    averaged = learner.averaged
    found = Checkpoint.last(folder, partial(_selected, training=training)) if processes.share()[0] == 0 else None
    checkpoint = processes.exchange(found)[0] or Checkpoint([], 0.0)
    if checkpoint.epochs:
        checkpoint.restore(folder, network, learner.optimizer, averaged)
    epochs, earlier, start = checkpoint.epochs, checkpoint.seconds, time.monotonic()
    done, total = len(epochs) * learner.steps_per_epoch, last_epoch * learner.steps_per_epoch
    with bar(title, total, done) as progress, closing(batches), without_tf32(), freed_memory_kept():
        note = ""
        while len(epochs) < last_epoch and not _ran_out(epochs, training.patience):
            epoch: Epoch = {"epoch": len(epochs) + 1}
            epoch["loss"] = train_epoch(learner, batches, len(epochs), progress, note)
            if averaged:
                averaged.after_epoch(len(epochs) + 1)
            if score is not None:
                epoch["dev_uar"] = validate(network, score, averaged, len(epochs) + 1)
                note = f"epoch {len(epochs) + 1}: dev UAR {epoch['dev_uar']:.3f}"
            epochs = [*epochs, epoch]
            if processes.share()[0] == 0:
                kept = _selected(epochs, training)
                seconds = earlier + time.monotonic() - start
                Checkpoint(epochs, seconds).save(folder, network, learner.optimizer, kept, averaged)
            processes.exchange(None)
    best = _selected(epochs, training)
    if best < len(epochs):
        load_weights(folder, best, network, averaged)
    if averaged and averaged.started(best):
        averaged.apply()
    selection = "best dev UAR" if training.select == "best" else "last epoch"
    return History(selection, epochs, best, earlier_seconds=earlier)


def train_epoch(learner: Learner, batches: TrainingBatches, epoch: int, progress: Bar, note: str) -> float:
    """Train for one epoch (from 0) and return the mean loss per step."""
    batches.set_epoch(epoch)
    ready, step = iter(batches), epoch * learner.steps_per_epoch
    # Reading a loss from a GPU waits for all its work, so it is not done after every step.
    every = _READ_EVERY if device().type == "cuda" else 1
    losses: list[float] = []
    unread: list[Tensor] = []
    while members := list(islice(ready, learner.training.accumulate)):
        unread.append(_step(learner, members, step))
        step += 1
        if len(unread) >= every:
            losses += _read(unread, learner, step)
        progress.advance(note=note)
    losses += _read(unread, learner, step)
    return math.fsum(losses) / len(losses)


def _read(unread: list[Tensor], learner: Learner, steps: int) -> list[float]:
    """The losses of the last of a number of steps, each the sum over its batches; ``unread`` is then empty."""
    losses = [math.fsum(parts.tolist()) for parts in unread]
    unread.clear()
    if not all(map(math.isfinite, losses)):
        raise FindingsError(
            f"the loss is not finite in epoch {1 + (steps - 1) // learner.steps_per_epoch}: training diverged; lower "
            f"{setting('training.learning_rate')} or use {argument('precision', 'fp32')}."
        )
    return losses


def validate(network: Network, score: Callable[[], float], averaged: Averaged | None = None, epochs: int = 0) -> float:
    """Score the network on the dev split, with its averaged weights if there are any after these ``epochs``.

    Running statistics of batch norms differ between processes; all processes use those of the first
    one.
    """
    _share_buffers(network)
    with averaged.shown() if averaged and averaged.started(epochs) else nullcontext():
        if averaged:
            _share_buffers(network)
        return score()


def _share_buffers(network: Network) -> None:
    if processes.share()[1] > 1:
        for name, buffer in processes.exchange({n: b.cpu() for n, b in network.named_buffers()})[0].items():
            network.get_buffer(name).copy_(buffer)


@dataclass(frozen=True)
class Learner:
    """The state of the training loop.

    Attributes:
        model: the network, in DistributedDataParallel if there are several processes.
        optimizer: AdamW.
        rates: base learning rate of each of the optimiser's groups.
        steps_per_epoch: optimiser steps.
        averaged: average of the weights; None if the recipe keeps none.
        lesson: what teachers say about the training clips; None without teachers.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    rates: list[float]
    steps_per_epoch: int
    training: Training
    precision: Precision
    seed: int
    averaged: Averaged | None
    lesson: Lesson | None

    @classmethod
    def of(
        cls, network: Network, batches: TrainingBatches, training: Training, precision: Precision, seed: int
    ) -> Learner:
        """Prepare a network for training, with a new optimiser."""
        groups = parameter_groups(network, training)
        # The fused step takes a third of the time on 94 million parameters (docs/gpu.md); results
        # are equal up to rounding.
        optimizer = torch.optim.AdamW(groups, fused=True)
        steps = -(-len(batches) // training.accumulate)
        rates = [group["lr"] for group in groups]
        averaged, module = Averaged.of(network, training), network if batches.states is None else _student(network)
        model = processes.parallel(module)
        return cls(model, optimizer, rates, steps, training, precision, seed, averaged, batches.lesson)


def _student(network: Any) -> nn.Module:
    from serlab.approaches.encoder.matching import StateStudent

    return StateStudent(network)


def _step(learner: Learner, members: list[Batch], step: int) -> Tensor:
    """Take one step of the optimiser on the mean loss of all clips of its batches; return the parts of the loss."""
    clips = sum(batch["clips"] for batch in members)
    model, training = learner.model, learner.training
    _, world = processes.share()
    losses = []
    for number, batch in enumerate(members):
        _seed_step(learner.seed, step, number)
        model.train()
        # Only the last backward pass of a step exchanges gradients.
        no_sync = getattr(model, "no_sync", nullcontext) if number + 1 < len(members) else nullcontext
        with no_sync():
            part = _loss(learner, batch) / clips
            losses.append(part.detach())
            if world > 1:
                losses[-1] = torch.tensor(math.fsum(processes.exchange(part.item())), dtype=torch.float64)
                _read([losses[-1][None]], learner, step + 1)
            with processes.summing_gradients():
                # DistributedDataParallel averages over the processes, but this loss is a sum.
                (world * part).backward()
    nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
    factor = schedule(training, step, learner.steps_per_epoch)
    for group, rate in zip(learner.optimizer.param_groups, learner.rates, strict=True):
        group["lr"] = rate * factor
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    if learner.averaged:
        learner.averaged.after_step(step + 1)
    return torch.stack(losses)


def _seed_step(seed: int, step: int, batch: int) -> None:
    """Seed the global generators, which dropout, LayerDrop and transformers' feature masks draw from."""
    rank, _ = processes.share()
    place = [f"batch {batch}, process {rank}"] if batch or rank else []
    key = keyed_seed(seed, step, "step", *place)
    torch.manual_seed(key)
    np.random.seed(key % 2**32)  # noqa: NPY002


def _loss(learner: Learner, batch: Batch) -> Tensor:
    """Sum over this process's clips; 0, with a gradient of 0, if it has none."""
    unlike = None
    with autocast(learner.precision):
        given = [batch[name].to(device(), non_blocking=True) for name in ("features", "states") if name in batch]
        logits = learner.model(*given)
        if len(given) > 1:
            logits, unlike = logits
        logits = logits.float()
    targets, smoothing = batch["targets"].to(device(), non_blocking=True), learner.training.label_smoothing
    if learner.lesson and learner.lesson.unlabelled:
        loss = _partly_labelled(logits, targets, smoothing)
    else:
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    if learner.lesson:
        taught = batch["taught"].to(device(), non_blocking=True)
        share = learner.lesson.weight
        loss = share * distillation(logits, taught, learner.lesson.temperature) + (1 - share) * loss
        if unlike is not None and learner.lesson.states:
            loss = loss + learner.lesson.states.weight * len(logits) * unlike
    weighted: Tensor = loss * batch["weight"]
    return weighted


def _partly_labelled(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of clips whose targets may sum to less than 1: those without a label, also mixed with others.

    Smoothing would give clips without a label one. So the smoothed loss is that of the label alone,
    weighted by its share of the clip.
    """
    if not smoothing:
        return nn.functional.cross_entropy(logits, targets, reduction="none").sum()
    share = targets.sum(dim=1)
    # A sum of shares is 1 only up to rounding.
    mixed = (share > 0) & (share < 1 - 1e-4)
    alone = targets / torch.where(mixed, share, 1.0)[:, None]
    each = nn.functional.cross_entropy(logits, alone, label_smoothing=smoothing, reduction="none")
    return (each * share).sum()


def schedule(training: Training, step: int, steps_per_epoch: int) -> float:
    """Factor on the learning rate of a step (from 0).

    >>> [schedule(Training(epochs=2, warmup=0.5), step, 2) for step in range(4)]
    [0.0, 0.5, 1.0, 0.5]
    """
    if training.schedule == "step":
        return training.schedule_factor ** (step // steps_per_epoch)
    steps = training.epochs * steps_per_epoch
    warmup = math.ceil(training.warmup * steps)
    if step < warmup:
        return step / warmup
    if training.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 1.0 - done if training.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def parameter_groups(network: Network, training: Training) -> list[dict[str, Any]]:
    """Optimiser groups: learning rate by depth, no weight decay on norms and biases."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = network.depth_of(name)
        if depth is None:
            rate = training.head_learning_rate or training.learning_rate
        else:
            rate = training.learning_rate * training.layer_decay**depth
        decay = training.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": ps, "lr": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]


def _selected(epochs: list[Epoch], training: Training) -> int:
    """Number of the epoch to keep; ties go to the first."""
    if training.select == "last":
        return len(epochs)
    return 1 + int(np.argmax([epoch["dev_uar"] for epoch in epochs]))


def _ran_out(epochs: list[Epoch], patience: int) -> bool:
    """Whether ``patience`` epochs have passed without a better dev UAR."""
    if not patience or not epochs:
        return False
    return len(epochs) - 1 - int(np.argmax([epoch["dev_uar"] for epoch in epochs])) >= patience


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block; restore the caller's generators afterwards."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.random.set_rng_state(states[2])
