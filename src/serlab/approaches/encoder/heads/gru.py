"""Pooling by a recurrent network: the last states of a bidirectional GRU (Cho et al. 2014, arXiv:1406.1078)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serlab.approaches.encoder.pooled import PooledHead


class Head(PooledHead):
    """The last state of a GRU in each direction, in fp32."""

    def build(self, dim: int) -> int:
        """Create one layer with half the width per direction."""
        self.gru = nn.GRU(dim, max(1, dim // 2), batch_first=True, bidirectional=True)
        return 2 * self.gru.hidden_size

    def pool(self, frames: Tensor) -> Tensor:
        """Run over the frames in both directions; (batch, frames, dim) to (batch, width)."""
        with torch.autocast(frames.device.type, enabled=False):
            last: Tensor = self.gru(frames.float())[1]
        return last.transpose(0, 1).flatten(start_dim=1)
