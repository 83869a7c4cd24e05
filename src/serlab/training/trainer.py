"""Fitting a network with transformers' Trainer: resumable, keyed randomness, best epoch by dev UAR.

Several processes take a share of each batch and sum their gradients (DistributedDataParallel). Before each backward
pass they exchange their part of the loss: so all know the batch's loss, and what fails in one stops all of them.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from serlab.approaches.network import Network
from serlab.checkpoints.weights import quiet
from serlab.core import FindingsError, causes
from serlab.core.files import unwritable, write_json
from serlab.core.precision import Precision, without_tf32
from serlab.core.progress import Bar, bar
from serlab.core.randomness import keyed_seed
from serlab.recipes import Training
from serlab.training import processes
from serlab.training.batches import Batch, TrainingBatches
from serlab.training.memory import freed_memory_kept


def fit(
    network: Network,
    batches: TrainingBatches,
    dev_uar: Callable[[], float] | None,
    *,
    training: Training,
    precision: Precision,
    seed: int,
    folder: Path,
    title: str,
    last_epoch: int | None = None,
) -> dict[str, Any]:
    """Train a network in place.

    Args:
        network: the network; at the end it holds the selected epoch's weights.
        batches: the training side; this process's share of each batch.
        dev_uar: scores the network on the dev side; the same number in every process. None where there is no dev side:
            then the last epoch is kept.
        training: the recipe's settings.
        precision: of the matrix products.
        seed: the run's seed.
        folder: private folder for checkpoints; training goes on from the last whole one found there. Only the first
            process writes; the others read there to go on.
        title: what the progress bar calls this.
        last_epoch: stop after this epoch; the schedule of the learning rate is still that of all.

    Returns:
        ``epochs`` (epoch, loss and, where there is a dev side, dev_uar each), ``best_epoch``, ``selection``, and
        ``earlier_seconds``, the training time of processes that were interrupted.

    Raises:
        FindingsError: the loss is not finite.
        MachineError: a checkpoint cannot be written.
    """
    last = processes.exchange(_last_checkpoint(folder))[0]
    state: dict[str, Any] = json.loads((last / "trainer_state.json").read_text()) if last else {}
    done, log = int(state.get("global_step", 0)), state.get("log_history", [])
    if dev_uar is None:
        training = replace(training, select="last", patience=0)
    last_epoch = min(last_epoch or training.epochs, training.epochs)
    if _ran_out(log, training.patience) or (log and len(_history(log)) >= last_epoch):
        # What was interrupted had stopped, and only the selected epoch's weights are to be loaded.
        training = replace(training, epochs=len(_history(log)))
        last_epoch = training.epochs
    with quiet(), without_tf32(), bar(title, last_epoch * _steps_an_epoch(batches, training), done) as progress:
        clock = _Clock(folder, resumed=last is not None)
        callbacks: list[TrainerCallback] = [_Progress(progress), clock, _Patience(training.patience), _End(last_epoch)]
        trainer = _Trainer(network, batches, dev_uar, training, precision, seed, folder, callbacks)
        with warnings.catch_warnings(), closing(batches), freed_memory_kept():
            # torch 2.13 has a new name for it, which transformers 5.23 does not know.
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    epochs = _history(trainer.state.log_history)
    best = len(epochs)
    if training.select == "best":
        best = 1 + int(np.argmax([epoch["dev_uar"] for epoch in epochs]))
    selection = "best dev UAR" if training.select == "best" else "last epoch"
    return {"epochs": epochs, "best_epoch": best, "selection": selection, "earlier_seconds": clock.earlier}


class _Trainer(Trainer):
    """transformers' Trainer over batches that are ready made."""

    def __init__(
        self,
        network: Network,
        batches: TrainingBatches,
        dev_uar: Callable[[], float] | None,
        training: Training,
        precision: Precision,
        seed: int,
        folder: Path,
        callbacks: list[TrainerCallback],
    ) -> None:
        self.network, self.batches, self.dev_uar = network, batches, dev_uar
        self.settings, self.run_seed, self.folder = training, seed, folder
        self.passed = 0
        steps = training.epochs * _steps_an_epoch(batches, training)
        arguments = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=training.batch_size,
            gradient_accumulation_steps=training.accumulate,
            num_train_epochs=training.epochs,
            learning_rate=training.learning_rate,
            lr_scheduler_type=_SCHEDULES[training.schedule],
            warmup_steps=math.ceil(training.warmup * steps),
            max_grad_norm=training.max_grad_norm,
            bf16=precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            # LayerDrop, masks and heads of one's own leave parameters without a gradient now and then.
            ddp_find_unused_parameters=True,
            # Buffers are taken from the first process when an epoch ends.
            ddp_broadcast_buffers=False,
            eval_strategy="no" if dev_uar is None else "epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            # The best and the last: a kill after the last epoch, while the sides are scored, costs no training.
            save_total_limit=2,
            load_best_model_at_end=training.select == "best",
            metric_for_best_model="uar",
            greater_is_better=True,
            logging_nan_inf_filter=False,
            remove_unused_columns=False,
            label_names=["targets"],
            disable_tqdm=True,
            report_to=[],
            seed=seed,
        )
        # Several GPUs are for several processes; the Trainer would split batches of one process among them.
        arguments._n_gpu = min(1, arguments.n_gpu)
        # The datasets only tell the Trainer that there are both sides: batches and dev scoring are serlab's.
        super().__init__(network, arguments, train_dataset=batches.clips, eval_dataset=(), callbacks=callbacks)
        # The Trainer's own printer would write every log to standard output.
        self.callback_handler.callbacks = [
            c
            for c in self.callback_handler.callbacks
            if type(c).__name__ not in ("PrinterCallback", "ProgressCallback")
        ]

    def get_train_dataloader(self) -> Any:
        return self.batches

    def num_examples(self, dataloader: Any) -> int:
        return len(dataloader.clips)

    def get_batch_samples(self, epoch_iterator: Iterator[Batch], num_batches: int, device: Any) -> tuple[Any, int]:
        # The clips of an optimiser step, in all its batches and processes: what its loss is the mean of.
        self.passed = 0
        batches = list(islice(epoch_iterator, num_batches))
        return batches, sum(batch["clips"] for batch in batches)

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        # Dropout, LayerDrop and transformers' feature masks draw from the global generators: keyed by the step, they
        # do not depend on what ran before, so a resumed training equals an undisturbed one. Each batch of a step,
        # and each process, has draws of its own.
        (rank, world), passed = processes.share(), self.passed
        self.passed += 1
        place = [f"batch {passed}, process {rank}"] if passed or rank else []
        key = keyed_seed(self.run_seed, self.state.global_step, "step", *place)
        torch.manual_seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        model.train()
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            part = self.compute_loss(model, inputs) / num_items_in_batch
        loss = math.fsum(processes.exchange(part.item()))
        if not math.isfinite(loss):
            epoch = 1 + int(self.state.epoch or 0)
            raise FindingsError(
                f"the loss is not finite in epoch {epoch}: training diverged; "
                "lower --set training.learning_rate or use --precision fp32."
            )
        with processes.summing_gradients():
            # DistributedDataParallel gives the processes' mean, and the sum is wanted.
            self.accelerator.backward(world * part)
        return torch.tensor(loss, device=part.device)

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Sum over this process's clips; 0, with a gradient of 0, where it has none."""
        logits = model(inputs["features"]).float()
        smoothing = self.settings.label_smoothing
        loss = nn.functional.cross_entropy(logits, inputs["targets"], label_smoothing=smoothing, reduction="sum")
        weighted: torch.Tensor = loss * inputs["weight"]
        return weighted

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        # Fused: a third of the time of a step on 94 million parameters (docs/gpu.md), equal up to rounding.
        self.optimizer = torch.optim.AdamW(parameter_groups(self.network, self.settings), fused=True)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.settings.schedule == "step":
            steps = torch.optim.lr_scheduler.StepLR
            epoch = _steps_an_epoch(self.batches, self.settings)
            self.lr_scheduler: Any = steps(self.optimizer, epoch, self.settings.schedule_factor)  # type: ignore[arg-type]
            return self.lr_scheduler
        return super().create_scheduler(num_training_steps, optimizer)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError, SafetensorError) as error:
            refused = next((link for link in causes(error) if isinstance(link, (OSError, SafetensorError))), None)
            if refused is None:
                raise
            raise unwritable(self.folder, refused) from error

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        # The Trainer makes the processes wait for each other next: not for one that could not score or write.
        processes.exchange(None)

    def store_flos(self) -> None:
        """Count nothing: nobody reads it, and the processes would wait for each other."""

    def _save_rng_state(self, output_dir: str) -> None:
        """Keep nothing: randomness is keyed by the step."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.args.should_save:
            return
        parts: dict[str, Any] = {"optimizer.pt": self.optimizer, "scheduler.pt": self.lr_scheduler}
        for name, part in parts.items():
            # Into a stream of Python's own: what the system refuses is then an OSError; torch's writer only has a text.
            with (Path(output_dir) / name).open("wb") as stream:
                torch.save(part.state_dict(), stream)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.network.state_dict() if state_dict is None else state_dict
        # Safetensors takes plain strides only, and a ResNet keeps its channels last.
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        # Running statistics of batch norms differ between processes; the model is the first one's.
        for name, buffer in processes.exchange({n: b.cpu() for n, b in self.network.named_buffers()})[0].items():
            self.network.get_buffer(name).copy_(buffer)
        assert self.dev_uar is not None
        metrics = {"eval_uar": self.dev_uar()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup", "step": "constant"}


def _steps_an_epoch(batches: TrainingBatches, training: Training) -> int:
    return -(-len(batches) // training.accumulate)


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


class _Progress(TrainerCallback):
    """Feeds the bar."""

    def __init__(self, progress: Bar) -> None:
        self.progress, self.note = progress, ""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.advance(note=self.note)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        self.note = f"epoch {round(state.epoch or 0)}: dev UAR {metrics['eval_uar']:.3f}"


class _Patience(TrainerCallback):
    """Stops after so many epochs without a better dev UAR; it counts in the log, which a resumed training has whole."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if _ran_out(state.log_history, self.epochs):
            control.should_training_stop = True


