"""Audio fingerprints that survive another container, level, sample rate, a little noise and shifted ends.

The method is Haitsma and Kalker's (A Highly Robust Audio Fingerprinting System, ISMIR 2002, section 4): a frame becomes
a row of bits, each the sign of how the energy difference of two neighbouring bands changes over time. Frames overlap by
so much that wherever a copy begins, some of its frames equal some of the original's bit for bit. Bands lie below
1.9 kHz, which every sample rate from 8 kHz on holds. There are 28 bits and not 32, over 64 ms, since wider bands and
longer steps stand low bit rates better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

RATE = 4000
"""Hz; sample rate of what is fingerprinted and correlated."""
HOP = 32
"""Samples from one frame to the next: 8 ms."""
BITS = 28
"""Bits a frame."""

_WINDOW = 1536
_STEP = 8
_LOWEST, _HIGHEST = 150.0, 1900.0
_TAPER = np.hanning(_WINDOW).astype(np.float32)
_EDGES = np.geomspace(_LOWEST, _HIGHEST, BITS + 2) * _WINDOW / RATE
_PLACES = np.uint32(1) << np.arange(BITS, dtype=np.uint32)

Print = NDArray[np.uint32]
"""A clip's fingerprint: one number of 28 bits a frame, shape (frames,)."""


def fingerprint(samples: NDArray[np.float32]) -> Print:
    """Fingerprint a clip.

    Args:
        samples: mono at :data:`RATE`, shape (samples,).

    Returns:
        One number a frame, ``(samples - 1536) // 32 - 7`` of them; none for a clip below 0.45 s.
    """
    frames = 1 + (len(samples) - _WINDOW) // HOP
    if frames <= _STEP:
        return np.zeros(0, np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP] * _TAPER
    spectrum = rfft(windows, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    below = np.concatenate([np.zeros((frames, 1), power.dtype), np.cumsum(power, axis=1)], axis=1)
    edges = np.round(_EDGES).astype(int)
    energy = below[:, edges[1:]] - below[:, edges[:-1]]
    slope = energy[:, :-1] - energy[:, 1:]
    rises = slope[_STEP:] > slope[:-_STEP]
    prints: Print = (rises * _PLACES).sum(axis=1, dtype=np.uint32)
    return prints
