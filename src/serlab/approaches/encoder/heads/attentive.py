"""Attentive statistics pooling (Okabe et al. 2018, doi:10.21437/Interspeech.2018-993)."""

from __future__ import annotations

from torch import Tensor, nn

from serlab.approaches.encoder.pooled import PooledHead
from serlab.approaches.pooling import statistics

_HIDDEN = 128


class Head(PooledHead):
    """Mean and standard deviation over frames that are weighted by attention, per dimension."""

    def build(self, dim: int) -> int:
        """Create one hidden layer of attention; the output has twice the width."""
        self.attention = nn.Sequential(nn.Linear(dim, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, dim))
        return 2 * dim

    def pool(self, frames: Tensor) -> Tensor:
        """Compute the weighted statistics of the frames."""
        return statistics(frames, self.attention(frames).float().softmax(dim=1))