class _End(TrainerCallback):
    """Stops after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if round(state.epoch) >= self.epoch:
            control.should_training_stop = True


def _ran_out(log: list[dict[str, Any]], patience: int) -> bool:
    uars = [epoch["dev_uar"] for epoch in _history(log) if "dev_uar" in epoch]
    return bool(patience and uars) and len(uars) - 1 - int(np.argmax(uars)) >= patience


class _Clock(TrainerCallback):
    """Keeps the time that training took beside its checkpoints, so that a resumed run knows its whole cost."""

    def __init__(self, folder: Path, *, resumed: bool) -> None:
        self.path, self.start = folder / "seconds.json", time.monotonic()
        self.earlier = float(json.loads(self.path.read_text())) if resumed and self.path.is_file() else 0.0

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_json(self.path, self.earlier + time.monotonic() - self.start)


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    epochs: dict[int, dict[str, Any]] = {}
    for entry in log:
        number = round(entry["epoch"])
        epoch = epochs.setdefault(number, {"epoch": number})
        if "loss" in entry:
            epoch["loss"] = float(entry["loss"])
        if "eval_uar" in entry:
            epoch["dev_uar"] = float(entry["eval_uar"])
    return [epoch for _, epoch in sorted(epochs.items())]


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint: its state file is written last, so where it reads, the rest is there."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return path
    return None


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block; leave the caller's generators and environment as they were."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    environment = set(os.environ)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.random.set_rng_state(states[2])
        # accelerate writes its settings (mixed precision among them) into the environment.
        for name in set(os.environ) - environment:
            del os.environ[name]
