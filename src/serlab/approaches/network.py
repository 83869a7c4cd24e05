"""The interface of networks, and how they score clips: in batches of equal length, without padding.

Otherwise a clip's prediction would depend on its neighbours: with group normalisation over time,
stacked positional convolutions and Whisper's missing mask, padding changes the result.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from serlab.approaches.base import Scored
from serlab.approaches.history import History
from serlab.approaches.int8 import quantise
from serlab.checkpoints.weights import quiet
from serlab.core.precision import Precision, autocast, device
from serlab.frontends.base import Features, FrontEnd

_MAX_BATCH = 32


class Network(nn.Module):
    """The trained part of an approach, from a batch of features to logits.

    Attributes:
        frontend: computes the features of one clip.
        window: number of time steps of every input, or None if the network accepts any length.
        fill: feature value of silence (for clips shorter than the window).
        longest: maximum length of an input in seconds; longer clips are scored in pieces.
        needs_serlab: whether the saved folder cannot be used by plain transformers.
        most_values: maximum size of a batch in numbers, to limit memory.
        layers: transformer layers, lowest first, whose matrix products int8 replaces.
        reader: the module whose input, averaged over frames if it has any, is the embedding.
    """

    frontend: FrontEnd
    window: int | None = None
    fill: float = 0.0
    longest: float = math.inf
    needs_serlab: bool = True
    most_values: int = 4_000_000
    layers: tuple[nn.Module, ...] = ()

    @property
    def reader(self) -> nn.Module | None:
        """The module that reads the embedding; None if there is no embedding."""
        return None

    @property
    def last(self) -> nn.Linear:
        """The layer whose output is the logits: the last linear one that was defined."""
        return [module for module in self.modules() if isinstance(module, nn.Linear)][-1]

    def segments(self, features: Features) -> list[Features]:
        """Split a clip's features into the pieces that are scored; their logits are averaged."""
        if self.window is None:
            return [features]
        return windows(features, self.window, self.fill)

    def depth_of(self, name: str) -> int | None:
        """Depth of a parameter below the top layer (0 = top), or None for a freshly initialised head."""
        raise NotImplementedError

    def save_weights(self, folder: Any) -> None:
        """Write configuration, weights and preprocessor into ``folder``."""
        raise NotImplementedError


class FittedNetwork:
    """A trained network; see :class:`serlab.approaches.base.Fitted`.

    Args:
        network: the network, in fp32.
        labels: names of the classes.
        precision: of the matrix products; with ``int8`` the network can then only predict.
    """

    history: History | None = None

    def __init__(self, network: Network, labels: tuple[str, ...], precision: Precision) -> None:
        self.network, self.labels = network.to(device()), labels
        self.precision: Precision = precision
        self.needs_serlab = network.needs_serlab
        counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
        self.parameters = sum(n for n, _ in counts), sum(n for n, trained in counts if trained)
        if precision == "int8":
            network.requires_grad_(False)
            quantise(network.layers)

    @property
    def frontend(self) -> FrontEnd:
        """The network's front end."""
        return self.network.frontend

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score clips in batches of one length."""
        return score(self.network, features, self.precision)

    def scored(self, features: Sequence[Features]) -> Scored:
        """Score clips in batches of one length; the embeddings are what the network's ``reader`` reads."""
        return scored(self.network, features, self.precision)

    def save(self, folder: Path) -> None:
        """Write a transformers folder (or serlab's format, if the network is not transformers' own)."""
        with quiet():
            self.network.save_weights(folder)


