"""Find clips whose fingerprints agree somewhere, with an index of frames instead of all pairs.

The search follows Haitsma and Kalker (ISMIR 2002, section 5). Each frame is looked up among the
frames of all clips, with both values of its least certain bits. At a match, few bits may differ in
the frames around it and over the whole overlap. The work per clip hardly depends on the number of
clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.audio.fingerprints import BITS, WEAKEST, Print, weakest

SHORTEST_SHARE = 0.6
"""Minimum overlap of two clips, as a share of the shorter one."""

_MOST_DIFFERING = 0.35
_MOST_DIFFERING_NEAR = 0.32
_NEAR = (-16, -8, 8, 16)
_AROUND = tuple(step for step in range(-40, 41, 5) if step)
# A frame that occurs this often is as uninformative as silence or a single tone, whose bits are all
# equal.
_MOST_ALIKE = 40
_SAY_NOTHING = np.array([0, 2**BITS - 1], np.uint32)
# Up to this number of frames (about 8,000 clips of 2.5 s) all weak bits are tried. Each doubling
# drops one of them, because chance matches double too.
_FRAMES_OF_ALL_WEAK = 2**21
_AT_ONCE = 2**22
# In frames, in both directions: 65 s, more than the longest clip.
_OFFSETS = 2**14

Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Frames:
    """The frames of all clips, concatenated.

    Attributes:
        bits: of each frame, shape ``(frames,)``.
        weak: positions of its least certain bits, shape ``(frames,)``.
        clip: index of its clip, shape ``(frames,)``.
        start: index of the first frame of each clip, and the end, shape ``(clips + 1,)``.
    """

    bits: NDArray[np.uint32]
    weak: NDArray[np.uint32]
    clip: Places
    start: Places


def candidates(prints: Sequence[Print]) -> list[tuple[int, int]]:
    """Pairs of clips whose fingerprints agree at some offset.

    Args:
        prints: fingerprint of each clip; an empty one agrees with no other.

    Returns:
        Sorted pairs of clip indices, the smaller first.
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
    """Frames, and frames of other clips that equal them except for weak bits, a few million at a time."""
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
    """One bit per number of 28 bits: whether it is among ``bits``, which are sorted and unique."""
    held = np.zeros(2 ** (BITS - 3), np.uint8)
    byte = bits >> 3
    first = np.flatnonzero(np.diff(byte, prepend=-1))
    if len(first):
        held[byte[first]] = np.bitwise_or.reduceat(np.uint8(1) << (bits & 7).astype(np.uint8), first)
    return held


def _variants(bits: NDArray[np.uint32], weak: NDArray[np.uint32], forgiven: int) -> NDArray[np.uint32]:
    """Each frame with all values of its least certain bits, shape ``(frames, 2 ** forgiven)``."""
    found = bits[:, None]
    for rank in range(forgiven):
        found = np.concatenate([found, found ^ weakest(weak, rank)[:, None]], axis=1)
    return found


def _agreeing(frames: _Frames, one: Places, other: Places) -> tuple[Places, Places]:
    """The hits around which few bits differ, first in a few frames nearby, then in more."""
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
    """Unique keys (earlier clip, later clip, offset in frames) of the hits."""
    later = frames.clip[one] > frames.clip[other]
    one, other = np.where(later, other, one), np.where(later, one, other)
    first, second = frames.clip[one], frames.clip[other]
    offset = (one - frames.start[first]) - (other - frames.start[second])
    inside = np.abs(offset) < _OFFSETS // 2
    keys = (first * (len(frames.start) - 1) + second) * _OFFSETS + offset + _OFFSETS // 2
    return np.unique(keys[inside])


def _overlap_agrees(first: NDArray[np.uint32], second: NDArray[np.uint32], offset: int) -> bool:
    """Whether few bits differ in the overlap of frame ``i + offset`` of the first with frame ``i`` of the second."""
    one, other = first[max(0, offset) :], second[max(0, -offset) :]
    overlap = min(len(one), len(other))
    if overlap < max(1, SHORTEST_SHARE * min(len(first), len(second))):
        return False
    return bool(np.bitwise_count(one[:overlap] ^ other[:overlap]).mean() <= _MOST_DIFFERING * BITS)
