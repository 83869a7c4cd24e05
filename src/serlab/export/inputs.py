"""Front ends as torch modules, for export: a batch of clips of one length, (batch, samples), to features.

Spectra are convolutions with the windowed cosines and sines of the discrete Fourier transform, because not every
runtime has an STFT, and none has one in double precision.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from serlab.approaches.encoder import whisper
from serlab.approaches.plain import Inputs
from serlab.core import UserError
from serlab.frontends.base import Rounded
from serlab.frontends.batched import whisper_levels
from serlab.frontends.encoders import VARIANCE_FLOOR, Convolutional, Extractor, FrozenLayers, Waveform
from serlab.frontends.logmel import SMALLEST_POWER, LogMel, constants

EXPORTED = "it exports ResNets, encoders on waveforms, Whisper, their probes, and support vector machines on MFCCs"


class Power(nn.Module):
    """Power spectrum of overlapping frames: (batch, samples) to (batch, frames, bins).

    Args:
        window: shape (n,), n even.
        hop: samples between frames.
    """

    bases: Tensor

    def __init__(self, window: NDArray[np.float64], hop: int) -> None:
        super().__init__()
        length = len(window)
        # Angles modulo one turn keep their precision.
        turns = np.outer(np.arange(length // 2 + 1), np.arange(length)) % length / length
        waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)]) * window
        self.register_buffer("bases", torch.from_numpy(waves).float()[:, None])
        self.hop = hop

    def forward(self, samples: Tensor) -> Tensor:
        """Transform samples that are padded already."""
        spectrum = nn.functional.conv1d(samples[:, None], self.bases, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        return (real.square() + imaginary.square()).transpose(1, 2)


class LogMelInput(nn.Module):
    """Log-mel in dB; see :mod:`serlab.frontends.logmel`."""

    filters: Tensor

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        settings = frontend.settings
        self.power = Power(hann(settings.n_fft), settings.hop)
        self.edge = settings.n_fft // 2
        self.register_buffer("filters", constants(settings)[1])

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, samples) to (batch, frames, bands)."""
        power = self.power(nn.functional.pad(samples, (self.edge, self.edge)))
        levels: Tensor = 10.0 * (power @ self.filters).clamp(min=SMALLEST_POWER).log10()
        return levels


class WhisperInput(nn.Module):
    """Whisper's log-mel of the clip's own length, or of 30 seconds.

    Args:
        extractor: ``WhisperFeatureExtractor``.
        whole: fill with silence to the extractor's full length; the rest of a longer clip is ignored.
        bands_first: return (batch, bands, frames).
    """

    filters: Tensor

    def __init__(self, extractor: Any, *, whole: bool = False, bands_first: bool = False) -> None:
        super().__init__()
        self.power = Power(hann(extractor.n_fft), extractor.hop_length)
        self.edge = extractor.n_fft // 2
        self.samples = int(extractor.n_samples) if whole else 0
        self.bands_first = bands_first
        self.register_buffer("filters", torch.from_numpy(np.asarray(extractor.mel_filters)).float())

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, samples) to (batch, frames, bands)."""
        if self.samples:
            samples = nn.functional.pad(samples, (0, self.samples))[:, : self.samples]
        padded = nn.functional.pad(samples[:, None], (self.edge, self.edge), mode="reflect")[:, 0]
        power = self.power(padded)[:, :-1]
        levels = whisper_levels(power @ self.filters)
        return levels.transpose(1, 2) if self.bands_first else levels


class WaveInput(nn.Module):
    """The samples, with zero mean and unit variance per clip if the checkpoint needs that."""

    def __init__(self, *, do_normalise: bool) -> None:
        super().__init__()
        self.do_normalise = do_normalise

    def forward(self, samples: Tensor) -> Tensor:
        """(batch, samples) to (batch, samples)."""
        if not self.do_normalise:
            return samples
        centred = samples - samples.mean(dim=1, keepdim=True)
        return centred / (centred.square().mean(dim=1, keepdim=True) + VARIANCE_FLOOR).sqrt()


class _Convolutions(nn.Module):
    def __init__(self, frontend: Convolutional) -> None:
        super().__init__()
        self.before, self.encoder = input_of(frontend.waveform), frontend.encoder

    def forward(self, samples: Tensor) -> Tensor:
        frames: Tensor = self.encoder(self.before(samples))
        return frames.transpose(1, 2)


class _Layers(nn.Module):
    def __init__(self, frontend: FrozenLayers) -> None:
        super().__init__()
        self.before, self.compute, self.all_states = input_of(frontend.before), frontend.compute, frontend.all_states
        if isinstance(self.compute, partial) and self.compute.func is whisper.frozen_states:
            # Clips of at most 30 s are not encoded in parts.
            self.compute = partial(whisper.states_below, *self.compute.args)

    def forward(self, samples: Tensor) -> Tensor:
        states = self.compute(self.before(samples))
        return torch.cat(list(states), dim=-1) if self.all_states else states[-1]


class _Half(nn.Module):
    def __init__(self, frontend: Rounded) -> None:
        super().__init__()
        self.before = input_of(frontend.frontend)
        self.dtype = torch.float16 if frontend.precision == "fp16" else torch.bfloat16

    def forward(self, samples: Tensor) -> Tensor:
        features: Tensor = self.before(samples)
        return features.to(self.dtype).float()


def input_of(frontend: Any) -> nn.Module:
    """The torch module that computes what a front end computes, for a batch of clips of one length.

    Raises:
        UserError: there is none.
    """
    if isinstance(frontend, Rounded):
        return _Half(frontend)
    if isinstance(frontend, LogMel):
        return LogMelInput(frontend)
    if isinstance(frontend, Waveform):
        return WaveInput(do_normalise=frontend.do_normalise)
    if isinstance(frontend, Convolutional):
        return _Convolutions(frontend)
    if isinstance(frontend, FrozenLayers):
        return _Layers(frontend)
    extractor = getattr(frontend, "extractor", None)
    plain = isinstance(frontend, Inputs)
    if isinstance(frontend, (Extractor, Inputs)):
        if isinstance(extractor, WhisperFeatureExtractor):
            return WhisperInput(extractor, whole=plain, bands_first=plain)
        if isinstance(extractor, Wav2Vec2FeatureExtractor):
            return WaveInput(do_normalise=bool(extractor.do_normalize))
    name = type(frontend if extractor is None else extractor).__name__
    raise UserError(f"serlab cannot export the input of this model ({name}); {EXPORTED}.")


def hann(length: int) -> NDArray[np.float64]:
    """Periodic Hann window."""
    window: NDArray[np.float64] = np.hanning(length + 1)[:-1]
    return window
