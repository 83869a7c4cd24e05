"""ResNet18 on log-mel windows: transformers' standard network, or one with stem and width for small inputs.

He et al. 2016, doi:10.1109/CVPR.2016.90; the small stem follows the speaker-recognition ResNets (3
x 3, no max-pooling, statistics pooling over time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from serlab.approaches.network import Network
from serlab.approaches.pooling import statistics
from serlab.approaches.resnet import Settings, folded
from serlab.approaches.resnet.stages import Stages
from serlab.checkpoints import stored
from serlab.checkpoints.checks import shown
from serlab.checkpoints.weights import loading
from serlab.core import UserError
from serlab.core.files import read_json, write_json
from serlab.frontends.base import Features
from serlab.frontends.logmel import FLOOR_DB, LogMel

_SMALLEST_STD = 1e-5
_MOST_DB = 10_000


class ResNet(Network):
    """Log-mel windows (batch, frames, bands) to logits (batch, labels).

    Args:
        settings: the recipe's model section.
        labels: names of the classes.
        mean, std: per-band statistics of the training clips, in dB.
        trained: whether the weights are loaded afterwards; the network with the small stem then
            does without transformers.
    """

    fill = FLOOR_DB
    mean: Tensor
    std: Tensor

    def __init__(
        self, settings: Settings, labels: tuple[str, ...], mean: Tensor, std: Tensor, *, trained: bool = False
    ) -> None:
        super().__init__()
        self.settings, self.labels = settings, labels
        self.window = settings.window
        self.frontend = LogMel(settings.logmel)
        self.needs_serlab = settings.stem == "small"
        self.register_buffer("mean", mean.float(), persistent=False)
        self.register_buffer("std", std.float().clamp(min=_SMALLEST_STD), persistent=False)
        net: Any
        if not self.needs_serlab:
            from transformers import ResNetForImageClassification

            net = ResNetForImageClassification(self.config)
        elif trained:
            net = _Small(settings, labels, lambda: Stages(settings.width, _widths(settings)))
        else:
            from transformers import ResNetModel

            net = _Small(settings, labels, lambda: ResNetModel(self.config).encoder)
        # Convolutions on a CPU are a sixth faster with channels last, with the same values.
        self.net: nn.Module = net.to(memory_format=torch.channels_last)

    @cached_property
    def config(self) -> Any:
        """The network's configuration in transformers."""
        from transformers import ResNetConfig

        return ResNetConfig(
            num_channels=1,
            embedding_size=self.settings.width,
            hidden_sizes=_widths(self.settings),
            depths=[2, 2, 2, 2],
            layer_type="basic",
            id2label=dict(enumerate(self.labels)),
            label2id={label: index for index, label in enumerate(self.labels)},
        )

    @property
    def reader(self) -> nn.Module:
        """The classifier; its input is pooled over time and frequency."""
        return self.net.get_submodule("classifier")

    def forward(self, features: Tensor) -> Tensor:
        """Score windows of log-mel in dB, shape (batch, frames, bands)."""
        image = ((features - self.mean) / self.std).transpose(1, 2).unsqueeze(1)
        maps = folded.in_fastest_way(self._body, image)
        net: Any = self.net
        pooled = net.pooled(maps) if self.needs_serlab else net.resnet.pooler(maps)
        logits: Tensor = self.reader(pooled)
        return logits

    @cached_property
    def _body(self) -> folded.Body:
        net: Any = self.net
        if self.needs_serlab:
            return folded.Body.of(net.stem, nn.Identity(), net.encoder)
        return folded.Body.of(net.resnet.embedder.embedder, net.resnet.embedder.pooler, net.resnet.encoder)

    def depth_of(self, name: str) -> int | None:
        """All layers share one learning rate."""
        return 0

    def load_image_weights(self, folder: Path) -> None:
        """Load an image-pretrained ResNet18; its RGB filters are summed, which gives the features of a grey image."""
        from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

        from serlab.checkpoints import building

        first = "embedder.embedder.convolution.weight"
        with loading(folder):
            config = building.read_config(folder, ("resnet",), "a ResNet18")
            models = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
            image = building.build(folder, config, models, stored.read(folder), fields={})
            state = image.resnet.state_dict()
            state[first] = state[first].sum(dim=1, keepdim=True)
            network = self.net.get_submodule("resnet")
            try:
                stored.check_like(folder, state, network.state_dict())
            except UserError as error:
                raise UserError(f"{folder} is not a ResNet18 with the standard stem: {error}") from error
            network.load_state_dict(state)

    def save_weights(self, folder: Path) -> None:
        """Write configuration, weights and the band statistics."""
        self.config.architectures = ["ResNetForImageClassification"] if not self.needs_serlab else None
        self.config.save_pretrained(folder)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.net.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        preprocessor: dict[str, Any] = {
            **self.frontend.config,
            "window": self.window,
            "fill_db": self.fill,
            "mean_db": self.mean.tolist(),
            "std_db": self.std.tolist(),
        }
        write_json(folder / "preprocessor_config.json", preprocessor)


