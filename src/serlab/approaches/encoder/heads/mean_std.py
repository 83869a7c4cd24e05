"""Pooling by mean and standard deviation over time."""

from __future__ import annotations

from torch import Tensor

from serlab.approaches.encoder.pooled import PooledHead
from serlab.approaches.pooling import statistics


class Head(PooledHead):
    """Mean and standard deviation over frames."""

    def build(self, dim: int) -> int:
        """Create no layers; the output has twice the width."""
        return 2 * dim

    def pool(self, frames: Tensor) -> Tensor:
        """Compute the statistics of the frames."""
        return statistics(frames)
