"""Pretraining: an encoder from scratch learns to predict a larger one's hidden states, on speech without labels.

The result is an encoder folder: a plain transformers model (``config.json``, ``model.safetensors``,
``preprocessor_config.json``), ``heard.json`` with all speech that was heard, ``pretraining.json``
with settings and progress, and a card. A run keeps it in the cache, so other seeds and recipes on
the same fold share it.

All randomness is keyed by (seed, epoch, step), and each epoch ends with a checkpoint, so a
pretraining that was interrupted and resumed equals an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from serlab.approaches.base import REGULARISERS, Subset
from serlab.approaches.encoder import Settings
from serlab.approaches.encoder.matching import Matching, Teacher, bare, preprocessor_of
from serlab.approaches.encoder.network import SpeechEncoder, config_of
from serlab.approaches.network import Network
from serlab.checkpoints.weights import WEIGHTS, find, identity
from serlab.core import FindingsError, argument, setting
from serlab.core.files import sha256_json, write_json
from serlab.core.locks import locked
from serlab.core.precision import Precision, autocast, device, without_tf32
from serlab.core.progress import Bar, bar, say
from serlab.core.randomness import keyed_seed
from serlab.core.settings import plain
from serlab.corpora.screening import check_share
from serlab.corpora.unlabelled import Speech, find_speech
from serlab.frontends.batched import BatchedFrontEnd, batched
from serlab.frontends.encoders import Waveform
from serlab.recipes import Pretraining, Recipe, Training
from serlab.training import encoder_folder, loop, processes
from serlab.training.checkpoint import Checkpoint
from serlab.training.memory import freed_memory_kept
from serlab.training.speech import Heard, SpeechBatches, listen

_VERSION = 1
_MAX_GRAD_NORM = 1.0
_STATISTICS_BATCHES = 24
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Task:
    """An encoder to pretrain.

    Attributes:
        model: the encoder: an architecture with its configuration.
        settings: how.
        speech: all speech to hear, that of ``settings.unlabelled`` included.
        precision: of the matrix products.
        title: label of progress bars.
    """

    model: Settings
    settings: Pretraining
    speech: tuple[Speech, ...]
    precision: Precision
    title: str

    def identity(self) -> dict[str, Any]:
        """Everything that determines the encoder, as plain data.

        Raises:
            UserError, MachineError: the larger encoder cannot be found.
        """
        settings = plain(self.settings) | {"unlabelled": []}
        config = {key: value for key, value in self.model.config.items() if key not in REGULARISERS}
        hashes = sorted({str(sha256) for source in self.speech for sha256 in source.clips["sha256"]})
        return {
            "version": _VERSION,
            "architecture": self.model.architecture,
            "config": plain(config),
            "settings": settings | {"checkpoint": identity(find(self.settings.checkpoint))},
            "speech": sha256_json(hashes),
            "precision": self.precision,
        }


def pretrain(task: Task, folder: Path, *, max_excluded: float = 0.05, wait: bool = False) -> Path:
    """Make an encoder folder, unless it is there already.

    Args:
        task: the encoder.
        folder: the folder to write; until it is complete, checkpoints are kept beside it.
        max_excluded: share of recordings that may be left out.
        wait: wait for another process that is making it.

    Returns:
        ``folder``.

    Raises:
        UserError: settings and encoders do not fit, there is no speech, or another process is
            making the folder.
        FindingsError: too many recordings cannot be used, or training diverged.
        MachineError: weights, disk or network fail.
    """
    wanted = task.identity()
    with locked(folder, wait=wait):
        if not encoder_folder.is_complete(folder, wanted):
            _pretrain(task, wanted, folder, max_excluded)
    return folder


def _pretrain(task: Task, wanted: dict[str, Any], folder: Path, max_excluded: float) -> None:
    settings, work = task.settings, folder.with_name(f".{folder.name}.work")
    _open(work, wanted, task.title)
    heard = listen(task.speech, settings.max_seconds, f"{task.title}: decoding")
    for entry in heard.excluded:
        say(f"{task.title}: left out: {entry.clip} ({entry.reason})")
    check_share(heard.excluded, len(heard.excluded) + sum(len(each.clips) for each in heard.sources), max_excluded)
    with loop.own_randomness(keyed_seed(settings.seed, "initial weights")):
        teacher = Teacher(settings.checkpoint, settings.layers, task.precision)
        # Seeded again: the larger encoder must not shift the initial weights of the small one.
        torch.manual_seed(keyed_seed(settings.seed, "initial weights"))
        matching = Matching(bare(task.model), teacher).to(device())
        say(
            f"{task.title}: {heard.hours:.2f} h of speech in {len(heard.parts):,} parts; an encoder of "
            f"{sum(p.numel() for p in matching.base.parameters()):,} parameters"
        )
        made = _fit(task, matching, teacher, heard, work)
    base, usual = matching.base.cpu(), config_of(task.model, {}).to_dict()
    for name in REGULARISERS & usual.keys():
        # For fine-tuning. Masks need one more weight, so they stay off.
        if not name.startswith("mask_"):
            setattr(base.config, name, usual[name])
    fields = preprocessor_of(task.model)
    encoder_folder.write(folder, base, fields, wanted=wanted, settings=settings, heard=heard, made=made)
    shutil.rmtree(work, ignore_errors=True)


def _open(work: Path, wanted: dict[str, Any], title: str) -> None:
    """Prepare the folder of checkpoints; empty it if another pretraining left it."""
    mark = work / "identity.json"
    try:
        known = json.loads(mark.read_text(encoding="utf-8")) == wanted
    except (OSError, ValueError):
        known = False
    if known:
        say(f"{title}: resuming an interrupted pretraining.")
        return
    shutil.rmtree(work, ignore_errors=True)
    write_json(mark, wanted)


@dataclass(frozen=True)
class Learner:
    """The state of pretraining."""

    matching: Matching
    teacher: Teacher
    optimizer: torch.optim.Optimizer
    prepare: BatchedFrontEnd
    settings: Pretraining
    steps: int
    precision: Precision


def _fit(task: Task, matching: Matching, teacher: Teacher, heard: Heard, work: Path) -> Checkpoint:
    """Train, from the last checkpoint on; return the last one."""
    settings = task.settings
    batches = SpeechBatches(
        heard.parts,
        batch_size=settings.batch_size,
        speeds=settings.speeds,
        max_seconds=settings.max_seconds,
        seed=settings.seed,
    )
    front = Waveform(do_normalise=bool(preprocessor_of(task.model).get("do_normalize", True)))
    optimizer = torch.optim.AdamW(_groups(matching, settings), lr=settings.learning_rate, fused=True)
    learner = Learner(matching, teacher, optimizer, batched(front), settings, len(batches), task.precision)
    checkpoint = Checkpoint.last(work) or Checkpoint([], 0.0)
    start, done = time.monotonic(), len(checkpoint.epochs)
    with bar(task.title, settings.epochs * len(batches), done * len(batches)) as progress:
        if done:
            checkpoint.restore(work, matching, learner.optimizer)
        else:
            _standardise(learner, batches)
        earlier, epochs, note = checkpoint.seconds, checkpoint.epochs, ""
        with without_tf32(), freed_memory_kept():
            for epoch in range(done, settings.epochs):
                loss, cosine = _epoch(learner, batches, epoch, progress, note)
                epochs = [*epochs, {"epoch": epoch + 1, "loss": loss, "cosine": cosine}]
                note = f"epoch {epoch + 1}: loss {loss:.3f}, cosine {cosine:.2f}"
                checkpoint = Checkpoint(epochs, earlier + time.monotonic() - start)
                checkpoint.save(work, matching, learner.optimizer, epoch + 1)
    return checkpoint


def _groups(matching: nn.Module, settings: Pretraining) -> list[dict[str, Any]]:
    """Optimiser groups: no weight decay on norms and biases."""
    trained = [parameter for parameter in matching.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def _standardise(learner: Learner, batches: SpeechBatches) -> None:
    """Set mean and deviation of each dimension of the larger encoder's states, from some batches of the speech."""
    matching = learner.matching
    count, sums, squares = 0, [], []
    with closing(batches.epoch(0)) as sounds:
        for sound in islice(sounds, _STATISTICS_BATCHES):
            states = torch.stack([each.flatten(0, 1) for each in learner.teacher(_on_device(sound))]).double()
            count += states.shape[1]
            sums.append(states.sum(dim=1))
            squares.append(states.square().sum(dim=1))
    means = torch.stack(sums).sum(dim=0) / count
    variances = torch.stack(squares).sum(dim=0) / count - means.square()
    matching.means.copy_(means)
    matching.deviations.copy_(variances.clamp(min=_SMALLEST_DEVIATION**2).sqrt())


