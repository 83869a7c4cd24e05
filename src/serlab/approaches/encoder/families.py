"""Families of speech encoders: their input, how they are split in two, and their hidden states.

An adapter runs one of transformers' classification models. A new family needs a class here and a
line in the table at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from serlab.approaches.encoder import attention, convolution, frozen, layers, positions, stem, whisper
from serlab.checkpoints import preprocessor
from serlab.core.precision import Precision
from serlab.frontends.base import Features, FrontEnd
from serlab.frontends.encoders import Convolutional, Extractor, Waveform


class Wave:
    """wav2vec2 and its relatives: waveform, convolutions, transformer layers.

    Attributes:
        longest: seconds of the longest input; longer ones are scored in pieces.
        own_pass: serlab computes the forward pass, so plain transformers returns other logits.
        can_freeze_layers: whether lower layers can be cut off.
        convolutions: names, below the encoder, of the modules that ``freeze_conv`` freezes.

    Args:
        hf: transformers' classification model.
    """

    longest = math.inf
    own_pass = False
    can_freeze_layers = True
    convolutions: tuple[str, ...] = ("feature_extractor",)

    def __init__(self, hf: Any) -> None:
        self.hf = hf
        self.install()

    def install(self) -> None:
        """Let the encoder compute in serlab's ways; transformers' own remain for what these do not support."""
        base = self.base
        if hasattr(base, "feature_extractor"):
            stem.install(base.feature_extractor)
        if hasattr(getattr(base, "encoder", None), "pos_conv_embed"):
            positions.install(base.encoder.pos_conv_embed)
        linear = getattr(getattr(base, "feature_projection", None), "projection", None)
        layers.install(self.layers, [linear] if type(linear) is nn.Linear else [])
        attention.install(self.hf)

    @property
    def base(self) -> Any:
        """The encoder below the head."""
        return getattr(self.hf, self.hf.base_model_prefix)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, lowest first."""
        layers = self.base.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        return layers

    def below_layers(self) -> tuple[str, ...]:
        """Names, below the encoder, of the modules before the first transformer layer."""
        norm = ("encoder.layer_norm",) if frozen.norm_comes_first(self.base) else ()
        return ("feature_extractor", "feature_projection", "encoder.pos_conv_embed", "encoder.dropout", *norm)

    def frontend(self, fields: dict[str, Any]) -> Waveform | Extractor:
        """The front end of the whole encoder.

        Args:
            fields: the checkpoint's preprocessor configuration.
        """
        return Waveform(do_normalise=bool(fields.get("do_normalize", True)))

    def convolutional(self, fields: dict[str, Any], precision: Precision) -> FrontEnd:
        """The front end with frozen convolutions; in the network, these then return their input unchanged."""
        convolutions = self.base.feature_extractor
        frozen.pass_convolutions(self.base)
        return Convolutional(
            convolutions,
            fingerprint=frozen.fingerprint([convolutions], self.hf.config),
            do_normalise=bool(fields.get("do_normalize", True)),
            precision=precision,
            way=stem.way_of(convolutions, precision),
        )

    def way(self, precision: Precision) -> str:
        """How the encoder computes in prediction: part of the identity of a front end that contains it."""
        base, parts = self.base, [layers.way_of(precision)]
        if hasattr(base, "feature_extractor"):
            parts.append(stem.way_of(base.feature_extractor, precision))
        if hasattr(base.encoder, "pos_conv_embed"):
            parts.append(positions.way_of(base.encoder.pos_conv_embed, precision))
        return ", ".join(parts)

    def cut(self, count: int) -> partial[list[Tensor]]:
        """Cut off the lowest ``count`` layers.

        Returns:
            A function from the front end's output, as a batch of one, to the states below the cut.
        """
        frozen.pass_layers(self.base, count)
        return partial(frozen.states_below, self.base, count)

    def states(self, features: Tensor, below: int) -> tuple[Tensor, ...]:
        """Input of the first transformer layer and output of each, lowest first; each (batch, frames, dim).

        Args:
            features: a batch of the front end's output.
            below: number of layers that were cut off.
        """
        under = self._split(features) if below else []
        # transformers masks its input in place, and a view of a split must not be modified.
        above = under[-1].clone() if under else features
        found: tuple[Tensor, ...] = self.base(above, output_hidden_states=True).hidden_states
        # Layers that were cut off return their input, so the list repeats the highest state for
        # them.
        return (*under[:-1], *found[len(under) - 1 :]) if under else found

    def logits(self, features: Tensor, below: int) -> Tensor:
        """Scores by transformers' own head; arguments as for :meth:`states`."""
        logits: Tensor = self.hf(features).logits
        return logits

    def masked_frames(self, features: Tensor) -> int | None:
        """Number of frames to which transformers' time masks apply; None if they do not apply."""
        lengths = self.base._get_feat_extract_output_lengths
        return features.shape[1] if features.dim() == 3 else int(lengths(features.shape[1]))

    def segments(self, features: Features, below: int) -> list[Features]:
        """Split a clip's features into pieces that fit the encoder."""
        return [features]

    def _split(self, features: Tensor) -> Sequence[Tensor]:
        """Split the states that a front end returned side by side."""
        return torch.split(features, self.hf.config.hidden_size, dim=-1)


