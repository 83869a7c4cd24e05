"""The positional convolution of the wav2vec2 family by Fourier transforms.

wav2vec2 adds to its frames a convolution over 128 of them (64 to each side, 16 groups of 48
channels), which is a tenth of a prediction. In the frequency domain, a convolution is one small
complex product (channels of a group x channels) per frequency, about thirty times fewer operations
for a width of 128. Frames are cut into overlapping blocks of twice the width, and the outputs that
wrap around are dropped (overlap-save; Oppenheim and Schafer, *Discrete-Time Signal Processing*,
section 8.7). The transform of the weights, with the weight norm in it, is computed
once.

The transforms are always in fp32, so that bf16 loses only the rounding of input and output. Their
rounding errors are about those of a direct convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serlab.approaches.encoder.convolution import PLAIN
from serlab.approaches.made import Made, computed_in, on_processor, type_of
from serlab.core.precision import Precision, device, fastest

FOURIER = "fourier"
# Of shorter ones (data2vec-audio: five of 19 frames) the transforms take as long as the products.
_SHORTEST = 32
_TRIAL_FRAMES = 128


class Spectrum(NamedTuple):
    """The transform of a convolution's weights.

    Attributes:
        values: complex, shape (frequencies, groups, inputs of a group, outputs of a group).
        bias: shape (channels,), or None.
        size: length of a block.
    """

    values: Tensor
    bias: Tensor | None
    size: int


_SPECTRA: Made[Spectrum] = Made()


def install(embedding: nn.Module) -> None:
    """Let the convolutions of transformers' ``pos_conv_embed`` module compute by :func:`forward`."""
    for module in embedding.modules():
        if isinstance(module, nn.Conv1d) and _supports(module):
            module.forward = partial(forward, module)  # type: ignore[method-assign]


def _supports(conv: nn.Conv1d) -> bool:
    simple = (conv.stride, conv.dilation, conv.padding_mode) == ((1,), (1,), "zeros")
    return simple and not isinstance(conv.padding, str) and conv.kernel_size[0] >= _SHORTEST


def forward(conv: Any, x: Tensor) -> Tensor:
    """The forward pass of a convolution: (batch, channels, frames) to (batch, channels, frames)."""
    in_prediction = not torch.is_grad_enabled() and not conv.training and on_processor(x)
    if not in_prediction or fastest_way(conv, computed_in(x)) == PLAIN:
        _SPECTRA.drop(conv)
        plain: Tensor = nn.Conv1d.forward(conv, x)
        return plain
    dtype = computed_in(x)
    with torch.autocast("cpu", enabled=False):
        spectrum = _SPECTRA.of(conv, None, list(conv.parameters()), lambda: spectrum_of(conv))
        return (
            convolved(spectrum, x.transpose(1, 2).float(), conv.kernel_size[0], conv.padding[0])
            .transpose(1, 2)
            .to(dtype)
        )


def way_of(embedding: nn.Module, precision: Precision) -> str:
    """The way of the first convolution of ``pos_conv_embed`` in a front end in ``precision``."""
    convolutions = [module for module in embedding.modules() if isinstance(module, nn.Conv1d)]
    if device().type != "cpu" or not convolutions or not _supports(convolutions[0]):
        return PLAIN
    return fastest_way(convolutions[0], type_of(precision))


def spectrum_of(conv: nn.Conv1d) -> Spectrum:
    """Transform a convolution's weights."""
    width, groups = conv.kernel_size[0], conv.groups
    size = 1 << (2 * width - 1).bit_length()
    # A convolution of networks is a correlation: its taps are in reverse order.
    values = torch.fft.rfft(conv.weight.detach().double().flip(-1), n=size).to(torch.complex64)
    outputs, inputs, frequencies = values.shape
    by_group = values.view(groups, outputs // groups, inputs, frequencies).permute(3, 0, 2, 1).contiguous()
    return Spectrum(by_group, conv.bias, size)


def convolved(spectrum: Spectrum, frames: Tensor, width: int, padding: int) -> Tensor:
    """Convolve over time.

    Args:
        spectrum: of the weights.
        frames: shape (batch, frames, channels), fp32.
        width: of the convolution.
        padding: number of zeros on each side.

    Returns:
        Shape (batch, frames + 2 padding + 1 - width, channels).
    """
    batch, length, channels = frames.shape
    count, step = length + 2 * padding + 1 - width, spectrum.size + 1 - width
    blocks = -(-count // step)
    total = (blocks - 1) * step + spectrum.size
    padded = F.pad(frames, (0, 0, padding, max(0, total - padding - length)))
    cut = padded.unfold(1, spectrum.size, step)[:, :blocks]  # (batch, blocks, channels, size)
    groups, inputs = spectrum.values.shape[1:3]
    transformed = torch.fft.rfft(cut, dim=-1).reshape(batch * blocks, groups, inputs, -1).permute(3, 1, 0, 2)
    product = torch.matmul(transformed, spectrum.values).permute(2, 0, 1, 3).reshape(batch, blocks, -1, channels)
    # The first width - 1 outputs of a block wrap around.
    whole: Tensor = torch.fft.irfft(product, n=spectrum.size, dim=2)[:, :, width - 1 :]
    out = whole.reshape(batch, blocks * step, channels)[:, :count]
    return out if spectrum.bias is None else out + spectrum.bias


def fastest_way(conv: nn.Conv1d, dtype: torch.dtype) -> str:
    """The faster way to compute convolutions of this size."""
    channels, width = conv.out_channels, conv.kernel_size[0]
    work = f"positional convolution, {dtype}, {channels} channels in {conv.groups} groups, width {width}"
    return fastest(work, partial(_trials, channels, width, conv.groups, dtype))


def _trials(channels: int, width: int, groups: int, dtype: torch.dtype) -> Mapping[str, Callable[[], object]]:
    conv = nn.Conv1d(channels, channels, width, padding=width // 2, groups=groups).requires_grad_(False)
    frames = torch.randn(1, _TRIAL_FRAMES, channels).to(dtype)
    spectrum, weight, bias = spectrum_of(conv), conv.weight.to(dtype), conv.bias
    bias = None if bias is None else bias.to(dtype)

    def plain() -> Tensor:
        return F.conv1d(frames.transpose(1, 2), weight, bias, padding=width // 2, groups=groups).transpose(1, 2)

    return {PLAIN: plain, FOURIER: lambda: convolved(spectrum, frames.float(), width, width // 2).to(dtype)}
