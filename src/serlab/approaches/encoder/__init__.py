"""Speech encoders of transformers with a classification head: pretrained and fine-tuned, or trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from serlab.approaches.base import Approach, FitContext, Pretrained, Saved, Subset, Supports
from serlab.approaches.encoder import heads
from serlab.core import UserError, unknown
from serlab.core.settings import added, check_at_least, check_at_most, check_share

if TYPE_CHECKING:
    from serlab.approaches.network import FittedNetwork

_HEAD_FIELDS = {"num_labels", "id2label", "label2id", "classifier_proj_size", "use_weighted_layer_sum"}


@dataclass(frozen=True)
class HeadSettings:
    """The head, which turns an encoder's hidden states into logits.

    Attributes:
        kind: ``transformers`` is transformers' own head (projection, mean over time, linear), so
            that the saved folder loads in plain transformers; ``pooled`` is serlab's (layer mix,
            pooling, one hidden layer).
        projection: width of the projection (``transformers``) or the hidden layer (``pooled``).
        layers: ``last`` hidden state, or a ``weighted`` sum of all (with ``pooled`` each is
            layer-normed first).
        pooling: over time, for ``pooled``; one of :func:`serlab.approaches.encoder.heads.names`.
        dropout: of the ``pooled`` head.
    """

    kind: Literal["transformers", "pooled"] = "transformers"
    projection: int = 256
    layers: Literal["last", "weighted"] = "last"
    pooling: str = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown pooling, and settings that transformers' own head does not have."""
        check_at_least("model.head", self, 1, "projection")
        check_at_most("model.head", self, 65_536, "projection")
        check_share("model.head", self, "dropout")
        if self.pooling not in heads.names():
            raise unknown("model.head.pooling", self.pooling, heads.names())
        if self.kind == "transformers" and (self.pooling != "mean" or self.dropout):
            raise UserError("model.head.pooling and model.head.dropout need model.head.kind: pooled.")


@dataclass(frozen=True)
class Structure:
    """Properties that an encoder's configuration does not contain: the frozen part, and the head.

    Attributes:
        freeze_conv, freeze_layers, head: as in :class:`Settings`.
    """

    freeze_conv: bool = True
    freeze_layers: int = 0
    head: HeadSettings = HeadSettings()


@dataclass(frozen=True)
class Settings:
    """A speech encoder of transformers with a classification head.

    Attributes:
        checkpoint: hub name or local folder of pretrained weights; empty means trained from
            scratch.
        architecture: transformers' model type, used when there is no checkpoint.
        config: fields of transformers' configuration to set (all of them from scratch, overrides
            otherwise).
        freeze_conv: do not train the convolutional encoder; it then belongs to the front end.
        freeze_layers: number of lower transformer layers that are not trained.
        head: the classification head.
        fast_dropout: on a CPU, use the dropout of :mod:`serlab.approaches.dropout` instead of
            torch's. Its random numbers differ; the presets were trained with it.
    """

    kind: Literal["encoder"] = "encoder"
    checkpoint: str = ""
    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    freeze_conv: bool = True
    freeze_layers: int = 0
    head: HeadSettings = HeadSettings()
    fast_dropout: bool = added(False, before=True)

    def __post_init__(self) -> None:
        """Refuse a model without weights or architecture, or with both."""
        if bool(self.checkpoint) == bool(self.architecture):
            raise UserError("model needs either checkpoint (pretrained) or architecture (from scratch), not both.")
        check_at_least("model", self, 0, "freeze_layers")
        for name in _HEAD_FIELDS & self.config.keys():
            raise UserError(f"a recipe cannot set model.config.{name}: it follows from the corpus and model.head.")

    @property
    def structure(self) -> Structure:
        """The frozen part, and the head."""
        return Structure(self.freeze_conv, self.freeze_layers, self.head)


class Encoder(Pretrained):
    """The approach."""

    settings = Settings
    titles = ("a speech encoder", "speech encoders")
    supports = Supports(int8=True, epochs=True)

    def fit(self, settings: Settings, train: Subset, dev: Subset | None, context: FitContext) -> FittedNetwork:
        """Fine-tune, or train from scratch."""
        from serlab.approaches.encoder.network import from_recipe
        from serlab.core.precision import resolve
        from serlab.frontends.base import rounded

        network = from_recipe(settings, context.labels, resolve(context.precision), recipe=context.recipe)
        network.frontend = rounded(network.frontend, context.features)
        return context.train(network, train, dev)

    def load(self, settings: Settings, saved: Saved) -> FittedNetwork:
        """Load a transformers folder, and the pooled head in it."""
        from serlab.approaches.encoder.network import from_folder
        from serlab.approaches.network import FittedNetwork
        from serlab.core.precision import resolve
        from serlab.frontends.base import rounded

        precision = resolve(saved.precision)
        network = from_folder(saved.folder, settings.structure, precision)
        if network.labels != saved.labels:
            raise UserError(f"{saved.folder} is damaged: config.json and serlab.json name different labels.")
        network.frontend = rounded(network.frontend, saved.features)
        return FittedNetwork(network, saved.labels, precision)


APPROACH: Approach[Settings] = Encoder()