class Uncut(Wave):
    """Relatives of wav2vec2 whose layers cannot be cut off."""

    can_freeze_layers = False


class Bert(Wave):
    """wav2vec2-BERT: log-mel instead of convolutions."""

    convolutions = ()

    def below_layers(self) -> tuple[str, ...]:
        """Names of the modules before the first transformer layer."""
        return ("feature_projection", "encoder.dropout", "encoder.embed_positions")

    def frontend(self, fields: dict[str, Any]) -> Waveform | Extractor:
        """The checkpoint's log-mel."""
        return Extractor(preprocessor.extractor("wav2vec2-bert", fields))

    def convolutional(self, fields: dict[str, Any], precision: Precision) -> FrontEnd:
        """The checkpoint's log-mel: there are no convolutions before the layers."""
        return self.frontend(fields)

    def masked_frames(self, features: Tensor) -> int | None:
        """The masks apply to the stacked frames of the log-mel."""
        return features.shape[1]


class Whisper(Wave):
    """Whisper's encoder on the clip's own length; see :mod:`serlab.approaches.encoder.whisper`."""

    own_pass = True
    convolutions = ("conv1",)

    def __init__(self, hf: Any) -> None:
        super().__init__(hf)
        self.longest = hf.config.max_source_positions * whisper.SECONDS

    def way(self, precision: Precision) -> str:
        """How the convolutions and layers compute."""
        convolutions = [convolution.way_of(conv, precision) for conv in (self.base.conv1, self.base.conv2)]
        return ", ".join([layers.way_of(precision), *convolutions])

    @property
    def base(self) -> Any:
        """The encoder below the head."""
        return self.hf.encoder

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, lowest first."""
        layers = self.base.layers
        assert isinstance(layers, nn.ModuleList)
        return layers

    def below_layers(self) -> tuple[str, ...]:
        """Names of the modules before the first transformer layer."""
        return ("conv1", "conv2", "embed_positions")

    def frontend(self, fields: dict[str, Any]) -> Waveform | Extractor:
        """The checkpoint's log-mel."""
        return Extractor(preprocessor.extractor("whisper", fields))

    def convolutional(self, fields: dict[str, Any], precision: Precision) -> FrontEnd:
        """The checkpoint's log-mel: the convolutions stay in the network."""
        return self.frontend(fields)

    def cut(self, count: int) -> partial[list[Tensor]]:
        """Cut off the lowest ``count`` layers."""
        return partial(whisper.frozen_states, self.base, count)

    def states(self, features: Tensor, below: int) -> tuple[Tensor, ...]:
        """Input of the first transformer layer and output of each."""
        under = self._split(features) if below else whisper.states_below(self.base, 0, features)
        return whisper.states_above(self.base, under, below)

    def logits(self, features: Tensor, below: int) -> Tensor:
        """Scores by transformers' own head over the real frames."""
        states = self.states(features, below)
        out = self.hf(encoder_outputs=BaseModelOutput(last_hidden_state=states[-1], hidden_states=states))
        logits: Tensor = out.logits
        return logits

    def masked_frames(self, features: Tensor) -> int | None:
        """The masks are not used."""
        return None

    def segments(self, features: Features, below: int) -> list[Features]:
        """Whisper has positions for 30 s; longer clips are split into equal parts."""
        stride = 1 if below else 2
        cuts = whisper.parts(-(-len(features) // stride), self.hf.config.max_source_positions)
        return [features[stride * low : stride * high] for low, high in cuts]


_FAMILIES: dict[str, type[Wave]] = {
    "sew": Uncut,
    "wav2vec2-bert": Bert,
    "wav2vec2-conformer": Uncut,
    "whisper": Whisper,
}


_OTHERS = {"audio-spectrogram-transformer", "sew-d"}


def family_of(hf: Any) -> Wave:
    """The adapter of a classification model of transformers."""
    return _FAMILIES.get(str(hf.config.model_type), Wave)(hf)


def install(hf: Any) -> None:
    """Let a classification model of transformers compute in serlab's ways, if it is of one of these families."""
    if hf.config.model_type not in _OTHERS:
        family_of(hf)