def windows(features: Features, length: int, fill: float) -> list[Features]:
    """Cover (frames, bands) by evenly spaced windows of ``length`` frames that overlap by at least half.

    A shorter clip becomes one window, filled at its end with ``fill``.

    >>> import numpy as np
    >>> [w[:, 0].tolist() for w in windows(np.arange(5, dtype="f4")[:, None], 4, -1.0)]
    [[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]
    >>> windows(np.ones((1, 1), "f4"), 3, -1.0)[0][:, 0].tolist()
    [1.0, -1.0, -1.0]
    """
    spare = len(features) - length
    if spare <= 0:
        filler = np.full((-spare, *features.shape[1:]), fill, features.dtype)
        return [np.concatenate([features, filler])]
    count = 1 + -(-spare // (length // 2))
    starts = np.linspace(0, spare, count).round().astype(int)
    return [features[start : start + length] for start in starts]


def score(network: Network, clips: Sequence[Features], precision: Precision) -> NDArray[np.float32]:
    """Logits of clips, shape (clips, labels); see :func:`scored`."""
    return scored(network, clips, precision).logits


def scored(network: Network, clips: Sequence[Features], precision: Precision) -> Scored:
    """Logits and embeddings of clips.

    Args:
        network: the network; it is put into evaluation mode.
        clips: features of each clip, time first.
        precision: of the matrix products.

    Returns:
        Scores in the order of ``clips``; those of pieces of a clip are averaged.
    """
    network.eval()
    pieces = [(owner, piece) for owner, clip in enumerate(clips) for piece in network.segments(clip)]
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, (_, piece) in enumerate(pieces):
        by_shape[piece.shape].append(index)
    rows: dict[int, tuple[NDArray[np.float32], ...]] = {}
    # Weight norms (of wav2vec2's positional convolution) are computed once, not in every forward
    # pass.
    with cached():
        for shape, members in by_shape.items():
            size = max(1, min(_MAX_BATCH, network.most_values // int(np.prod(shape))))
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                found = _forward(network, [pieces[i][1] for i in batch], precision)
                rows.update(zip(batch, zip(*found, strict=True), strict=True))
    if not pieces:
        return Scored(np.zeros((len(clips), 0), np.float32), None)
    owners = [owner for owner, _ in pieces]
    logits, *read = (list(part) for part in zip(*(rows[index] for index in range(len(pieces))), strict=True))
    embeddings = [_means(part, owners, len(clips)) for part in read]
    return Scored(_means(logits, owners, len(clips)), embeddings[0] if embeddings else None)


def _means(rows: Sequence[NDArray[np.float32]], owners: Sequence[int], count: int) -> NDArray[np.float32]:
    """Average the rows of each owner; shape (count, columns)."""
    sums = np.zeros((count, rows[0].shape[0]), np.float64)
    counts = np.zeros((count, 1))
    for owner, row in zip(owners, rows, strict=True):
        sums[owner] += row
        counts[owner] += 1
    return (sums / counts).astype(np.float32)


def _forward(network: Network, batch: Sequence[Features], precision: Precision) -> tuple[NDArray[np.float32], ...]:
    """Logits of features of one shape and, if the network has any, their embeddings."""
    values = torch.from_numpy(np.stack(batch)).to(device())
    found: list[Tensor] = []
    hooks = []
    if precision != "fp32":
        # Logits in bf16 have 8 significant bits, so that two labels of a clip may tie.
        hooks.append(network.last.register_forward_hook(_in_fp32))
    if network.reader is not None:
        hooks.append(network.reader.register_forward_pre_hook(lambda _, given: found.append(_pooled(given[0]))))
    try:
        with torch.inference_mode(), autocast(precision):
            found.insert(0, network(values))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(part.float().cpu().numpy() for part in found)


def _in_fp32(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Replace the output of a linear layer by that in fp32, if it has another type."""
    if output.dtype == torch.float32:
        return output
    with torch.autocast(output.device.type, enabled=False):
        exact: Tensor = layer(given[0].float())
    return exact


def _pooled(values: Tensor) -> Tensor:
    """Average frames (batch, frames, dim); flatten the maps of a pooled image; fp32."""
    return values.float().mean(dim=1) if values.dim() == 3 else values.float().flatten(start_dim=1)
