"""Functionals: front ends that describe a whole clip by one vector of fixed length.

MFCCs are librosa's (Slaney mel bands, orthonormal type-2 DCT); eGeMAPS is openSMILE's (Eyben et
al., "The Geneva Minimalistic Acoustic Parameter Set", IEEE Trans. Affective Computing 7(2), 2016).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE
from serlab.core import MachineError, UserError
from serlab.frontends.base import Features, Samples
from serlab.frontends.mel import filter_bank

FLOOR = 1e-10
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DELTA_WIDTH = 9
_STEPS = np.arange(DELTA_WIDTH) - DELTA_WIDTH // 2
SLOPES = {1: _STEPS / 60, 2: (3 * np.square(_STEPS) - 20) / 462}
"""Derivatives at the centre of the polynomial of this order through nine frames by least squares (Savitzky and Golay
1964); scipy's ``savgol_coeffs``, reversed, to rounding. scipy, imported, costs twice what a clip does."""
_EGEMAPS_SHORTEST = 960  # samples: openSMILE's longest analysis window is 60 ms


@dataclass(frozen=True, kw_only=True)
class MfccStatistics:
    """Statistics over time of MFCCs and their first and second derivatives.

    The vector holds mean, standard deviation and the 5, 25, 50, 75 and 95 % quantiles of each MFCC,
    then mean and standard deviation of each first and second derivative: 11 values per coefficient.

    Attributes:
        n_mfcc: MFCCs kept, from the 0th (loudness) on.
        n_mels: mel bands from 0 Hz to 8 kHz.
        n_fft: length of the Fourier transform in samples.
        window: length of the periodic Hann window in samples, centred in ``n_fft``.
        hop: samples between frames; frame t is centred on sample t * hop.
        top_db: bands weaker than the clip's strongest by more than this many dB are raised to that
            level.
    """

    n_mfcc: int = 20
    n_mels: int = 40
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    top_db: float = 80.0

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {"frontend": "mfcc-statistics", **asdict(self)}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each value.

        >>> MfccStatistics().feature_names[::50]
        ('mfcc0_mean', 'mfcc10_q5', 'mfcc0_q75', 'mfcc10_delta_mean', 'mfcc0_delta2_std')
        """
        quantiles = [f"q{100 * share:g}" for share in QUANTILES]
        parts = ["mean", "std", *quantiles, "delta_mean", "delta_std", "delta2_mean", "delta2_std"]
        return tuple(f"mfcc{number}_{part}" for part in parts for number in range(self.n_mfcc))

    def __call__(self, samples: Samples) -> Features:
        """Describe a clip.

        Args:
            samples: shape (n,), 16 kHz.

        Returns:
            Shape (11 * n_mfcc,).

        Raises:
            UserError: the clip has no samples, or one that is not finite.
        """
        static = self.mfcc(samples)
        first, second = _derivative(static, 1), _derivative(static, 2)
        parts = [static.mean(0), static.std(0), *np.quantile(static, QUANTILES, axis=0)]
        parts += [first.mean(0), first.std(0), second.mean(0), second.std(0)]
        return np.concatenate(parts).astype(np.float32)

    def mfcc(self, samples: Samples) -> NDArray[np.float64]:
        """MFCCs of a clip, shape (1 + n // hop, n_mfcc); the clip's edges are padded with zeros."""
        _check(samples, 1, "MFCC statistics")
        half = self.n_fft // 2
        padded = np.pad(samples.astype(np.float64), half)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop]
        spectrum = np.fft.rfft(frames * window_of(self.window, self.n_fft), axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        bands = 10 * np.log10(np.maximum(power @ mel_filters(self.n_fft, self.n_mels), FLOOR))
        bands = np.maximum(bands, bands.max() - self.top_db)
        coefficients: NDArray[np.float64] = bands @ cosines(self.n_mels, self.n_mfcc)
        return coefficients


@dataclass(frozen=True)
class Egemaps:
    """The 88 functionals of eGeMAPSv02 by openSMILE.

    Needs the extra ``opensmile``, whose licence allows non-commercial use only.
    """

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {"frontend": "egemaps", "feature_set": "eGeMAPSv02"}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each functional, as in openSMILE."""
        return tuple(_smile().feature_names)

    def __call__(self, samples: Samples) -> Features:
        """Describe a clip.

        Args:
            samples: shape (n,), 16 kHz, 60 ms at least.

        Returns:
            Shape (88,).

        Raises:
            UserError: the clip is shorter than 60 ms, has a sample that is not finite, or openSMILE
                finds no finite value for a functional (the error names it).
            MachineError: the extra ``opensmile`` is not installed.
        """
        _check(samples, _EGEMAPS_SHORTEST, "eGeMAPS")
        smile = _smile()
        functionals: Features = np.asarray(smile(samples, SAMPLE_RATE), np.float32).reshape(-1)
        bad = np.flatnonzero(~np.isfinite(functionals))
        if bad.size:
            raise UserError(f"eGeMAPS gives no finite {smile.feature_names[bad[0]]} for this clip; exclude the clip.")
        return functionals


def _check(samples: Samples, shortest: int, who: str) -> None:
    if samples.ndim != 1 or samples.size < shortest:
        seconds = samples.size / SAMPLE_RATE
        raise UserError(
            f"{who} need one channel of at least {shortest / SAMPLE_RATE:g} s of audio, got shape {samples.shape} "
            f"({seconds:.4g} s); exclude the clip."
        )
    if not np.isfinite(samples).all():
        raise UserError(f"{who} need finite samples, this clip has NaN or infinity; exclude the clip.")


def _derivative(frames: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Local polynomial derivative over time (librosa's ``delta``); edge frames are repeated, so any length works."""
    half, sign = DELTA_WIDTH // 2, (-1) ** order
    padded = np.pad(frames, ((half, half), (0, 0)), mode="edge")
    weights = SLOPES[order]
    total: NDArray[np.float64] = weights[half] * frames
    for back in range(half):
        ahead = DELTA_WIDTH - 1 - back
        total += weights[back] * (padded[back : back + len(frames)] + sign * padded[ahead : ahead + len(frames)])
    return total


@cache
def cosines(length: int, kept: int) -> NDArray[np.float64]:
    """The first ``kept`` vectors of the orthonormal type-2 DCT, shape (length, kept)."""
    angles = np.outer(2 * np.arange(length) + 1, np.arange(kept)) * (np.pi / (2 * length))
    scale = np.where(np.arange(kept) == 0, np.sqrt(1 / length), np.sqrt(2 / length))
    vectors: NDArray[np.float64] = np.cos(angles) * scale
    return vectors


@cache
def window_of(length: int, n_fft: int) -> NDArray[np.float64]:
    """Periodic Hann window of some length, centred in ``n_fft`` samples."""
    left = (n_fft - length) // 2
    return np.pad(np.hanning(length + 1)[:-1], (left, n_fft - length - left))


@cache
def mel_filters(n_fft: int, n_mels: int) -> NDArray[np.float64]:
    """Mel filters from 0 Hz to 8 kHz, shape (n_fft // 2 + 1, n_mels)."""
    return filter_bank(n_fft, n_mels, 0.0, SAMPLE_RATE / 2)


@cache
def _smile() -> Any:
    try:
        import opensmile
    except ImportError as error:
        raise MachineError(
            "eGeMAPS needs openSMILE (free for non-commercial use only); install it with "
            "pip install 'serlab[opensmile]'."
        ) from error
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
