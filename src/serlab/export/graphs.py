"""Whole models as torch modules: (batch, samples) at 16 kHz to probabilities (batch, labels)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from serlab.approaches.network import FittedNetwork, Network
from serlab.approaches.pooling import statistics
from serlab.approaches.probe import FittedProbe
from serlab.approaches.svm import FittedMachine
from serlab.core import UserError
from serlab.export.inputs import EXPORTED, input_of


class Graph(nn.Module):
    """Input, network and softmax of a model.

    Args:
        before: from samples to features.
        network: from features to logits.
    """

    def __init__(self, before: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.before, self.network = before, network

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) to (batch, labels)."""
        logits: Tensor = self.network(self.before(audio))
        return logits.float().softmax(dim=1)


class Windowed(nn.Module):
    """Mean logits over the windows of :func:`serlab.approaches.network.windows`.

    Args:
        network: from windows of ``network.window`` frames to logits.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        assert network.window is not None
        self.network, self.length, self.fill = network, network.window, network.fill

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, bands) to (batch, labels)."""
        frames, half = features.shape[1], self.length // 2
        spare = _larger(frames - self.length, 0)
        count = 1 + (spare + half - 1) // half
        # numpy.linspace, rounded half to even; a single window has the step 0.
        step = spare / _larger(count - 1, 1)
        starts = (torch.arange(count, dtype=torch.float64) * step).round().long()
        index = starts[:, None] + torch.arange(self.length)
        filled = nn.functional.pad(features, (0, 0, 0, self.length), value=self.fill)
        windows = filled[:, index].flatten(0, 1)
        logits: Tensor = self.network(windows)
        return logits.reshape(features.shape[0], count, -1).mean(dim=1)


def _larger(number: int, other: int) -> int:
    """The larger of two lengths, which may be symbols."""
    larger: int = torch.sym_max(number, other)  # type: ignore[no-untyped-call]
    return larger


class ProbeGraph(nn.Module):
    """Logistic regression on the pooled states of an encoder, from the encoder's features to logits."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, fitted: FittedProbe) -> None:
        super().__init__()
        probe = fitted.probe
        self.encoder, self.layer = fitted.frontend.encoder, int(probe.layer)
        for name in ("mean", "scale", "weight", "bias"):
            self.register_buffer(name, torch.from_numpy(getattr(probe, name)).float())

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of features."""
        pooled = statistics(self.encoder.hidden_states(features)[self.layer])
        logits: Tensor = (pooled - self.mean) / self.scale @ self.weight + self.bias
        return logits


def graph_of(fitted: Any) -> nn.Module:
    """The module of a fitted model in fp32, which is changed: weight norms become plain weights.

    Raises:
        UserError: serlab cannot export such a model.
    """
    if isinstance(fitted, FittedNetwork):
        network: nn.Module = fitted.network
        if fitted.network.window is not None:
            network = Windowed(fitted.network)
        graph = Graph(input_of(fitted.network.frontend), network)
    elif isinstance(fitted, FittedProbe):
        graph = Graph(input_of(fitted.frontend.encoder.frontend), ProbeGraph(fitted))
    elif isinstance(fitted, FittedMachine):
        from serlab.export.machine import MachineGraph, MfccInput

        graph = Graph(MfccInput(fitted.frontend), MachineGraph(fitted.machine))
    else:
        raise UserError(f"serlab cannot export this kind of model ({type(fitted).__name__}); {EXPORTED}.")
    if any(isinstance(module, nn.RNNBase) for module in graph.modules()):
        raise UserError("serlab cannot export a recurrent head; train with model.head.pooling: mean+std or attentive.")
    for module in list(graph.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    return graph.eval()
