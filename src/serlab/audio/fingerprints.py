"""Audio fingerprints that survive a change of container, level, sample rate or ends, and a little noise.

The method is Haitsma and Kalker's (A Highly Robust Audio Fingerprinting System, ISMIR 2002, section
4). A frame becomes a row of bits, each the sign of the change over time of the energy difference of
two neighbouring bands. Frames overlap so much that some frames of a duplicate equal frames of the
original bit for bit, wherever the duplicate begins. Bands lie below 1.9 kHz, so every sample rate
from 8 kHz on covers them. This implementation uses 28 bits instead of 32 and windows of 64 ms,
because wider bands and longer steps are more robust to low bit rates. The least certain bits of a
frame are kept too (section 4.3 there), because they are the first to differ in a heavily changed
duplicate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

RATE = 4000
"""Hz; sample rate of fingerprinting and correlation."""
HOP = 32
"""Samples from one frame to the next: 8 ms."""
BITS = 28
"""Bits per frame."""
WEAKEST = 6
"""Number of least certain bits that are kept per frame."""

_WINDOW = 1536
_STEP = 8
_LOWEST, _HIGHEST = 150.0, 1900.0
_TAPER = np.hanning(_WINDOW).astype(np.float32)
_EDGES = np.geomspace(_LOWEST, _HIGHEST, BITS + 2) * _WINDOW / RATE
_VALUES = np.uint32(1) << np.arange(BITS, dtype=np.uint32)
_PLACE_BITS = 5

Print = NDArray[np.uint32]
"""A clip's fingerprint, shape ``(2, frames)``: a number of 28 bits per frame, and the positions of
its six least certain bits, the least certain first, in five bits each."""


def fingerprint(samples: NDArray[np.float32]) -> Print:
    """Fingerprint a clip.

    Args:
        samples: mono at :data:`RATE`, shape ``(samples,)``.

    Returns:
        ``(samples - 1536) // 32 - 7`` frames; zero for a clip shorter than 0.45 s.
    """
    frames = 1 + (len(samples) - _WINDOW) // HOP
    if frames <= _STEP:
        return np.zeros((2, 0), np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP] * _TAPER
    spectrum = rfft(windows, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    below = np.concatenate([np.zeros((frames, 1), power.dtype), np.cumsum(power, axis=1)], axis=1)
    edges = np.round(_EDGES).astype(int)
    energy = below[:, edges[1:]] - below[:, edges[:-1]]
    slope = energy[:, :-1] - energy[:, 1:]
    rise = slope[_STEP:] - slope[:-_STEP]
    involved = energy[:, :-1] + energy[:, 1:]
    certain = np.abs(rise) / (involved[_STEP:] + involved[:-_STEP] + np.finfo(np.float32).tiny)
    weak = np.argpartition(certain, WEAKEST, axis=1)[:, :WEAKEST]
    weak = np.take_along_axis(weak, np.take_along_axis(certain, weak, axis=1).argsort(axis=1, kind="stable"), axis=1)
    places = (weak.astype(np.uint32) << (_PLACE_BITS * np.arange(WEAKEST, dtype=np.uint32))).sum(
        axis=1, dtype=np.uint32
    )
    return np.stack([((rise > 0) * _VALUES).sum(axis=1, dtype=np.uint32), places])


def weakest(places: NDArray[np.uint32], rank: int) -> NDArray[np.uint32]:
    """The value of the ``rank``-th least certain bit, from 0; same shape as the second row of the fingerprint."""
    mask = np.uint32(2**_PLACE_BITS - 1)
    return np.uint32(1) << (places >> np.uint32(_PLACE_BITS * rank) & mask)
