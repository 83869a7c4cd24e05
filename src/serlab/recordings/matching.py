"""Compare two clips: whether they are the same recording in any container, level, sample rate or cut.

Pairs whose fingerprints agree (:mod:`serlab.recordings.index`) are confirmed by the correlation of
the two aligned waveforms. Two takes of one sentence by one voice do not correlate as waveforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from serlab.audio.fingerprints import RATE, Print
from serlab.recordings.index import SHORTEST_SHARE, candidates

SAME = 0.7
"""Minimum correlation of two clips that are the same recording; docs/audit.md explains the value."""
_HUM = 80.0
"""Hz; lower frequencies hold offset, mains hum and rumble, but not speech."""


@dataclass(frozen=True)
class Pair:
    """Two clips that are the same recording.

    Attributes:
        first: index of one clip in the list.
        second: index of the other clip, larger than ``first``.
        correlation: of the aligned waveforms, 0 to 1.
        offset: by how many seconds the sound comes later in the first clip than in the second.
    """

    first: int
    second: int
    correlation: float
    offset: float


def same_recordings(prints: Sequence[Print], samples_of: Callable[[int], NDArray[np.float32]]) -> list[Pair]:
    """Find all pairs of clips that are the same recording.

    Args:
        prints: fingerprint of each clip; clips with an empty one have no duplicates.
        samples_of: returns a clip's samples at :data:`serlab.audio.fingerprints.RATE` by its index;
            called for few.

    Returns:
        The pairs, in order.
    """
    found = []
    for first, second in candidates(prints):
        correlation, offset = aligned(samples_of(first), samples_of(second))
        if correlation >= SAME:
            found.append(Pair(first, second, correlation, offset))
    return found


def aligned(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Correlation of two waveforms at their best alignment, with either polarity.

    Args:
        first: samples at :data:`serlab.audio.fingerprints.RATE`.
        second: samples at the same rate.

    Returns:
        The correlation over the overlap (0 if it is shorter than three fifths of the shorter clip),
        and by how many seconds the sound comes later in the first.
    """
    size = next_fast_len(len(first) + len(second), real=True)
    low = round(_HUM * size / RATE)
    spectra = [rfft(samples, size) for samples in (first, second)]
    for spectrum in spectra:
        spectrum[:low] = 0
    product = irfft(spectra[0] * np.conj(spectra[1]), size)
    first, second = (irfft(each, size)[: len(old)] for each, old in zip(spectra, (first, second), strict=True))
    lag = int(np.abs(product).argmax())
    lag = lag if lag < len(first) else lag - size
    one, other = first[max(0, lag) :], second[max(0, -lag) :]
    overlap = min(len(one), len(other))
    one, other = one[:overlap].astype(np.float64), other[:overlap].astype(np.float64)
    energy = float(np.sqrt((one @ one) * (other @ other)))
    if not energy or overlap < SHORTEST_SHARE * min(len(first), len(second)):
        return 0.0, lag / RATE
    return abs(float(one @ other)) / energy, lag / RATE
