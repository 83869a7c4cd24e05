"""The kinds of model that a recipe can name, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serlab.audio import SAMPLE_RATE
from serlab.core import UserError
from serlab.core.settings import added, check_at_least, check_at_most, check_share

_HEAD_FIELDS = {"num_labels", "id2label", "label2id", "classifier_proj_size", "use_weighted_layer_sum"}


@dataclass(frozen=True)
class LogMelSettings:
    """Log-mel front end: power mel spectrogram in dB.

    Attributes:
        bands: number of mel bands.
        n_fft: analysis window and FFT length, in samples at 16 kHz.
        hop: samples between frames.
        low, high: edges of the lowest and highest band, Hz.
    """

    bands: int = 80
    n_fft: int = 512
    hop: int = 160
    low: float = 50.0
    high: float = 8000.0

    def __post_init__(self) -> None:
        """Refuse what is no spectrogram."""
        check_at_least("model.logmel", self, 1, "bands", "hop")
        check_at_least("model.logmel", self, 2, "n_fft")
        check_at_most("model.logmel", self, 65_536, "bands", "n_fft", "hop")
        if not 0 <= self.low < self.high <= SAMPLE_RATE / 2:
            raise UserError(
                f"model.logmel.low and high are {self.low:g} and {self.high:g} Hz; they must rise within 0 to "
                f"{SAMPLE_RATE // 2}."
            )


@dataclass(frozen=True)
class HeadSettings:
    """What turns an encoder's hidden states into logits.

    Attributes:
        kind: ``transformers`` is transformers' own head (projection, mean over time, linear), so that the saved
            folder loads in plain transformers; ``pooled`` is serlab's (layer mix, pooling, one hidden layer).
        projection: width of the projection (``transformers``) or the hidden layer (``pooled``).
        layers: ``last`` hidden state, or a ``weighted`` sum of all (with ``pooled`` each is layer-normed first).
        pooling: over time, for ``pooled``: ``mean``, ``mean+std`` or ``attentive`` (attentive statistics, Okabe 2018).
        dropout: of the ``pooled`` head.
    """

    kind: Literal["transformers", "pooled"] = "transformers"
    projection: int = 256
    layers: Literal["last", "weighted"] = "last"
    pooling: Literal["mean", "mean+std", "attentive"] = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what transformers' own head has not."""
        check_at_least("model.head", self, 1, "projection")
        check_at_most("model.head", self, 65_536, "projection")
        check_share("model.head", self, "dropout")
        if self.kind == "transformers" and (self.pooling != "mean" or self.dropout):
            raise UserError("model.head.pooling and model.head.dropout need model.head.kind: pooled.")


@dataclass(frozen=True)
class EncoderModel:
    """A speech encoder of transformers with a classification head.

    Attributes:
        checkpoint: hub name or local folder of pretrained weights; empty means trained from scratch.
        architecture: transformers' model type, used when there is no checkpoint.
        config: fields of transformers' configuration to set (all of them from scratch, overrides otherwise).
        freeze_conv: keep the convolutional encoder as it is; it then belongs to the front end.
        freeze_layers: number of lower transformer layers that are not trained.
        head: the classification head.
    """

    kind: Literal["encoder"] = "encoder"
    checkpoint: str = ""
    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    freeze_conv: bool = True
    freeze_layers: int = 0
    head: HeadSettings = HeadSettings()

    def __post_init__(self) -> None:
        """Refuse a model with neither weights nor architecture."""
        if bool(self.checkpoint) == bool(self.architecture):
            raise UserError("model needs either checkpoint (pretrained) or architecture (from scratch), not both.")
        check_at_least("model", self, 0, "freeze_layers")
        for name in _HEAD_FIELDS & self.config.keys():
            raise UserError(f"model.config.{name} is not for a recipe: the corpus and model.head say it.")


@dataclass(frozen=True)
class ResNetModel:
    """A ResNet on log-mel windows.

    Attributes:
        checkpoint: image-pretrained ResNet whose RGB filters are summed; empty means from scratch.
        stem: ``standard`` (7 x 7, stride 2, max-pooling) or ``small`` (3 x 3, stride 2, no pooling).
        width: channels of the first stage; each later stage doubles them.
        pooling: ``mean`` (transformers' own) or ``mean+std`` over time after a mean over frequency.
        dropout: before the last linear layer (needs ``mean+std`` pooling).
        window: frames a window; shorter clips are filled with the floor of log-mel, longer ones are covered by
            evenly spaced windows whose logits are averaged.
        logmel: the front end.
    """

    kind: Literal["resnet"] = "resnet"
    checkpoint: str = ""
    stem: Literal["standard", "small"] = "standard"
    width: int = 64
    pooling: Literal["mean", "mean+std"] = "mean"
    dropout: float = 0.0
    window: int = 256
    logmel: LogMelSettings = LogMelSettings()

    def __post_init__(self) -> None:
        """Refuse combinations that transformers' ResNet cannot express."""
        check_at_least("model", self, 1, "width")
        check_at_most("model", self, 4096, "width")
        check_at_least("model", self, 2, "window")
        check_at_most("model", self, 100_000, "window")
        check_share("model", self, "dropout")
        if (self.stem == "small") != (self.pooling == "mean+std"):
            raise UserError("model.stem: small goes with model.pooling: mean+std, standard with mean.")
        if self.dropout and self.pooling == "mean":
            raise UserError("model.dropout needs model.pooling: mean+std.")


@dataclass(frozen=True)
class ProbeModel:
    """Logistic regression on pooled hidden states of a frozen encoder; layer and C are chosen on the fold's dev.

    Attributes:
        checkpoint: hub name or local folder of the encoder.
        C: inverse regularisation strengths to choose from.
    """

    kind: Literal["probe"] = "probe"
    checkpoint: str = ""
    C: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)

    def __post_init__(self) -> None:
        """Refuse a probe of nothing."""
        if not self.checkpoint:
            raise UserError("a probe needs model.checkpoint, the encoder whose features it reads.")
        if not self.C or min(self.C) <= 0:
            raise UserError(f"model.C is {list(self.C)}; it must list numbers above 0.")


@dataclass(frozen=True)
class SvmModel:
    """Support vector machine with an RBF kernel on functionals; C and gamma by a search inside the training side.

    Attributes:
        features: ``mfcc`` statistics or ``egemaps`` functionals (extra ``opensmile``).
        C: inverse regularisation strengths to choose from.
        gamma: widths of the kernel to choose from, for standardised features.
        calibration: ``temperature`` keeps the machine's own decision; ``regression``, of the first version, lets a
            logistic regression over the pairs' decision values answer.
    """

    kind: Literal["svm"] = "svm"
    features: Literal["mfcc", "egemaps"] = "mfcc"
    C: tuple[float, ...] = added(tuple(2.0**power for power in (-2, 0, 2, 4)))
    gamma: tuple[float, ...] = added(tuple(2.0**power for power in (-12, -10, -8, -6)))
    calibration: Literal["temperature", "regression"] = added("temperature", before="regression")

    def __post_init__(self) -> None:
        """Refuse grids that hold nothing to choose from."""
        for name in ("C", "gamma"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise UserError(f"model.{name} is {list(values)}; it must list numbers above 0.")


Model = EncoderModel | ResNetModel | ProbeModel | SvmModel
