"""Support vector machines on MFCC statistics as torch modules, in double precision as in numpy.

The machine counts votes, so rounding could change its answer by whole votes; double precision prevents that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from serlab.approaches.svm.machine import (
    RegressedSupportVectorClassifier,
    SupportVectorClassifier,
    SupportVectors,
)
from serlab.approaches.svm.pairs import pair_signs
from serlab.core import UserError
from serlab.export.inputs import EXPORTED
from serlab.frontends.functionals import (
    DELTA_WIDTH,
    FLOOR,
    QUANTILES,
    SLOPES,
    MfccStatistics,
    cosines,
    mel_filters,
    window_of,
)


class MfccInput(nn.Module):
    """Statistics of MFCCs; see :class:`serlab.frontends.functionals.MfccStatistics`.

    Raises:
        UserError: the front end is another one.
    """

    def __init__(self, frontend: Any) -> None:
        super().__init__()
        if not isinstance(frontend, MfccStatistics):
            raise UserError(f"serlab cannot export the input of this model (openSMILE); {EXPORTED}.")
        length = frontend.n_fft
        turns = np.outer(np.arange(length), np.arange(length // 2 + 1)) % length / length
        waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)
        filters = mel_filters(length, frontend.n_mels)
        self.length, self.hop, self.top_db = length, frontend.hop, frontend.top_db
        self.waves = _constant(waves * window_of(frontend.window, length)[:, None])
        self.filters, self.cosines = _constant(filters), _constant(cosines(frontend.n_mels, frontend.n_mfcc))
        self.slopes = [_constant(SLOPES[order]) for order in (1, 2)]

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, samples) to (batch, 11 n_mfcc)."""
        half, count = self.length // 2, 1 + samples.shape[1] // self.hop
        padded = nn.functional.pad(samples.double(), (half, half))
        frames = padded[:, torch.arange(count)[:, None] * self.hop + torch.arange(self.length)]
        real, imaginary = (frames @ self.waves).chunk(2, dim=2)
        bands = 10.0 * ((real.square() + imaginary.square()) @ self.filters).clamp(min=FLOOR).log10()
        bands = torch.maximum(bands, bands.amax(dim=(1, 2), keepdim=True) - self.top_db)
        static = bands @ self.cosines
        parts = [*_moments(static), *_quantiles(static)]
        # The edge frames are repeated.
        around = torch.arange(count)[:, None] + torch.arange(DELTA_WIDTH) - DELTA_WIDTH // 2
        neighbours = static[:, torch.minimum(around.clamp(min=0), torch.full((1,), count - 1))]
        for slope in self.slopes:
            parts += _moments((neighbours * slope[:, None]).sum(dim=2))
        return torch.cat(parts, dim=1).float()


def _moments(values: Tensor) -> list[Tensor]:
    """Mean and standard deviation over time, (batch, frames, dim) to (batch, dim)."""
    mean = values.mean(dim=1)
    return [mean, (values - mean[:, None]).square().mean(dim=1).sqrt()]


def _quantiles(values: Tensor) -> list[Tensor]:
    """Linearly interpolated quantiles over time, as in numpy."""
    last = values.shape[1] - 1
    ordered = values.sort(dim=1).values
    places = torch.tensor(QUANTILES, dtype=torch.float64) * last
    low = places.floor()
    below, above = ordered[:, low.long()], ordered[:, places.ceil().long()]
    return list((below + (places - low)[:, None] * (above - below)).unbind(dim=1))


class MachineGraph(nn.Module):
    """A support vector machine, from its features to logits."""

    mean: Tensor
    scale: Tensor
    support: Tensor
    dual: Tensor
    offset: Tensor
    gamma: Tensor
    signs: Tensor
    temperature: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, machine: SupportVectors) -> None:
        super().__init__()
        self.labels = machine.n_labels
        for name, array in machine.arrays().items():
            self.register_buffer(name, _constant(array))
        self.register_buffer("signs", _constant(pair_signs(self.labels)))
        self.finish: Callable[[Tensor], Tensor]
        if isinstance(machine, SupportVectorClassifier):
            self.finish = self._one_against_rest
        elif isinstance(machine, RegressedSupportVectorClassifier):
            self.finish = self._regression
        else:
            raise UserError(f"serlab cannot export this kind of model ({type(machine).__name__}); {EXPORTED}.")

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of features."""
        rows = (features.double() - self.mean) / self.scale
        products = rows @ self.support.T
        distances = rows.square().sum(dim=1, keepdim=True) - 2 * products + self.support.square().sum(dim=1)
        return self.finish((-self.gamma * distances.clamp(min=0)).exp() @ self.dual + self.offset)

    def _one_against_rest(self, values: Tensor) -> Tensor:
        sums = values @ self.signs
        if self.labels == 2:
            return sums / 2 / self.temperature
        won = torch.where(values >= 0, 1.0, -1.0).double() @ self.signs
        votes = (won + self.signs.abs().sum(dim=0)) / 2
        return (votes + sums / (3 * (sums.abs() + 1))) / self.temperature

    def _regression(self, values: Tensor) -> Tensor:
        return values @ self.weight + self.bias


def _constant(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float64))
