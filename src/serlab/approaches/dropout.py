"""Fast dropout on a CPU.

torch draws a 32-bit number for each value on a single thread, which takes a sixth of a training
step of wav2vec2-base. Here, one 64-bit number is used for four values; the probability is exact to
2^-17. The draws are keyed by torch's generator, so seeding that one also seeds them. On a GPU
torch's own dropout is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LEVELS = 2**16


def drop(x: Tensor, p: float) -> Tensor:
    """Set each value to 0 with probability ``p``, and divide the others by ``1 - p``.

    Args:
        x: any shape.
        p: within 0 to 1.
    """
    if x.device.type != "cpu" or p >= 1:
        return nn.functional.dropout(x, p)
    return x * _kept(x.shape, p).to(x.dtype).mul_(1 / (1 - p))


def _kept(shape: torch.Size, p: float) -> Tensor:
    generator = np.random.SFC64(int(torch.randint(2**62, ())))
    draws = generator.random_raw(-(-shape.numel() // 4)).view(np.int16)[: shape.numel()]
    return torch.from_numpy(draws).view(shape) >= round(p * _LEVELS) - _LEVELS // 2


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`drop`."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training; otherwise return the input."""
        return drop(x, self.p) if self.training and self.p else x


def install(hf: Any) -> None:
    """Replace the dropout in the modules of a transformers encoder, in place."""
    for parent in list(hf.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
