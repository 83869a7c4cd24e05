"""Front ends of speech encoders: everything before the first trained layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from serlab.audio import SAMPLE_RATE
from serlab.core.precision import Precision, autocast, device
from serlab.frontends.base import Features, Samples

VARIANCE_FLOOR = 1e-7


def normalise(samples: Samples) -> Samples:
    """Zero mean and unit variance over the clip, as ``Wav2Vec2FeatureExtractor`` does."""
    scaled: Samples = (samples - samples.mean()) / np.sqrt(samples.var() + VARIANCE_FLOOR)
    return scaled


class Waveform:
    """Front end: the samples, normalised if the checkpoint needs that; shape (samples,)."""

    def __init__(self, *, do_normalise: bool) -> None:
        self.do_normalise = do_normalise

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {"frontend": "waveform", "normalise": self.do_normalise}

    def __call__(self, samples: Samples) -> Features:
        """Return the samples, normalised if the checkpoint needs that."""
        return normalise(samples) if self.do_normalise else samples


class Convolutional:
    """Front end: the frozen convolutional encoder of the wav2vec2 family; (samples,) to (frames, channels).

    Each clip is encoded alone and without padding: encoders that normalise their first layer over
    time (``feat_extract_norm="group"``) return other features for a padded clip, even with a mask.

    Args:
        encoder: transformers' ``feature_extractor`` module: (1, samples) to (1, channels, frames).
        fingerprint: identity of its weights and configuration.
        do_normalise: whether the checkpoint needs normalised samples.
        precision: of the convolutions.
        way: how the encoder computes, if not as transformers; results of two ways differ by
            rounding, so they are not mixed in the cache.
    """

    def __init__(
        self, encoder: nn.Module, *, fingerprint: str, do_normalise: bool, precision: Precision, way: str = "plain"
    ) -> None:
        self.encoder, self.way = encoder, way
        self.fingerprint = fingerprint
        self.waveform = Waveform(do_normalise=do_normalise)
        self.precision: Precision = precision

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {
            "frontend": "convolutional",
            "weights": self.fingerprint,
            "precision": self.precision,
            "way": self.way,
            "input": self.waveform.config,
        }

    def __call__(self, samples: Samples) -> Features:
        """Encode one clip."""
        values = torch.from_numpy(self.waveform(samples))[None].to(device())
        with torch.no_grad(), autocast(self.precision):
            frames = self.encoder(values)[0].T
        features: Features = frames.float().contiguous().cpu().numpy()
        return features


class Extractor:
    """Front end: a spectral feature extractor of transformers; (samples,) to (frames, bands).

    Args:
        extractor: ``WhisperFeatureExtractor`` or ``SeamlessM4TFeatureExtractor``; the clip keeps
            its own length instead of being filled with silence to 30 s.
    """

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        settings = {k: v for k, v in self.extractor.to_dict().items() if isinstance(v, (bool, int, float, str))}
        return {"frontend": "extractor", "pad_to_chunk": False, **settings}

    def __call__(self, samples: Samples) -> Features:
        """Compute the spectral features of one clip."""
        batch = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="np", padding=False, truncation=False)
        features = batch["input_features"][0]
        # Whisper's extractor puts bands first; everything here has time first.
        by_time = features.T if self.extractor.__class__.__name__.startswith("Whisper") else features
        return np.ascontiguousarray(by_time, dtype=np.float32)


class FrozenLayers:
    """Front end: hidden states of an encoder's frozen lower layers; (samples,) to (frames, states x dim).

    Each clip is encoded alone, on its own length and in evaluation mode.

    Args:
        before: front end of the encoder.
        compute: from the output of ``before``, as a batch of one, to the states, lowest first; each
            (1, frames, dim).
        fingerprint: identity of the frozen modules.
        layers: how many layers are frozen.
        all_states: return all states side by side, for a head that weights them, instead of the
            highest one.
        precision: of the matrix products.
        way: as for :class:`Convolutional`.
    """

    def __init__(
        self,
        before: Waveform | Extractor,
        compute: Callable[[torch.Tensor], Sequence[torch.Tensor]],
        *,
        fingerprint: str,
        layers: int,
        all_states: bool,
        precision: Precision,
        way: str = "plain",
    ) -> None:
        self.before, self.compute, self.way = before, compute, way
        self.fingerprint, self.layers, self.all_states = fingerprint, layers, all_states
        self.precision: Precision = precision

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {
            "frontend": "frozen-layers",
            "weights": self.fingerprint,
            "layers": self.layers,
            "all_states": self.all_states,
            "precision": self.precision,
            "way": self.way,
            "input": self.before.config,
        }

    def __call__(self, samples: Samples) -> Features:
        """Encode one clip."""
        values = torch.from_numpy(self.before(samples))[None].to(device())
        with torch.no_grad(), autocast(self.precision):
            states = self.compute(values)
        chosen = torch.cat(list(states), dim=-1) if self.all_states else states[-1]
        features: Features = chosen[0].float().contiguous().cpu().numpy()
        return features
