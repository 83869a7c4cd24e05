"""Averages of the weights over training: an exponential moving average (EMA), or stochastic weight averaging (SWA).

The averaged weights are scored on dev and kept; training goes on with its own. Running statistics
of batch norms are averaged like weights, as in timm and in torch's ``AveragedModel`` with
``use_buffers=True``, so that no pass over the data is needed to estimate them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import swa_utils

if TYPE_CHECKING:
    from serlab.recipes import Training

_utils: Any = swa_utils
FILE = "averaged.safetensors"


class Averaged:
    """The averaged weights of a network.

    Args:
        network: the network, on its device. Trained parameters and running statistics are averaged.
        training: the recipe's settings: ``ema`` or ``swa``.
    """

    def __init__(self, network: nn.Module, training: Training) -> None:
        trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        frozen = {name for name, _ in network.named_parameters()} - trained
        self.training = training
        self.live: dict[str, Tensor] = {
            name: tensor.detach()
            for name, tensor in network.state_dict().items()
            if name not in frozen and tensor.is_floating_point()
        }
        self.kept: dict[str, Tensor] = {name: tensor.clone() for name, tensor in self.live.items()}

    @classmethod
    def of(cls, network: nn.Module, training: Training) -> Averaged | None:
        """The average that a recipe asks for, None without one."""
        return cls(network, training) if training.ema or training.swa else None

    def started(self, epochs: int) -> bool:
        """Whether there is an average after a number of epochs."""
        return self._members(epochs) > 0 if self.training.swa else epochs > 0

    def _members(self, epochs: int) -> int:
        """Number of epochs in the average of ``swa``."""
        return epochs - (self.training.epochs - self.training.swa)

    @torch.no_grad()
    def after_step(self, steps: int) -> None:
        """Update the EMA after a number of steps; at first, it follows the weights more closely.

        >>> [round(decay_after(0.999, steps), 3) for steps in (1, 100, 10_000)]
        [0.182, 0.918, 0.999]
        """
        if self.training.ema:
            update = _utils.get_ema_multi_avg_fn(decay_after(self.training.ema, steps))
            update([*self.kept.values()], [*self.live.values()], None)

    @torch.no_grad()
    def after_epoch(self, epochs: int) -> None:
        """Add the weights at the end of an epoch, if it is one of the last ``swa``."""
        members = self._members(epochs)
        if not self.training.swa or members < 1:
            return
        if members == 1:
            self._copy(self.live, self.kept)
        else:
            _utils.get_swa_multi_avg_fn()([*self.kept.values()], [*self.live.values()], members - 1)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Give the network the averaged weights until the block ends."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def apply(self) -> None:
        """Give the network the averaged weights for good."""
        self._copy(self.kept, self.live)

    def load(self, folder: Path) -> None:
        """Read the average of a checkpoint's folder, if it has one."""
        if (folder / FILE).is_file():
            self._copy(load_file(folder / FILE), self.kept)

    @staticmethod
    @torch.no_grad()
    def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
        for name, tensor in target.items():
            tensor.copy_(source[name])

    def _swap(self) -> None:
        before = {name: tensor.clone() for name, tensor in self.live.items()}
        self._copy(self.kept, self.live)
        self._copy(before, self.kept)


def decay_after(decay: float, steps: int) -> float:
    """Decay of the EMA after a number of steps: the first weights are random, so they are forgotten faster.

    >>> decay_after(0.5, 1_000)
    0.5
    """
    return min(decay, (1 + steps) / (10 + steps))
