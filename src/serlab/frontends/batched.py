"""Front ends of encoders for a batch of clips of one length, on the device: the same numbers, clip by clip.

:mod:`serlab.frontends.encoders` computes one clip on the processor. Pretraining hears hours of
speech in each epoch, so it needs whole batches where the networks are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from serlab.frontends.base import FrontEnd
from serlab.frontends.encoders import VARIANCE_FLOOR, Extractor, Waveform
from serlab.frontends.logmel import SMALLEST_POWER

BatchedFrontEnd = Callable[[Tensor], Tensor]
"""From samples (clips, samples) to features (clips, time, ...) on the same device."""


def batched(frontend: FrontEnd) -> BatchedFrontEnd:
    """A front end for batches that computes what ``frontend`` computes for each clip."""
    if isinstance(frontend, Waveform):
        return normalised if frontend.do_normalise else lambda samples: samples
    if isinstance(frontend, Extractor) and type(frontend.extractor).__name__.startswith("Whisper"):
        return WhisperLogMel(frontend.extractor)
    return lambda samples: torch.from_numpy(np.stack([frontend(clip) for clip in samples.cpu().numpy()])).to(samples)


def normalised(samples: Tensor) -> Tensor:
    """Zero mean and unit variance over each clip; see :func:`serlab.frontends.encoders.normalise`."""
    variance, mean = torch.var_mean(samples, dim=1, keepdim=True, correction=0)
    return (samples - mean) / torch.sqrt(variance + VARIANCE_FLOOR)


class WhisperLogMel(nn.Module):
    """Whisper's log-mel (Radford et al. 2022): samples (clips, samples) to (clips, samples // hop, bands).

    Args:
        extractor: ``WhisperFeatureExtractor`` without dither.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: object) -> None:
        super().__init__()
        self.n_fft, self.hop = int(extractor.n_fft), int(extractor.hop_length)  # type: ignore[attr-defined]
        filters = np.asarray(extractor.mel_filters, np.float32)  # type: ignore[attr-defined]
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Compute the log-mel of each clip."""
        if self.window.device != samples.device:
            self.to(samples.device)
        spectrum = torch.stft(samples, self.n_fft, self.hop, window=self.window, return_complex=True)[..., :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        return whisper_levels(power.transpose(1, 2) @ self.filters)


def whisper_levels(powers: Tensor) -> Tensor:
    """Whisper's logarithm of mel powers (clips, time, bands): at most 80 dB below each clip's maximum, scaled."""
    levels = powers.clamp(min=SMALLEST_POWER).log10()
    return (torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0
