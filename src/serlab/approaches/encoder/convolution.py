"""Convolutions over time with frames before channels: as matrix products of views, or by torch with channels last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serlab.approaches.made import Made, computed_in, fuses, on_processor, type_of
from serlab.core.precision import Precision, device, fastest

PLAIN, PRODUCTS, CONVOLUTIONS = "plain", "products", "convolutions"
"""Ways: channels first, as in transformers; matrix products of views; torch's convolutions with channels last."""

_TRIAL_FRAMES = 250


class Taps(NamedTuple):
    """Neighbouring taps of a convolution that one product computes.

    Attributes:
        first: index of the first tap.
        matrix: shape (taps x inputs, outputs).
    """

    first: int
    matrix: Tensor


_TAPS: Made[list[Taps]] = Made()
_KERNELS: Made[tuple[Tensor, Tensor | None]] = Made()


def activated(conv: nn.Conv1d, frames: Tensor) -> Tensor:
    """GELU of a convolution, in prediction in the fastest way.

    Args:
        conv: the convolution.
        frames: shape (batch, frames, inputs).

    Returns:
        Shape (batch, frames, outputs).
    """
    if torch.is_grad_enabled() or conv.training or not on_processor(frames) or conv.weight.dtype != torch.float32:
        drop(conv)
        return _activated(conv, frames, PLAIN)
    dtype = computed_in(frames)
    way = fastest_way(conv, dtype)
    if way == PLAIN:
        return _activated(conv, frames, way)
    with torch.autocast("cpu", enabled=False):
        return _activated(conv, frames.to(dtype), way)


def way_of(conv: nn.Conv1d, precision: Precision) -> str:
    """The way of :func:`activated` in a front end in ``precision``."""
    return fastest_way(conv, type_of(precision)) if device().type == "cpu" else PLAIN


def fastest_way(conv: nn.Conv1d, dtype: torch.dtype) -> str:
    """The fastest way to compute :func:`activated` for convolutions of this size."""
    inputs, outputs, width, stride = conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0]
    work = f"convolution, {dtype}, {inputs} to {outputs} channels, width {width}, stride {stride}"

    def ways() -> Mapping[str, Callable[[], object]]:
        frames = torch.randn(1, _TRIAL_FRAMES, inputs)
        return {way: partial(trial, frames, way) for way in (PLAIN, PRODUCTS, CONVOLUTIONS)}

    def trial(frames: Tensor, way: str) -> None:
        cast = way == PLAIN and dtype != torch.float32
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=cast):
            _activated(conv, frames if way == PLAIN else frames.to(dtype), way)

    return fastest(work, ways)


def _activated(conv: nn.Conv1d, frames: Tensor, way: str) -> Tensor:
    if way == PLAIN:
        return F.gelu(conv(frames.transpose(1, 2))).transpose(1, 2)
    if way == CONVOLUTIONS:
        return channels_last(conv, frames.contiguous(), gelu=True)
    padded = F.pad(frames, (0, 0, conv.padding[0], conv.padding[0]))  # type: ignore[arg-type]
    return gelu_(products(conv, padded))


def products(conv: nn.Conv1d, frames: Tensor) -> Tensor:
    """Convolve without padding as matrix products of views, which autograd can follow.

    Args:
        conv: the convolution; its weights are computed with in the type of ``frames``.
        frames: shape (batch, frames, inputs), contiguous.

    Returns:
        Shape (batch, (frames - width) // stride + 1, outputs).
    """
    stride = conv.stride[0]
    if torch.is_grad_enabled():
        drop(conv)
        return _Products.apply(frames, conv.weight, conv.bias, stride)  # type: ignore[no-any-return, no-untyped-call]
    weights = _weights(conv)
    taps = _TAPS.of(conv, frames.dtype, weights, lambda: matrices(conv.weight.to(frames.dtype), stride))
    bias = None if conv.bias is None else conv.bias.to(frames.dtype)
    return _multiplied(frames, taps, bias, conv.kernel_size[0], stride)


def drop(conv: nn.Conv1d) -> None:
    """Forget what was made of a convolution's weights, because they may change."""
    _TAPS.drop(conv)
    _KERNELS.drop(conv)


def matrices(weight: Tensor, stride: int) -> list[Taps]:
    """The taps of a convolution in groups of ``stride``.

    Args:
        weight: shape (outputs, inputs, width).
        stride: of the convolution.
    """
    groups = torch.split(weight.permute(2, 1, 0), stride)
    return [Taps(stride * index, group.reshape(-1, weight.shape[0])) for index, group in enumerate(groups)]


