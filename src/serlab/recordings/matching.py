"""Compare two clips: whether they are the same recording in any container, level, sample rate or cut.

Pairs whose fingerprints agree (:mod:`serlab.recordings.index`) are confirmed by the correlation of
the two aligned waveforms. Two takes of one sentence by one voice do not correlate as waveforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from serlab.audio.fingerprints import RATE, Print
from serlab.recordings.index import SHORTEST_SHARE, candidates

SAME = 0.7
"""Minimum correlation of two clips that are the same recording; docs/audit.md explains the value."""
# Radians. Two copies this near to a third correlate by .77 at least, which leaves room for the filter's edges.
_NEAREST = 0.345
_HUM = 80.0
"""Hz; lower frequencies hold offset, mains hum and rumble, but not speech."""


@dataclass(frozen=True)
class Pair:
    """Two clips that are the same recording.

    Attributes:
        first: index of one clip in the list.
        second: index of the other clip, larger than ``first``.
        correlation: of the aligned waveforms, 0 to 1; at least this if both were compared with a third clip
            instead.
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
    copies: dict[int, _Copy] = {}
    for first, second in candidates(prints):
        pair = _by_a_third(first, second, copies)
        if pair is None:
            compared = _compare(samples_of(first), samples_of(second))
            pair = Pair(first, second, compared.correlation, compared.lag / RATE)
            _enter(pair, compared, copies)
        if pair.correlation >= SAME:
            found.append(pair)
    return found


@dataclass(frozen=True)
class _Copy:
    """A clip beside the earliest clip of its group, its original.

    Attributes:
        of: index of the original.
        lag: by how many samples the sound comes later in the original.
        angle: at most this far from the original, in radians: the angle of two waveforms as
            vectors, lagged and padded with zeros, of either sign. Its cosine is their correlation
            over all of both.
        length: in samples.
    """

    of: int
    lag: int
    angle: float
    length: int


def _by_a_third(first: int, second: int, copies: dict[int, _Copy]) -> Pair | None:
    """What follows for two copies of one original, so that copies cost as many comparisons as there are, not pairs.

    The angle of two vectors is at most the sum of their angles to a third. Over the overlap alone,
    as in :func:`aligned`, the correlation can only be larger.
    """
    one, other = copies.get(first), copies.get(second)
    if one is None or other is None or one.of != other.of:
        return None
    lag = other.lag - one.lag
    overlap = min(one.length - max(0, lag), other.length - max(0, -lag))
    if overlap < SHORTEST_SHARE * min(one.length, other.length):
        return None
    return Pair(first, second, math.cos(one.angle + other.angle), lag / RATE)


def _enter(pair: Pair, compared: _Compared, copies: dict[int, _Copy]) -> None:
    """Let the second clip join the first one's group if it is near enough to the original."""
    if pair.second in copies:
        return
    angle = math.acos(min(1.0, compared.whole))
    first = copies.get(pair.first) or _Copy(pair.first, 0, 0.0, compared.lengths[0])
    if first.angle + angle <= _NEAREST:
        copies.setdefault(pair.first, first)
        copies[pair.second] = _Copy(first.of, first.lag + compared.lag, first.angle + angle, compared.lengths[1])


def aligned(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Correlation of two waveforms at their best alignment, with either polarity.

    Args:
        first: samples at :data:`serlab.audio.fingerprints.RATE`.
        second: samples at the same rate.

    Returns:
        The correlation over the overlap (0 if it is shorter than three fifths of the shorter clip),
        and by how many seconds the sound comes later in the first.
    """
    compared = _compare(first, second)
    return compared.correlation, compared.lag / RATE


@dataclass(frozen=True)
class _Compared:
    """Two waveforms at their best alignment.

    Attributes:
        correlation: over the overlap; 0 if it is too short.
        lag: by how many samples the sound comes later in the first.
        whole: the same correlation with the energy of all of both clips.
        lengths: of both, in samples.
    """

    correlation: float
    lag: int
    whole: float
    lengths: tuple[int, int]


def _compare(first: NDArray[np.float32], second: NDArray[np.float32]) -> _Compared:
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
    lengths = len(first), len(second)
    energy = float(np.sqrt((one @ one) * (other @ other)))
    if not energy or overlap < SHORTEST_SHARE * min(lengths):
        return _Compared(0.0, lag, 0.0, lengths)
    alike = abs(float(one @ other))
    of_all = math.sqrt(math.prod(float(np.square(each, dtype=np.float64).sum()) for each in (first, second)))
    return _Compared(alike / energy, lag, alike / of_all, lengths)
