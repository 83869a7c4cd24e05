"""Whisper's encoder on the clip's own length: the first positions of its table, no padding to 30 s (Radford 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from serlab.approaches.encoder import convolution

SECONDS = 0.02
"""A position: two frames of log-mel, 10 ms apart."""


def parts(frames: int, positions: int) -> list[tuple[int, int]]:
    """Cut a long clip into equal parts that the table of positions covers.

    Args:
        frames: number of states.
        positions: length of the table.

    Returns:
        First and one past the last state of each part.

    >>> parts(1500, 1500), parts(1501, 1500)
    ([(0, 1500)], [(0, 750), (750, 1501)])
    """
    count = -(-frames // positions)
    return list(pairwise(frames * part // count for part in range(count + 1)))


def frozen_states(encoder: Any, count: int, features: Tensor) -> list[Tensor]:
    """Like :func:`states_below`, for clips of any length: long clips are encoded in parts."""
    cuts = parts(-(-features.shape[1] // 2), encoder.max_source_positions)
    pieces = [states_below(encoder, count, features[:, 2 * low : 2 * high]) for low, high in cuts]
    return [torch.cat(state, dim=1) for state in zip(*pieces, strict=True)]


def states_below(encoder: Any, count: int, features: Tensor) -> list[Tensor]:
    """Input of the first layer and outputs of the lowest ``count``.

    Args:
        encoder: transformers' Whisper encoder.
        count: number of layers.
        features: Whisper's log-mel, shape (batch, frames, bands).

    Returns:
        ``count + 1`` tensors of shape (batch, frames // 2, dim).
    """
    frames = convolution.activated(encoder.conv2, convolution.activated(encoder.conv1, features))
    frames = frames + encoder.embed_positions.weight[: frames.shape[1]]
    states = [nn.functional.dropout(frames, p=encoder.dropout, training=encoder.training and not count)]
    for layer in encoder.layers[:count]:
        states.append(layer(states[-1], None))
    return states


def states_above(encoder: Any, below: Sequence[Tensor], start: int) -> tuple[Tensor, ...]:
    """All states, the last one normalised: ``below`` and the outputs of the layers from ``start``."""
    states = list(below)
    for layer in encoder.layers[start:]:
        states.append(layer(states[-1], None))
    return (*states[:-1], encoder.layer_norm(states[-1]))
