"""Slaney mel filters with area normalisation, as in librosa and transformers.

They are computed here because importing transformers costs more CPU time than all other work of a
small model on one clip; a test compares them bit by bit with transformers'.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE

# Linear up to 1 kHz, 15 mel; from there, 27 steps per factor of 6.4 (Slaney 1998, Auditory Toolbox).
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_STEP = float(np.log(6.4)) / 27.0


@lru_cache(maxsize=16)
def filter_bank(n_fft: int, bands: int, low: float, high: float) -> NDArray[np.float64]:
    """Triangular filters on the bins of a Fourier transform of 16 kHz samples.

    Args:
        n_fft: length of the transform in samples.
        bands: number of filters.
        low: lower edge of the lowest filter, Hz.
        high: upper edge of the highest filter, Hz.

    Returns:
        Shape (n_fft // 2 + 1, bands). A filter that lies between two bins is 0, with a warning.
    """
    edges = _hertz(np.linspace(_mel(low), _mel(high), bands + 2))
    bins = np.linspace(0, SAMPLE_RATE // 2, n_fft // 2 + 1)
    widths = np.diff(edges)
    distances = edges[np.newaxis] - bins[:, np.newaxis]
    rising, falling = -distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    if empty := int((filters.max(axis=0) == 0).sum()):
        message = f"{empty} of {bands} mel bands are empty: they lie between bins of an FFT of {n_fft} samples"
        warnings.warn(f"{message}; use fewer bands, or a longer FFT.", stacklevel=2)
    return filters


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return 3.0 * hertz / 200.0
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) * (27.0 / float(np.log(6.4)))


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    upper = _BREAK_HZ * np.exp(_STEP * (mels - _BREAK_MEL))
    return np.where(mels >= _BREAK_MEL, upper, 200.0 * mels / 3.0)
