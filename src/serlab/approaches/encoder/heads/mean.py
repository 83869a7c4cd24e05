"""Pooling by the mean over time."""

from __future__ import annotations

from torch import Tensor

from serlab.approaches.encoder.pooled import PooledHead


class Head(PooledHead):
    """Mean over frames."""

    def build(self, dim: int) -> int:
        """Create no layers; the output has the same width."""
        return dim

    def pool(self, frames: Tensor) -> Tensor:
        """Average the frames."""
        return frames.float().mean(dim=1)
