"""Int8 matrix products in the layers of a speech encoder, for prediction on a processor.

Weights are rounded once, per output channel. Activations are rounded by the range of each clip
(dynamic quantisation), not of a batch, so a clip's prediction does not depend on its neighbours.
Everything else stays in floating point.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from serlab.core import MachineError, argument

_ENGINES = ("onednn", "x86", "qnnpack")
_MOST = 127


class Int8Linear(nn.Module):
    """A linear layer in int8: (batch, frames, inputs) to (batch, frames, outputs).

    Args:
        linear: the layer in floating point.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / _MOST
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        bias = None if linear.bias is None else linear.bias.detach().float()
        with warnings.catch_warnings():
            # PyTorch plans to remove quantised tensors; the error will then arise here.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self.packed: Any = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply clip by clip, because the range of activations must be that of one clip."""
        values = x.float()
        if len(values) == 1:  # No copy for the usual batch, a single clip.
            single: Tensor = torch.ops.quantized.linear_dynamic(values, self.packed, False)
            return single
        return torch.stack([torch.ops.quantized.linear_dynamic(clip, self.packed, False) for clip in values])


def quantise(layers: Iterable[nn.Module]) -> None:
    """Replace the linear layers in some transformer layers, in place; the model can then only predict.

    Args:
        layers: the transformer layers, on the processor.

    Raises:
        MachineError: this PyTorch cannot multiply int8 matrices.
    """
    for layer in layers:
        for parent in list(layer.modules()):
            # WavLM's attention passes its weights to a function instead of calling its layers.
            if type(parent).__name__ == "WavLMAttention":
                continue
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    with _engine():
                        setattr(parent, name, Int8Linear(child))


@contextmanager
def _engine() -> Iterator[None]:
    """Pack weights for the best engine while the block runs; products use the engine that weights were packed for."""
    backend = torch.backends.quantized
    engine = next((name for name in _ENGINES if name in backend.supported_engines), None)
    if engine is None or not hasattr(torch, "quantize_per_channel"):
        raise MachineError(f"this PyTorch has no int8 products; use {argument('precision', 'fp32')}.")
    before, backend.engine = backend.engine, engine
    try:
        yield
    finally:
        backend.engine = before