def from_folder(folder: Path, settings: Settings, labels: tuple[str, ...]) -> ResNet:
    """Load a ResNet that serlab trained.

    Args:
        folder: the model folder.
        settings: of its recipe.
        labels: names of the classes.

    Raises:
        UserError: (inside :func:`serlab.checkpoints.weights.loading`) the folder is damaged.
    """
    path = folder / "preprocessor_config.json"
    fields = read_json(path)
    for name, wanted in {**LogMel(settings.logmel).config, "window": settings.window, "fill_db": FLOOR_DB}.items():
        if fields.get(name, wanted) != wanted:
            raise UserError(f"{path}: {name} is {shown(fields[name])}, and the recipe says {wanted}; one is damaged.")
    mean = _bands(path, "mean_db", fields.get("mean_db"), settings.logmel.bands, -_MOST_DB)
    std = _bands(path, "std_db", fields.get("std_db"), settings.logmel.bands, 0)
    tensors = stored.read(folder)
    with torch.device("meta"):
        empty = ResNet(settings, labels, mean, std, trained=True)
    stored.check_like(folder, tensors, empty.net.state_dict())
    stored.check_finite(folder, tensors)
    network = ResNet(settings, labels, mean, std, trained=True)
    network.net.load_state_dict(tensors)
    return network


def _bands(path: Path, name: str, values: Any, count: int, low: float) -> Tensor:
    numbers = values if isinstance(values, list) else []
    if len(numbers) != count or not all(type(value) in (int, float) and low <= value <= _MOST_DB for value in numbers):
        raise UserError(f"{path}: {name} is {shown(values)}; expected {count} levels in dB.")
    return torch.tensor(numbers, dtype=torch.float32)


def moments(features: Iterable[Features]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over all frames of all clips, clip by clip.

    Merged as in Chan, Golub, LeVeque (1983), The American Statistician 37, equation 1.5, which is
    numerically stable.

    Args:
        features: at least one clip, each of shape (frames, bands).

    Returns:
        Two arrays of shape (bands,).
    """
    count, mean, squares = 0, np.float64(0), np.float64(0)
    for frames in features:
        own = frames.mean(axis=0, dtype=np.float64)
        apart, total = own - mean, count + len(frames)
        squares = squares + np.square(frames - own).sum(axis=0) + np.square(apart) * (count * len(frames) / total)
        mean = mean + apart * (len(frames) / total)
        count = total
    return np.asarray(mean), np.sqrt(squares / count)


class _Small(nn.Module):
    """Standard stages behind a 3 x 3 stride-2 stem; mean over frequency, then mean and deviation over time."""

    def __init__(self, settings: Settings, labels: tuple[str, ...], encoder: Callable[[], nn.Module]) -> None:
        super().__init__()
        width = settings.width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        # Made after the stem: the order of random draws is a part of published recipes.
        self.encoder = encoder()
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(2 * _widths(settings)[-1], len(labels))

    def pooled(self, maps: Tensor) -> Tensor:
        """The input of the classifier."""
        found: Tensor = self.dropout(statistics(maps.mean(dim=2).transpose(1, 2)))
        return found


def _widths(settings: Settings) -> list[int]:
    return [settings.width * 2**stage for stage in range(4)]