def _epoch(learner: Learner, batches: SpeechBatches, epoch: int, progress: Bar, note: str) -> tuple[float, float]:
    """Train for one epoch (from 0); return mean loss and mean cosine per step."""
    learner.matching.train()
    # Summed on the device: reading each step's loss would make a GPU wait.
    totals = torch.zeros(2, device=device())
    with closing(batches.epoch(epoch)) as sounds:
        for place, sound in enumerate(sounds):
            totals += _step(learner, _on_device(sound), epoch * learner.steps + place)
            progress.advance(1, note)
    loss, cosine = (float(value) for value in totals / learner.steps)
    if not math.isfinite(loss):
        raise FindingsError(
            f"the loss is not finite in epoch {epoch + 1} of pretraining: it diverged; lower "
            f"{setting('training.pretraining.learning_rate')} or use {argument('precision', 'fp32')}."
        )
    return loss, cosine


def _step(learner: Learner, samples: Tensor, step: int) -> Tensor:
    """Take one step of the optimiser; return loss and cosine, shape (2,)."""
    settings, matching = learner.settings, learner.matching
    states = learner.teacher(samples)
    heard = learner.prepare(samples)
    if settings.noise:
        heard = learner.prepare(_noisy(heard, settings.noise, keyed_seed(settings.seed, step, "noise")))
    with autocast(learner.precision):
        loss, cosine = matching(heard, states)
    loss.backward()
    nn.utils.clip_grad_norm_(matching.parameters(), _MAX_GRAD_NORM)
    factor = loop.schedule(Training(epochs=settings.epochs, warmup=settings.warmup), step, learner.steps)
    for group in learner.optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return torch.stack([loss.detach().float(), cosine.float()])


