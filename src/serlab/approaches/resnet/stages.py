"""The residual stages of ResNet18 without transformers, whose import costs more than a clip's prediction.

Modules have the names of transformers' ``ResNetEncoder`` with basic layers, and the same operations
in the same order, so weights fit either and scores are equal to the last bit. Trained models are
loaded into these; training starts from transformers' own, whose initial weights it keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Stages(nn.Module):
    """Maps (batch, width, bands, frames) to (batch, last width, bands / 8, frames / 8).

    Args:
        width: channels of the input.
        widths: channels of each stage; all but the first one halve both axes.
    """

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (width, *widths[:-1])
        strides = (1, *(2,) * (len(widths) - 1))
        self.stages = nn.ModuleList(map(_Stage, inputs, widths, strides))

    def forward(self, maps: Tensor) -> Tensor:
        """Run the stages."""
        for stage in self.stages:
            maps = stage(maps)
        return maps


class _Stage(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Layer(inputs, width, stride), _Layer(width, width, 1))

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.layers(maps)
        return found


class _Layer(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        apart = inputs != width or stride != 1
        self.shortcut: nn.Module = _Convolution(inputs, width, 1, stride) if apart else nn.Identity()
        self.layer = nn.Sequential(
            _Convolution(inputs, width, 3, stride, rectified=True), _Convolution(width, width, 3, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.layer(maps)
        found += self.shortcut(maps)
        return nn.functional.relu(found)


class _Convolution(nn.Module):
    def __init__(self, inputs: int, width: int, size: int, stride: int, *, rectified: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, width, size, stride=stride, padding=size // 2, bias=False)
        self.normalization = nn.BatchNorm2d(width)
        self.rectified = rectified

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.normalization(self.convolution(maps))
        return nn.functional.relu(found) if self.rectified else found
