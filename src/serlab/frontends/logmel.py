"""Log-mel spectrograms in decibels.

Power spectrogram (Hann window, centred frames, zero padding at the ends), Slaney mel filters with
area normalisation, ``10 log10(max(power, 1e-10))``: librosa's definition. Values are not clipped at
the top or relative to the clip's maximum, so silence is -100 dB in every clip.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serlab.audio import SAMPLE_RATE
from serlab.core import UserError
from serlab.core.settings import check_at_least, check_at_most
from serlab.frontends.base import Features, Samples
from serlab.frontends.mel import filter_bank

if TYPE_CHECKING:
    import torch

SMALLEST_POWER = 1e-10
FLOOR_DB = -100.0
"""The value of silence."""


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
        """Refuse values that do not define a spectrogram."""
        check_at_least("model.logmel", self, 1, "bands", "hop")
        check_at_least("model.logmel", self, 2, "n_fft")
        check_at_most("model.logmel", self, 65_536, "bands", "n_fft", "hop")
        if not 0 <= self.low < self.high <= SAMPLE_RATE / 2:
            raise UserError(
                f"model.logmel.low and high are {self.low:g} and {self.high:g} Hz; they must rise within 0 to "
                f"{SAMPLE_RATE // 2}."
            )


class LogMel:
    """Front end: samples (samples,) to log-mel (frames, bands), frames = 1 + samples // hop."""

    def __init__(self, settings: LogMelSettings) -> None:
        self.settings = settings

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        s = self.settings
        return {"frontend": "log-mel", "bands": s.bands, "n_fft": s.n_fft, "hop": s.hop, "low": s.low, "high": s.high}

    def __call__(self, samples: Samples) -> Features:
        """Compute log-mel in dB, shape (frames, bands)."""
        import torch

        s = self.settings
        window, filters = constants(s)
        spectrum = torch.stft(
            torch.from_numpy(samples), s.n_fft, s.hop, window=window, pad_mode="constant", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel = power.T @ filters
        features: Features = (10.0 * mel.clamp_(min=SMALLEST_POWER).log10_()).numpy()
        return features


@functools.lru_cache(maxsize=8)
def constants(settings: LogMelSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Window, shape (n_fft,), and mel filters, shape (n_fft // 2 + 1, bands)."""
    import torch

    filters = filter_bank(settings.n_fft, settings.bands, settings.low, settings.high)
    return torch.hann_window(settings.n_fft), torch.from_numpy(filters).float()