def _noisy(samples: Tensor, most: float, seed: int) -> Tensor:
    """Add white noise with a deviation from 0 to ``most`` of the clip's own, drawn for each clip."""
    random = torch.Generator(samples.device).manual_seed(seed)
    shares = most * torch.rand(len(samples), 1, generator=random, device=samples.device)
    noise = torch.randn(samples.shape, generator=random, device=samples.device)
    return samples + shares * samples.std(dim=1, keepdim=True) * noise


def _on_device(sound: Any) -> Tensor:
    tensor = torch.from_numpy(sound)
    if device().type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device(), non_blocking=True).float()


def pretrain_network(
    network: Network, recipe: Recipe, train: Subset, *, cached: bool, workspace: Path, precision: Precision, title: str
) -> dict[str, Any]:
    """Pretrain the encoder of a recipe on its training clips and unlabelled speech, and load it into its network.

    Args:
        network: the network of the recipe, from scratch; changed in place.
        recipe: the recipe, with ``training.pretraining``.
        train: the training clips.
        cached: whether to keep the encoder in the cache folder, for other seeds and recipes.
        workspace: private folder of the run.
        precision: of the matrix products.
        title: label of progress bars.

    Returns:
        How it was pretrained, for the run's signature.

    Raises:
        UserError, FindingsError, MachineError: as for :func:`pretrain`.
    """
    settings = recipe.training.pretraining
    assert isinstance(network, SpeechEncoder)
    assert settings is not None
    # Of several processes, one pretrains and the others wait for the weights.
    found: tuple[dict[str, Tensor], dict[str, Any]] | None = None
    if processes.share()[0] == 0:
        sources = (Speech.of("training clips", train.clips), *map(find_speech, settings.unlabelled))
        task = Task(recipe.model, settings, sources, precision, f"{title}: pretraining")
        home = encoder_folder.home() if cached else workspace / "encoder"
        folder = pretrain(task, home / sha256_json(task.identity())[:16], wait=True)
        made = encoder_folder.read(folder)
        with suppress(OSError):
            os.utime(folder / encoder_folder.MADE)  # It was used now.
        kept = ("encoder", "weights_sha256", "parameters", "hours", "epochs", "seconds")
        speech = [source.heard() | {"sha256": None} for source in sources]
        record = {**{name: made[name] for name in kept}, "speech": speech, "speech_sha256": made["identity"]["speech"]}
        found = load_file(folder / WEIGHTS), record
    state, record = next(each for each in processes.exchange(found) if each is not None)
    missing, unexpected = network.base.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("masked_spec_embed") for name in missing), missing
    return record
