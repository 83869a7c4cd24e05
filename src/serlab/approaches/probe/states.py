"""The front end of a probe: statistics over time of a frozen encoder's hidden states."""

from __future__ import annotations

from typing import Any

import torch

from serlab.approaches.encoder.frozen import fingerprint
from serlab.approaches.encoder.network import SpeechEncoder
from serlab.approaches.pooling import statistics
from serlab.core.precision import Precision, autocast, device
from serlab.frontends.base import Features, Samples


class PooledStates:
    """Front end of a probe: mean and deviation over time of each hidden state of a frozen encoder.

    Args:
        encoder: the encoder; its head is not used.
        weights_sha256: identity of its weights.
        precision: of the matrix products.
    """

    def __init__(self, encoder: SpeechEncoder, *, weights_sha256: str, precision: Precision) -> None:
        self.encoder = encoder.to(device()).eval()
        self.weights_sha256 = weights_sha256
        self.settings = fingerprint((), encoder.hf.config)
        self.precision: Precision = precision

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {
            "frontend": "pooled-states",
            "weights": self.weights_sha256,
            "settings": self.settings,
            "layers": len(self.encoder.layers),
            "input": self.encoder.frontend.config,
            "precision": self.precision,
            "way": self.encoder.family.way(self.precision),
        }

    def __call__(self, samples: Samples) -> Features:
        """Pool one clip: (layers + 1, 2 dim)."""
        pieces = self.encoder.segments(self.encoder.frontend(samples))
        pooled = []
        with torch.inference_mode(), autocast(self.precision):
            for piece in pieces:
                states = self.encoder.hidden_states(torch.from_numpy(piece)[None].to(device()))
                pooled.append(torch.cat([statistics(layer) for layer in states]))
        features: Features = torch.stack(pooled).mean(dim=0).cpu().numpy()
        return features
