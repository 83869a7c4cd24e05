"""From an encoder's hidden states to logits: layer mix, pooling over time, classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from serlab.recipes import HeadSettings

_VARIANCE_FLOOR = 1e-5


def statistics(frames: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean and standard deviation over time: (batch, frames, dim) to (batch, 2 dim), in fp32.

    Args:
        frames: hidden states.
        weights: attention over frames, shape (batch, frames, 1 or dim), summing to one over frames; None is uniform.
    """
    frames = frames.float()
    uniform = frames.new_full((1, 1, 1), 1.0 / frames.shape[1])
    share = uniform if weights is None else weights.float()
    mean = (share * frames).sum(dim=1)
    variance = (share * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
    return torch.cat([mean, (variance + _VARIANCE_FLOOR).sqrt()], dim=-1)


class PooledHead(nn.Module):
    """Layer mix, pooling, one hidden layer.

    The layer mix is a softmax-weighted sum of layer-normed hidden states (Yang et al. 2021, SUPERB);
    ``attentive`` is attentive statistics pooling (Okabe et al. 2018, doi:10.21437/Interspeech.2018-993).

    Args:
        settings: the head's settings.
        dim: width of the hidden states.
        layers: how many hidden states the encoder gives.
        n_labels: number of classes.
    """

    def __init__(self, settings: HeadSettings, dim: int, layers: int, n_labels: int) -> None:
        super().__init__()
        self.pooling = settings.pooling
        self.layer_weights = nn.Parameter(torch.zeros(layers)) if settings.layers == "weighted" else None
        if settings.pooling == "attentive":
            self.attention = nn.Sequential(nn.Linear(dim, 128), nn.Tanh(), nn.Linear(128, dim))
        pooled = dim if settings.pooling == "mean" else 2 * dim
        self.classifier = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(pooled, settings.projection),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.projection, n_labels),
        )

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Score hidden states, each (batch, frames, dim), from the lowest layer to the last."""
        frames = self._mix(hidden_states)
        if self.pooling == "mean":
            pooled = frames.float().mean(dim=1)
        elif self.pooling == "mean+std":
            pooled = statistics(frames)
        else:
            pooled = statistics(frames, self.attention(frames).float().softmax(dim=1))
        logits: Tensor = self.classifier(pooled)
        return logits

    def _mix(self, hidden_states: Sequence[Tensor]) -> Tensor:
        if self.layer_weights is None:
            return hidden_states[-1]
        shares = self.layer_weights.softmax(dim=0)
        mixed = torch.zeros_like(hidden_states[-1], dtype=torch.float32)
        for share, states in zip(shares, hidden_states, strict=True):
            mixed = mixed + share * nn.functional.layer_norm(states.float(), states.shape[-1:])
        return mixed
