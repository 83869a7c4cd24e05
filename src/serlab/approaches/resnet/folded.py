"""ResNets in prediction: batch norm folded into the convolution before it; ReLU and sums in the same pass.

In prediction, batch norm is a factor and a shift per channel, so it can be a part of the
convolution's weights and bias (exact but for rounding). oneDNN then computes ReLU, and the sum with
the shortcut, in the pass that writes the convolution's output, with weights that are packed once.

The way is chosen by timing it against the network's own forward pass
(:func:`serlab.core.precision.fastest`). Training, gradients, exports and other devices use the
network's own forward pass, and its weights do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from serlab.approaches.made import Made, computed_in, fuses, on_processor
from serlab.core.precision import fastest

PLAIN, FOLDED, PACKED = "plain", "folded", "packed"
"""Ways: modules one by one; folded, by torch; folded and with packed weights, by oneDNN."""

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@dataclass(frozen=True)
class Body:
    """The convolutional part of a ResNet.

    Attributes:
        stem: a convolution, its norm and ReLU.
        pool: what follows the stem.
        encoder: the residual layers in stages. Each has two convolutions and, where the shape
            changes, one in its shortcut.
        pairs: convolutions and norms of the stem and of each layer, that of the shortcut first;
            empty if some convolution has no norm (an export has merged them).
    """

    stem: nn.Module
    pool: nn.Module
    encoder: nn.Module
    pairs: tuple[tuple[Pair, ...], ...]

    @classmethod
    def of(cls, stem: nn.Module, pool: nn.Module, encoder: Any) -> Body:
        """Find the pairs."""
        layers = [layer for stage in encoder.stages for layer in stage.layers]
        pairs = tuple(_pairs(module) for module in (stem, *layers))
        return cls(stem, pool, encoder, pairs if all(pairs) else ())

    def __call__(self, image: Tensor) -> Tensor:
        """The network's own way: (batch, 1, bands, frames) to the maps of the last layer."""
        found = self.encoder(self.pool(self.stem(image)))
        maps: Tensor = found if isinstance(found, Tensor) else found.last_hidden_state
        return maps


def _pairs(module: nn.Module) -> tuple[Pair, ...]:
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    return tuple(zip(convolutions, norms, strict=True)) if len(convolutions) == len(norms) else ()


@dataclass(frozen=True)
class Kernel:
    """A convolution with the norm after it.

    Attributes:
        weight: shape (outputs, inputs, height, width), channels last, or packed by oneDNN.
        bias: shape (outputs,).
        stride, padding: of the convolution.
        packed: whether oneDNN computes.
    """

    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    packed: bool

    @classmethod
    def of(cls, pair: Pair, dtype: torch.dtype, way: str) -> Kernel:
        """Fold a norm in evaluation mode into the convolution before it."""
        conv, norm = pair
        fuse: Callable[..., tuple[Tensor, Tensor]] = fuse_conv_bn_weights
        weight, bias = fuse(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        stride, padding = tuple(conv.stride), tuple(map(int, conv.padding))
        if way == PACKED:
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, (1, 1), 1)
        return cls(weight, bias.detach().to(dtype), stride, padding, way == PACKED)

    def __call__(self, maps: Tensor, *, relu: bool = True, plus: Tensor | None = None) -> Tensor:
        """Convolve (batch, inputs, height, width), add ``plus``, then apply ReLU."""
        if not self.packed:
            out = F.conv2d(maps, self.weight, self.bias, self.stride, self.padding)
            out = out if plus is None else out.add_(plus)
            return out.relu_() if relu else out
        convolve: Any = torch.ops.mkldnn._convolution_pointwise
        shape = self.padding, self.stride, (1, 1), 1
        if plus is not None:
            summed: Tensor = convolve.binary(
                maps, plus, self.weight, self.bias, *shape, "add", 1.0, "relu" if relu else None, [], ""
            )
            return summed
        found: Tensor = convolve(maps, self.weight, self.bias, *shape, "relu" if relu else "none", [], "")
        return found


Kernels = tuple[tuple[Kernel, ...], ...]
"""Those of the stem and of each residual layer."""

_KERNELS: Made[Kernels] = Made()
_USABLE: Made[bool] = Made()


def in_fastest_way(body: Body, image: Tensor) -> Tensor:
    """Compute the maps of the last layer.

    Args:
        body: the convolutional part of a network.
        image: shape (batch, 1, bands, frames).

    Returns:
        Shape (batch, channels, bands / n, frames / n).
    """
    if torch.is_grad_enabled() or body.stem.training or not body.pairs or not on_processor(image):
        _KERNELS.drop(body.stem)
        _USABLE.drop(body.stem)
        return body(image)
    # oneDNN's ReLU turns NaN into zero: a damaged network would give scores instead of an error.
    if not _USABLE.of(body.stem, "usable", _tensors(body), lambda: _usable(body)):
        return body(image)
    dtype = computed_in(image)
    way = fastest_way(body, dtype, image.shape[2:])
    if way == PLAIN:
        return body(image)
    kernels = _KERNELS.of(body.stem, (dtype, way), _tensors(body), lambda: _folded(body, dtype, way))
    with torch.autocast("cpu", enabled=False):
        return _maps(body, kernels, image.to(dtype))


def fastest_way(body: Body, dtype: torch.dtype, shape: Iterable[int]) -> str:
    """The fastest way for networks of this size, by timing them on one window of ``shape`` (bands, frames)."""
    bands, frames = shape
    stem, top = body.pairs[0][0][0], body.pairs[-1][-1][0]
    sizes = f"stem {stem.kernel_size[0]} wide, {stem.out_channels} to {top.out_channels} channels"
    work = f"resnet, {dtype}, {sizes}, {len(body.pairs) - 1} layers, {bands} x {frames}"
    return fastest(work, partial(_trials, body, dtype, bands, frames))


def _trials(body: Body, dtype: torch.dtype, bands: int, frames: int) -> Mapping[str, Callable[[], object]]:
    image = torch.randn(1, 1, bands, frames)

    def plain() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            body(image)

    def folded(kernels: Kernels) -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            _maps(body, kernels, image.to(dtype))

    ways: dict[str, Callable[[], object]] = {PLAIN: plain}
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for way in (FOLDED, PACKED) if fuses() else (FOLDED,):
            ways[way] = partial(folded, _folded(body, dtype, way))
    return ways


def _usable(body: Body) -> bool:
    """Whether all folded weights and biases are finite."""
    kernels = _folded(body, torch.float32, FOLDED)
    return all(
        bool(torch.isfinite(tensor).all()) for layer in kernels for each in layer for tensor in (each.weight, each.bias)
    )


def _folded(body: Body, dtype: torch.dtype, way: str) -> Kernels:
    return tuple(tuple(Kernel.of(pair, dtype, way) for pair in pairs) for pairs in body.pairs)


def _maps(body: Body, kernels: Kernels, image: Tensor) -> Tensor:
    (stem,), *layers = kernels
    maps: Tensor = body.pool(stem(image))
    for *shortcut, first, second in layers:
        maps = second(first(maps), plus=shortcut[0](maps, relu=False) if shortcut else maps)
    return maps


def _tensors(body: Body) -> list[Tensor]:
    """What the kernels depend on; the count of batches tells that a norm's statistics have changed."""
    return [
        tensor
        for pairs in body.pairs
        for conv, norm in pairs
        for tensor in (
            conv.weight,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            norm.num_batches_tracked,
        )
        if tensor is not None
    ]
