"""The convolutional encoder of the wav2vec2 family as matrix products, frames by channels.

transformers computes it with channels first. Half of its time is not products: layouts are
converted, and normalisation and activation read and write everything again. Here a clip is one
matrix (frames, channels) in every layer, and a convolution of stride s is a sum of products of
*views*: s frames that follow each other in memory are one row of s times as many values, so that
for width 3 and stride 2

    out[t] = [a[2t], a[2t+1]] @ [W0; W1] + a[2t+2] @ W2

needs no copy: both factors ``a`` are views of the same memory with 2 x channels values from row to
row. :mod:`serlab.approaches.encoder.convolution` computes any width and stride in this way.

The first layer sees one channel: its windows (10 samples, every 5) are the rows of a matrix X that
is multiplied by W (10, channels). **Group norm over time is folded into W.** A channel's output is
w·x + b for the window x, so its mean over the clip is w·m + b and its variance is w'Cw, where m and
C are the mean and the covariance of the clip's windows. Hence

    gamma (w·x + b - mean) / sqrt(variance + eps) + beta = (s w)·x + (beta - s w·m),
    s = gamma / sqrt(w'Cw + eps),

which is exact, and costs one product of (10, frames) with (frames, 10) instead of two passes over
(frames, channels). m, C and s are computed in fp64: neighbouring samples of speech resemble each
other, so C is badly conditioned, and for a filter that hears high frequencies alone w'Cw is the
small difference of large numbers.

In training, the gradient is made of the same products.

The way is chosen by timing it against transformers' own (:func:`serlab.core.precision.fastest`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serlab.approaches.encoder.convolution import CONVOLUTIONS, PLAIN, PRODUCTS, channels_last, drop, gelu_, products
from serlab.approaches.made import computed_in, on_processor, type_of
from serlab.core.precision import Precision, device, fastest

_TRIAL_SAMPLES = 40_000
_ROWS = 512


def install(encoder: Any) -> None:
    """Let transformers' ``feature_extractor`` module compute by :func:`forward`."""
    encoder.forward = partial(forward, encoder)


def forward(encoder: Any, samples: Tensor) -> Tensor:
    """Encode clips of one length, in the fastest way.

    Args:
        encoder: transformers' ``feature_extractor`` module.
        samples: shape (batch, samples).

    Returns:
        Shape (batch, channels, frames), as transformers returns it.
    """
    if not on_processor(samples) or not supports(encoder) or samples.requires_grad:
        way = PLAIN
    else:
        trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in encoder.parameters())
        way = fastest_way(encoder, computed_in(samples), trained=trained)
        if trained:
            # Here and not only in each way, because training and prediction may use different ones.
            for layer in encoder.conv_layers:
                drop(layer.conv)
    if way == PLAIN:
        plain: Tensor = type(encoder).forward(encoder, samples)
        return plain
    return encode(encoder, samples, way).transpose(1, 2)


def way_of(encoder: Any, precision: Precision) -> str:
    """The way in which :func:`forward` encodes clips for a front end in ``precision``."""
    if device().type != "cpu" or not supports(encoder):
        return PLAIN
    return fastest_way(encoder, type_of(precision), trained=False)


def supports(encoder: Any) -> bool:
    """Whether the layers are what this module computes: unpadded convolutions from one channel, and known norms."""
    layers = list(getattr(encoder, "conv_layers", ()))
    return bool(layers) and layers[0].conv.in_channels == 1 and all(map(_known, layers, range(len(layers))))


def _known(layer: Any, index: int) -> bool:
    conv, norm = getattr(layer, "conv", None), getattr(layer, "layer_norm", None)
    if type(conv) is not nn.Conv1d or (conv.padding, conv.dilation, conv.groups) != ((0,), (1,), 1):
        return False
    if conv.weight.dtype != torch.float32:
        return False
    if isinstance(norm, nn.GroupNorm):
        # Only the first layer's norm can be folded, because only there rows are short.
        return index == 0 and norm.num_groups == norm.num_channels
    return norm is None or isinstance(norm, nn.LayerNorm)


def fastest_way(encoder: Any, dtype: torch.dtype, *, trained: bool) -> str:
    """The fastest way for encoders of this size, by timing them on 2.5 s of sound."""
    first = encoder.conv_layers[0].conv
    shape = f"{first.out_channels} channels, width {first.kernel_size[0]}, norm {_norm(encoder)}"
    work = f"convolutional encoder, {dtype}, {shape}{', trained' if trained else ''}"
    return fastest(work, partial(_trials, encoder, dtype, trained))


