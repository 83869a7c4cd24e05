"""serlab's own heads: from an encoder's hidden states to logits by layer mix, pooling over time, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from serlab.approaches.encoder import HeadSettings


class PooledHead(nn.Module):
    """Layer mix, pooling, one hidden layer; subclasses define the pooling.

    The layer mix is a softmax-weighted sum of layer-normed hidden states (Yang et al. 2021,
    SUPERB).

    Args:
        settings: the head's settings.
        dim: width of the hidden states.
        layers: number of the encoder's hidden states.
        n_labels: number of classes.
    """

    def __init__(self, settings: HeadSettings, dim: int, layers: int, n_labels: int) -> None:
        super().__init__()
        self.layer_weights = nn.Parameter(torch.zeros(layers)) if settings.layers == "weighted" else None
        self.classifier = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(self.build(dim), settings.projection),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.projection, n_labels),
        )

    def build(self, dim: int) -> int:
        """Create the pooling's layers, if any.

        Args:
            dim: width of the frames.

        Returns:
            Width of the output of :meth:`pool`.
        """
        raise NotImplementedError

    def pool(self, frames: Tensor) -> Tensor:
        """Pool frames (batch, frames, dim) over time to (batch, width), in fp32."""
        raise NotImplementedError

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Score hidden states, each (batch, frames, dim), from the lowest layer to the last."""
        logits: Tensor = self.classifier(self.pool(self._mix(hidden_states)))
        return logits

    def _mix(self, hidden_states: Sequence[Tensor]) -> Tensor:
        if self.layer_weights is None:
            return hidden_states[-1]
        shares = self.layer_weights.softmax(dim=0)
        mixed = torch.zeros_like(hidden_states[-1], dtype=torch.float32)
        for share, states in zip(shares, hidden_states, strict=True):
            mixed = mixed + share * nn.functional.layer_norm(states.float(), states.shape[-1:])
        return mixed
