"""ResNet18 on log-mel windows, trained from scratch or from image weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from serlab.approaches.base import Approach, FitContext, Pretrained, Saved, Subset, Supports
from serlab.core import UserError
from serlab.core.settings import check_at_least, check_at_most, check_share
from serlab.frontends.logmel import LogMelSettings

if TYPE_CHECKING:
    from serlab.approaches.network import FittedNetwork


@dataclass(frozen=True)
class Settings:
    """A ResNet on log-mel windows.

    Attributes:
        checkpoint: image-pretrained ResNet, with its RGB filters summed; empty means from scratch.
        stem: ``standard`` (7 x 7, stride 2, max-pooling) or ``small`` (3 x 3, stride 2, no
            pooling).
        width: channels of the first stage; each later stage doubles them.
        pooling: ``mean`` (transformers' own) or ``mean+std`` over time after a mean over frequency.
        dropout: before the last linear layer (needs ``mean+std`` pooling).
        window: frames per window; shorter clips are filled with the floor of log-mel, longer ones
            are covered by evenly spaced windows, and their logits are averaged.
        logmel: the front end.
    """

    kind: Literal["resnet"] = "resnet"
    checkpoint: str = ""
    stem: Literal["standard", "small"] = "standard"
    width: int = 64
    pooling: Literal["mean", "mean+std"] = "mean"
    dropout: float = 0.0
    window: int = 256
    logmel: LogMelSettings = field(default_factory=LogMelSettings)

    def __post_init__(self) -> None:
        """Refuse combinations that transformers' ResNet does not support."""
        check_at_least("model", self, 1, "width")
        check_at_most("model", self, 4096, "width")
        check_at_least("model", self, 2, "window")
        check_at_most("model", self, 100_000, "window")
        check_share("model", self, "dropout")
        if (self.stem == "small") != (self.pooling == "mean+std"):
            raise UserError("model.stem: small goes with model.pooling: mean+std, standard with mean.")
        if self.dropout and self.pooling == "mean":
            raise UserError("model.dropout needs model.pooling: mean+std.")


class ResNet18(Pretrained):
    """The approach."""

    settings = Settings
    titles = ("a resnet", "resnets")
    # All layers share one rate, and windows have one length.
    supports = Supports(
        epochs=True,
        ignored=frozenset(
            {
                "training.head_learning_rate",
                "training.layer_decay",
                "training.batch_seconds",
                "training.pretraining",
            }
        ),
    )

    def fit(self, settings: Settings, train: Subset, dev: Subset | None, context: FitContext) -> FittedNetwork:
        """Train on windows that are normalised by the statistics of the train subset."""
        import torch

        from serlab.approaches.resnet.network import ResNet, moments
        from serlab.checkpoints.weights import find
        from serlab.frontends.base import rounded
        from serlab.frontends.logmel import LogMel

        store = context.stores.of(rounded(LogMel(settings.logmel), context.features))
        mean, std = map(torch.from_numpy, moments(store.walk(train.files, f"{context.title}: log-mel")))
        network = ResNet(settings, context.labels, mean, std)
        network.frontend = store.frontend
        if settings.checkpoint:
            network.load_image_weights(find(settings.checkpoint))
        return context.train(network, train, dev)

    def load(self, settings: Settings, saved: Saved) -> FittedNetwork:
        """Load the network and the band statistics."""
        from serlab.approaches.network import FittedNetwork
        from serlab.approaches.resnet.network import from_folder
        from serlab.core.precision import resolve
        from serlab.frontends.base import rounded

        network = from_folder(saved.folder, settings, saved.labels)
        network.frontend = rounded(network.frontend, saved.features)
        return FittedNetwork(network, saved.labels, resolve(saved.precision))


APPROACH: Approach[Settings] = ResNet18()