def _norm(encoder: Any) -> str:
    return type(getattr(encoder.conv_layers[0], "layer_norm", None)).__name__


def _trials(encoder: Any, dtype: torch.dtype, trained: bool) -> Mapping[str, Callable[[], object]]:
    shown = torch.randn(1, _TRIAL_SAMPLES)
    weights = list(encoder.parameters())

    def compute(way: str) -> None:
        with torch.set_grad_enabled(trained), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            out = type(encoder).forward(encoder, shown.clone()) if way == PLAIN else encode(encoder, shown, way)
            if trained:
                torch.autograd.grad(out.float().sum(), [w for w in weights if w.requires_grad])

    return {way: partial(compute, way) for way in (PLAIN, PRODUCTS, CONVOLUTIONS)}


def encode(encoder: Any, samples: Tensor, way: str) -> Tensor:
    """Encode clips of one length with channels last.

    Args:
        encoder: transformers' ``feature_extractor`` module, if :func:`supports` is true of it.
        samples: shape (batch, samples).
        way: ``products`` or ``convolutions``.

    Returns:
        Shape (batch, frames, channels). Each clip's frames are computed from that clip alone.
    """
    dtype = computed_in(samples)
    first, *others = encoder.conv_layers
    with torch.autocast("cpu", enabled=False):
        frames = _first(first, samples, dtype)
        for layer in others:
            frames = _layer(layer, frames, way)
    return frames


def _first(layer: Any, samples: Tensor, dtype: torch.dtype) -> Tensor:
    """The first layer: (batch, samples) to (batch, frames, channels); its products are always in fp32."""
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    windows = samples.float().unfold(1, conv.kernel_size[0], conv.stride[0]).contiguous()
    if torch.is_grad_enabled():
        clips = [torch.addmm(bias, rows, matrix) for rows, matrix, bias in _factors(conv, norm, windows)]
        return _activated(layer, _normed(norm, torch.stack(clips))).to(dtype)
    out = torch.empty(*windows.shape[:2], conv.out_channels, dtype=dtype)
    for clip, (rows, matrix, bias) in zip(out, _factors(conv, norm, windows), strict=True):
        # In pieces that stay in the processor's cache between product, norm and activation.
        for start in range(0, len(rows), _ROWS):
            piece = torch.addmm(bias, rows[start : start + _ROWS], matrix)
            clip[start : start + _ROWS] = _activated(layer, _normed(norm, piece))
    return out


def _factors(conv: nn.Conv1d, norm: Any, windows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Each clip's windows, the matrix that multiplies them, and the bias."""
    matrix = conv.weight[:, 0].T
    bias = matrix.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    for rows in windows:
        if isinstance(norm, nn.GroupNorm):
            folded, shift = _folded(norm, rows, matrix)
            # The norm removes the bias; its gradient is 0, not missing.
            yield rows, folded, shift + 0 * bias
        else:
            yield rows, matrix, bias


def _folded(norm: nn.GroupNorm, windows: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix and bias that give the normalised channels of a clip; see the head of this module."""
    rows, columns = windows.double(), matrix.double()
    middle = rows.mean(dim=0)
    centred = rows - middle
    covariance = centred.T @ centred / len(rows)
    variance = ((covariance @ columns) * columns).sum(dim=0).clamp(min=0)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return (columns * scale).float(), (norm.bias - scale * (middle @ columns)).float()


def _layer(layer: Any, frames: Tensor, way: str) -> Tensor:
    """A layer above the first one: (batch, frames, inputs) to (batch, frames, outputs)."""
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    if way == PRODUCTS:
        return _activated(layer, _normed(norm, products(conv, frames)))
    fused = norm is None and is_gelu(layer.activation)
    out = channels_last(conv, frames, gelu=fused)
    return out if fused else _activated(layer, _normed(norm, out))


def _normed(norm: Any, frames: Tensor) -> Tensor:
    return norm(frames) if isinstance(norm, nn.LayerNorm) else frames


def _activated(layer: Any, frames: Tensor) -> Tensor:
    """Apply the layer's activation, in place if that is possible."""
    if is_gelu(layer.activation):
        return F.gelu(frames) if torch.is_grad_enabled() else gelu_(frames)
    activated: Tensor = layer.activation(frames)
    return activated


def is_gelu(activation: Any) -> bool:
    """Whether an activation of transformers is the exact GELU."""
    return type(activation) is nn.GELU or type(activation).__name__ == "GELUActivation"
