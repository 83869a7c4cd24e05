"""Statistics of frames over time."""

from __future__ import annotations

import torch
from torch import Tensor

_VARIANCE_FLOOR = 1e-5


def statistics(frames: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean and standard deviation over time: (batch, frames, dim) to (batch, 2 dim), in fp32.

    Args:
        frames: hidden states.
        weights: attention over frames, shape (batch, frames, 1 or dim), summing to one over frames;
            None is uniform.
    """
    frames = frames.float()
    uniform = frames.new_full((1, 1, 1), 1.0 / frames.shape[1])
    share = uniform if weights is None else weights.float()
    mean = (share * frames).sum(dim=1)
    variance = (share * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
    return torch.cat([mean, (variance + _VARIANCE_FLOOR).sqrt()], dim=-1)
