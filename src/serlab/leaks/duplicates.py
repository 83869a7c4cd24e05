"""The same recording twice, whatever its container, level, sample rate or ends.

Three sieves, each finer and dearer than the one before, and none of all pairs:

1. frames with all bits equal, found by sorting, at one offset in time for at least a few frames;
2. the share of differing bits over the whole overlap at that offset (Haitsma and Kalker 2002, section 5);
3. the correlation of the two waveforms, aligned. Two takes of one sentence by one voice never correlate as waveforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from serlab.leaks.fingerprints import BITS, RATE, Print

SAME = 0.6
"""Correlation from which two clips are the same recording; see docs/audit.md for how it was set."""

_FEWEST_HITS = 3
_MOST_DIFFERING = 0.38
_MOST_ALIKE = 40
_SHORTEST_SHARE = 0.6
_OFFSETS = 4096
# Silence, or one tone, gives all bits alike in every clip.
_SAY_NOTHING = np.array([0, 2**BITS - 1], np.uint32)


@dataclass(frozen=True)
class Pair:
    """Two clips that are the same recording.

    Attributes:
        first: place of the one in the list of clips.
        second: place of the other, larger.
        correlation: of the aligned waveforms, 0 to 1.
        offset: seconds by which the first one's sound comes later in it than in the second.
    """

    first: int
    second: int
    correlation: float
    offset: float


def same_recordings(prints: Sequence[Print], samples_of: Callable[[int], NDArray[np.float32]]) -> list[Pair]:
    """Find all pairs of clips that are the same recording.

    Args:
        prints: each clip's fingerprint; an empty one is never found.
        samples_of: gives a clip's samples at :data:`serlab.leaks.fingerprints.RATE`, by its place; called for few.

    Returns:
        The pairs, in order.
    """
    found = []
    for first, second in candidates(prints):
        correlation, offset = aligned(samples_of(first), samples_of(second))
        if correlation >= SAME:
            found.append(Pair(first, second, correlation, offset))
    return found


def candidates(prints: Sequence[Print]) -> list[tuple[int, int]]:
    """Pairs of clips whose fingerprints agree at some offset, in order; the first two sieves."""
    hits = _hits(prints)
    keys, counts = np.unique(hits, return_counts=True)
    # Neighbouring offsets are one: a copy's frames lie between the original's.
    count = counts.copy()
    for step in (1, -1):
        near = np.searchsorted(keys, keys + step).clip(max=max(0, len(keys) - 1))
        count += np.where(keys[near] == keys + step, counts[near], 0) if len(keys) else 0
    passed: set[tuple[int, int]] = set()
    for key in keys[count >= _FEWEST_HITS].tolist():
        pair, offset = divmod(key, _OFFSETS)
        first, second = divmod(pair, len(prints))
        if (first, second) not in passed and _agree(prints[first], prints[second], offset - _OFFSETS // 2):
            passed.add((first, second))
    return sorted(passed)


def _hits(prints: Sequence[Print]) -> NDArray[np.int64]:
    """A key (first clip, second clip, offset in frames) for each two equal frames of different clips."""
    lengths = [len(each) for each in prints]
    frames = np.concatenate([*prints, np.zeros(0, np.uint32)])
    clip = np.repeat(np.arange(len(prints)), lengths)
    place = np.concatenate([*(np.arange(length) for length in lengths), np.zeros(0, np.int64)])
    telling = np.flatnonzero(~np.isin(frames, _SAY_NOTHING))
    order = telling[np.argsort(frames[telling], kind="stable")]
    ordered, owner, position = frames[order], clip[order], place[order]
    found = []
    # Of frames that are alike in very many clips only near ones in the order are paired, so that time stays linear.
    for lag in range(1, _MOST_ALIKE):
        alike = np.flatnonzero(ordered[lag:] == ordered[:-lag])
        if not len(alike):
            break
        one, other = alike, alike + lag
        # A stable sort keeps clips in their order, so the first of two is the earlier clip.
        apart = owner[one] < owner[other]
        one, other = one[apart], other[apart]
        offset = (position[one] - position[other]).clip(-_OFFSETS // 2, _OFFSETS // 2 - 1) + _OFFSETS // 2
        found.append((owner[one] * len(prints) + owner[other]) * _OFFSETS + offset)
    return np.concatenate([*found, np.zeros(0, np.int64)]).astype(np.int64)


def _agree(first: Print, second: Print, offset: int) -> bool:
    """Whether few bits differ where the two overlap, frame ``i + offset`` of the first on frame ``i`` of the second."""
    one, other = first[max(0, offset) :], second[max(0, -offset) :]
    overlap = min(len(one), len(other))
    differing = np.bitwise_count(one[:overlap] ^ other[:overlap]).mean() / BITS
    return overlap >= _SHORTEST_SHARE * min(len(first), len(second)) and bool(differing <= _MOST_DIFFERING)


def aligned(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Correlation of two waveforms where they agree best, either polarity.

    Args:
        first: samples at :data:`serlab.leaks.fingerprints.RATE`.
        second: samples at the same rate.

    Returns:
        The correlation over the overlap (0 where it is shorter than three fifths of the shorter clip), and by how many
        seconds the sound comes later in the first.
    """
    size = next_fast_len(len(first) + len(second), real=True)
    product = irfft(rfft(first, size) * np.conj(rfft(second, size)), size)
    lag = int(np.abs(product).argmax())
    lag = lag if lag < len(first) else lag - size
    one, other = first[max(0, lag) :], second[max(0, -lag) :]
    overlap = min(len(one), len(other))
    one, other = one[:overlap].astype(np.float64), other[:overlap].astype(np.float64)
    energy = float(np.sqrt((one @ one) * (other @ other)))
    if not energy or overlap < _SHORTEST_SHARE * min(len(first), len(second)):
        return 0.0, lag / RATE
    return abs(float(one @ other)) / energy, lag / RATE
