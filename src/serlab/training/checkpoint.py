"""Checkpoints of a training in a private folder, which an interrupted training resumes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from serlab.core.files import synced, unwritable
from serlab.core.progress import say
from serlab.training import averaging
from serlab.training.averaging import Averaged

_WEIGHTS, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"

Epoch = dict[str, float]
"""``epoch`` (from 1), ``loss`` and, with a dev split, ``dev_uar``."""


@dataclass(frozen=True)
class Checkpoint:
    """The state that an interrupted training resumes from: epochs and seconds so far, weights, optimiser state.

    ``<folder>/epoch<k>/`` holds two safetensors files, a third if weights are averaged, and a JSON
    file. The folder gets this name when it is complete.
    """

    epochs: list[Epoch]
    seconds: float

    @classmethod
    def last(cls, folder: Path, selected: Callable[[list[Epoch]], int] = len) -> Checkpoint | None:
        """The newest checkpoint of a folder that can be read; damaged ones are removed, and a message says so.

        Args:
            folder: the folder.
            selected: number of the epoch, of a list, whose checkpoint is needed as well.
        """
        for number in sorted((int(path.name.removeprefix("epoch")) for path in folder.glob("epoch*")), reverse=True):
            try:
                found = cls(**_read(_folder_of(folder, number)))
                best = selected(found.epochs)
                if best != number:
                    _read(_folder_of(folder, best))
            except (OSError, ValueError, TypeError, SafetensorError):
                say(
                    f"the checkpoint {_folder_of(folder, number)} is damaged, e.g. by a power cut, so training resumes "
                    "from an earlier one or starts again."
                )
                shutil.rmtree(_folder_of(folder, number), ignore_errors=True)
            else:
                return found
        return None

    def save(
        self,
        folder: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        selected: int,
        averaged: Averaged | None = None,
    ) -> None:
        """Write the checkpoint; remove all others except that of the ``selected`` epoch.

        Raises:
            MachineError: it cannot be written.
        """
        new, target = folder / "unfinished", _folder_of(folder, len(self.epochs))
        state = optimizer.state_dict()["state"]
        moments = {f"{number}.{name}": part for number, parts in state.items() for name, part in parts.items()}
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _save(network.state_dict(), new / _WEIGHTS)
            _save(moments, new / _OPTIMIZER)
            if averaged and averaged.started(len(self.epochs)):
                _save(averaged.kept, new / averaging.FILE)
            (new / _STATE).write_text(json.dumps(asdict(self)), encoding="utf-8")
            # Otherwise, a power cut could keep the new name and lose the content.
            synced(new)
            new.replace(target)
        except (OSError, SafetensorError) as error:
            raise unwritable(folder, error) from error
        for path in {*folder.glob("epoch*")} - {target, _folder_of(folder, selected)}:
            shutil.rmtree(path, ignore_errors=True)

    def restore(
        self, folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, averaged: Averaged | None = None
    ) -> None:
        """Load weights, their average, and the optimiser state."""
        path = _folder_of(folder, len(self.epochs))
        load_weights(folder, len(self.epochs), network, averaged)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(path / _OPTIMIZER).items():
            number, _, name = key.partition(".")
            like = parameters[int(number)]
            # The fused step needs moments with the strides of their parameters, e.g. channels last.
            part = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            state.setdefault(int(number), {})[name] = part
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def load_weights(folder: Path, epoch: int, network: nn.Module, averaged: Averaged | None = None) -> None:
    """Give a network the weights of an epoch's checkpoint, and their average if there is one."""
    path = _folder_of(folder, epoch)
    network.load_state_dict(load_file(path / _WEIGHTS))
    if averaged:
        averaged.load(path)


def _read(path: Path) -> dict[str, Any]:
    """The state of a checkpoint, after a look at the headers and lengths of its other files.

    Raises:
        OSError, ValueError, SafetensorError: it is damaged.
    """
    for name in {_WEIGHTS, _OPTIMIZER, *(each.name for each in path.glob("*.safetensors"))}:
        with safe_open(path / name, "pt"):
            pass
    state: dict[str, Any] = json.loads((path / _STATE).read_text("utf-8"))
    return state


def _folder_of(folder: Path, epoch: int) -> Path:
    return folder / f"epoch{epoch}"


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Safetensors needs contiguous tensors, but a ResNet uses channels last.
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
