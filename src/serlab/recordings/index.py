"""Which clips' fingerprints agree somewhere, found by an index of frames and never by all pairs.

The search is Haitsma and Kalker's (ISMIR 2002, section 5): each frame is looked up among all clips' frames, with its
least certain bits tried both ways; where it is found, few bits may differ in the frames around it, and over the whole
overlap. What is looked up is so arranged that the work for a clip hardly depends on how many clips there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.audio.fingerprints import BITS, WEAKEST, Print, weakest

SHORTEST_SHARE = 0.6
"""Overlap that two clips must have, as a share of the shorter one."""

_MOST_DIFFERING = 0.35
_MOST_DIFFERING_NEAR = 0.32
_NEAR = (-16, -8, 8, 16)
_AROUND = tuple(step for step in range(-40, 41, 5) if step)
# A frame that this many have says as little as silence or one tone, whose bits are all alike.
_MOST_ALIKE = 40
_SAY_NOTHING = np.array([0, 2**BITS - 1], np.uint32)
# Up to so many frames (about 8,000 clips of 2.5 s) all weak bits are tried; for twice as many one less, since chance
# finds each frame twice as often there.
_FRAMES_OF_ALL_WEAK = 2**21
_AT_ONCE = 2**22
# In frames, both ways: 65 s, more than the longest clip that is read.
_OFFSETS = 2**14

Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Frames:
    """All clips' frames, one after the other.

    Attributes:
        bits: of each frame, shape (frames,).
        weak: places of its least certain bits, shape (frames,).
        clip: whose it is, shape (frames,).
        start: place of each clip's first frame, and the end, shape (clips + 1,).
    """

    bits: NDArray[np.uint32]
    weak: NDArray[np.uint32]
    clip: Places
    start: Places


def candidates(prints: Sequence[Print]) -> list[tuple[int, int]]:
    """Pairs of clips whose fingerprints agree at some offset.

    Args:
        prints: each clip's fingerprint; an empty one agrees with none.

    Returns:
        Places of two clips, the smaller first, in order.
    """
    frames = _joined(prints)
    found = [_offsets(frames, *_agreeing(frames, *hits)) for hits in _hits(frames)]
    passed: set[tuple[int, int]] = set()
    for key in np.unique(np.concatenate([*found, np.zeros(0, np.int64)])).tolist():
        pair, offset = divmod(key, _OFFSETS)
        first, second = divmod(pair, len(prints))
        if (first, second) not in passed and _overlap_agrees(
            prints[first][0], prints[second][0], offset - _OFFSETS // 2
        ):
            passed.add((first, second))
    return sorted(passed)


def _joined(prints: Sequence[Print]) -> _Frames:
    lengths = [each.shape[1] for each in prints]
    bits, weak = np.concatenate([*prints, np.zeros((2, 0), np.uint32)], axis=1)
    return _Frames(bits, weak, np.repeat(np.arange(len(prints)), lengths), np.concatenate([[0], np.cumsum(lengths)]))


def _hits(frames: _Frames) -> Iterator[tuple[Places, Places]]:
    """Frames asked for, and frames of other clips that are equal to them but for weak bits, a few million at a time."""
    order = np.argsort(frames.bits, kind="stable")
    first = np.flatnonzero(np.diff(frames.bits[order], prepend=np.uint32(2**32 - 1)))
    different, alike = frames.bits[order[first]], np.diff(first, append=len(order))
    held = _bitmap(different)
    asked = np.flatnonzero(~np.isin(frames.bits, _SAY_NOTHING))
    forgiven = _forgiven(len(frames.bits))
    step = _AT_ONCE >> forgiven
    for low in range(0, len(asked), step):
        some = asked[low : low + step]
        wanted = _variants(frames.bits[some], frames.weak[some], forgiven)
        row, column = np.nonzero(held[wanted >> 3] >> (wanted & 7).astype(np.uint8) & 1)
        found = np.searchsorted(different, wanted[row, column])
        telling = alike[found] <= _MOST_ALIKE
        found, row = found[telling], row[telling]
        count = alike[found]
        one = np.repeat(some[row], count)
        other = order[np.arange(len(one)) + np.repeat(first[found] - np.cumsum(count) + count, count)]
        apart = frames.clip[one] != frames.clip[other]
        yield one[apart], other[apart]


def _forgiven(frames: int) -> int:
    doubled = np.ceil(np.log2(max(frames, 1) / _FRAMES_OF_ALL_WEAK))
    return int(np.clip(WEAKEST - doubled, 0, WEAKEST))


def _bitmap(bits: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """One bit for each number of 28 bits: whether it is among these, in order and all different."""
    held = np.zeros(2 ** (BITS - 3), np.uint8)
    byte = bits >> 3
    first = np.flatnonzero(np.diff(byte, prepend=-1))
    if len(first):
        held[byte[first]] = np.bitwise_or.reduceat(np.uint8(1) << (bits & 7).astype(np.uint8), first)
    return held


def _variants(bits: NDArray[np.uint32], weak: NDArray[np.uint32], forgiven: int) -> NDArray[np.uint32]:
    """Each frame with its least certain bits tried both ways, shape (frames, 2 ** forgiven)."""
    found = bits[:, None]
    for rank in range(forgiven):
        found = np.concatenate([found, found ^ weakest(weak, rank)[:, None]], axis=1)
    return found


def _agreeing(frames: _Frames, one: Places, other: Places) -> tuple[Places, Places]:
    """Those hits around which few bits differ, by a few frames nearby and then by more."""
    for steps in (_NEAR, _AROUND):
        differing = np.zeros(len(one), np.int64)
        seen = np.zeros(len(one), np.int64)
        low = np.maximum(frames.start[frames.clip[one]] - one, frames.start[frames.clip[other]] - other)
        high = np.minimum(frames.start[frames.clip[one] + 1] - one, frames.start[frames.clip[other] + 1] - other)
        for step in steps:
            inside = (low <= step) & (step < high)
            at = np.where(inside, step, 0)
            differing += np.bitwise_count(frames.bits[one + at] ^ frames.bits[other + at]) * inside
            seen += inside
        alike = differing <= _MOST_DIFFERING_NEAR * BITS * seen
        one, other = one[alike], other[alike]
    return one, other


def _offsets(frames: _Frames, one: Places, other: Places) -> NDArray[np.int64]:
    """A key (earlier clip, later clip, offset in frames) for each hit, each once."""
    later = frames.clip[one] > frames.clip[other]
    one, other = np.where(later, other, one), np.where(later, one, other)
    first, second = frames.clip[one], frames.clip[other]
    offset = (one - frames.start[first]) - (other - frames.start[second])
    inside = np.abs(offset) < _OFFSETS // 2
    keys = (first * (len(frames.start) - 1) + second) * _OFFSETS + offset + _OFFSETS // 2
    return np.unique(keys[inside])


def _overlap_agrees(first: NDArray[np.uint32], second: NDArray[np.uint32], offset: int) -> bool:
    """Whether few bits differ where the two overlap, frame ``i + offset`` of the first on frame ``i`` of the second."""
    one, other = first[max(0, offset) :], second[max(0, -offset) :]
    overlap = min(len(one), len(other))
    if overlap < max(1, SHORTEST_SHARE * min(len(first), len(second))):
        return False
    return bool(np.bitwise_count(one[:overlap] ^ other[:overlap]).mean() <= _MOST_DIFFERING * BITS)