def _rows(frames: Tensor, first: int, width: int, stride: int, count: int) -> Tensor:
    """The values that taps from ``first`` see, one row per output: a view (count, width) of a clip's frames."""
    channels = frames.shape[1]
    return frames.as_strided((count, width), (stride * channels, 1), frames.storage_offset() + first * channels)


def _multiplied(frames: Tensor, taps: list[Taps], bias: Tensor | None, width: int, stride: int) -> Tensor:
    count = (frames.shape[1] - width) // stride + 1
    out = frames.new_empty(len(frames), count, taps[0].matrix.shape[1])
    # A clip's products do not depend on the batch, not even in their rounding.
    for clip, result in zip(frames, out, strict=True):
        for first, matrix in taps:
            rows = _rows(clip, first, len(matrix), stride, count)
            if first:
                result.addmm_(rows, matrix)
            elif bias is None:
                torch.mm(rows, matrix, out=result)
            else:
                torch.addmm(bias, rows, matrix, out=result)
    return out


class _Products(torch.autograd.Function):
    """:func:`products` with its gradient, which is made of products of the same views.

    With g the gradient of the output, that of a group's matrix is rows' g, and that of its rows is
    g matrix', added where the rows lie in memory. Autograd's own gradient of a view with overlapping
    rows would first write all rows side by side.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        taps = matrices(weight.to(frames.dtype), stride)
        ctx.save_for_backward(frames, *(matrix for _, matrix in taps))
        ctx.shape, ctx.stride, ctx.has_bias = weight.shape, stride, bias is not None
        return _multiplied(frames, taps, None if bias is None else bias.to(frames.dtype), weight.shape[2], stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (gradient,) = (given.contiguous() for given in gradients)
        frames, *factors = ctx.saved_tensors
        stride, (outputs, inputs, _) = ctx.stride, ctx.shape
        count = gradient.shape[1]
        wants_frames, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        below = torch.zeros_like(frames) if wants_frames else None
        sums = [matrix.new_zeros(matrix.shape, dtype=torch.float32) for matrix in factors] if wants_weight else []
        for index, (clip, above) in enumerate(zip(frames, gradient, strict=True)):
            for group, matrix in enumerate(factors):
                if sums:
                    sums[group] += _rows(clip, group * stride, len(matrix), stride, count).T @ above
                if below is not None:
                    _rows(below[index], group * stride, len(matrix), stride, count).addmm_(above, matrix.T)
        weight = torch.cat([each.view(-1, inputs, outputs) for each in sums]).permute(2, 1, 0) if sums else None
        bias = gradient.sum(dim=(0, 1), dtype=torch.float32) if ctx.has_bias and wants_bias else None
        return below, weight, bias, None


def channels_last(conv: nn.Conv1d, frames: Tensor, *, gelu: bool) -> Tensor:
    """Convolve by torch with channels last in memory.

    Args:
        conv: the convolution; its weights are computed with in the type of ``frames``.
        frames: shape (batch, frames, inputs), contiguous.
        gelu: apply GELU to the output; without autograd it is computed with the convolution.
    """
    image = frames.transpose(1, 2)[:, :, None]
    stride, padding = (1, conv.stride[0]), (0, int(conv.padding[0]))
    if torch.is_grad_enabled():
        drop(conv)
        kernel, bias = _kernel(conv, frames.dtype)
        convolved = F.conv2d(image, kernel, bias, stride, padding, groups=conv.groups)
        out = convolved[:, :, 0].transpose(1, 2)
        return F.gelu(out) if gelu else out
    kernel, bias = _KERNELS.of(conv, frames.dtype, _weights(conv), lambda: _kernel(conv, frames.dtype))
    if gelu and fuses():
        fused = torch.ops.mkldnn._convolution_pointwise
        both: Tensor = fused(image, kernel, bias, padding, stride, (1, 1), conv.groups, "gelu", [], "none")
        return both[:, :, 0].transpose(1, 2).contiguous()
    out = F.conv2d(image, kernel, bias, stride, padding, groups=conv.groups)[:, :, 0].transpose(1, 2).contiguous()
    return gelu_(out) if gelu else out


def gelu_(x: Tensor) -> Tensor:
    """GELU in place."""
    activated: Tensor = torch.ops.aten.gelu_(x)
    return activated


def _kernel(conv: nn.Conv1d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    kernel = conv.weight[:, :, None].to(dtype).contiguous(memory_format=torch.channels_last)
    return kernel, None if conv.bias is None else conv.bias.to(dtype)


def _weights(conv: nn.Conv1d) -> list[Tensor]:
    """The tensors that a convolution depends on; those of its weight norm if it has one."""
    return list(conv.parameters())
