"""The bit reservoir of MPEG layer III: the bits of a frame may begin in the frames before it.

Each frame says how far back its bits begin and how many they are. A frame that was removed, inserted or replaced breaks
this, except by chance. Frames are checked in blocks, so a recording of days needs no more memory than one of minutes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serlab.audio.source import FaultError

HEAD = 44
"""Bytes at the start of a frame that hold its header and side information."""

_BLOCK = 4096
_IMPOSSIBLE = "damaged: frames that no MPEG encoder makes"
_BROKEN = "damaged: MPEG frames are missing, changed or out of place"


class Reservoir:
    """The frames of one stream, checked as they are added.

    Args:
        side: bytes of the side information of a frame.
        mpeg1: whether the stream is MPEG-1.
        channels: 1 or 2.
    """

    def __init__(self, side: int, mpeg1: bool, channels: int) -> None:
        self._side, self._mpeg1, self._channels = side, mpeg1, channels
        self._heads: list[bytes] = []
        self._lengths: list[int] = []
        self._end = self._stop = 0
        self._known = False
        self._fault = ""

    def add(self, head: bytes, length: int) -> None:
        """Add a frame: its first :data:`HEAD` bytes, fewer only at the end of the file, and the length of the whole."""
        self._heads.append(head)
        self._lengths.append(length)
        if len(self._heads) == _BLOCK:
            self._examine()

    def check(self) -> None:
        """Check that the bits of each frame are where its side information says, after those of the previous frame.

        Raises:
            FaultError: they are not.
        """
        if self._heads:
            self._examine()
        if self._fault:
            raise FaultError(self._fault)

    def _examine(self) -> None:
        heads = np.frombuffer(b"".join(head.ljust(HEAD, b"\0") for head in self._heads), np.uint8).reshape(-1, HEAD)
        guarded = heads[:, 1] & 1 == 0
        side = np.where(guarded[:, None], heads[:, 6 : 6 + self._side], heads[:, 4 : 4 + self._side]).astype(np.int64)
        back, used, possible = self._sizes(np.pad(side, ((0, 0), (0, 4))))
        own = np.array(self._lengths, np.int64) - 4 - 2 * guarded - self._side
        self._heads, self._lengths = [], []
        ends = self._end + np.cumsum(own)
        begins = ends - own - back
        stops = begins + (used + 7) // 8
        # If a stream was cut out of another one, its first frames refer to bytes before its start;
        # decoders leave them silent.
        known = begins >= 0
        late = 0 if self._known else int(np.argmax(known)) if known.any() else len(known)
        before = np.concatenate([[self._stop if self._end else begins[0]], stops[:-1]])
        if not possible:
            self._fault = self._fault or _IMPOSSIBLE
        elif (stops > ends).any() or (begins < before).any() or not known[late:].all():
            self._fault = self._fault or _BROKEN
        self._end, self._stop = int(ends[-1]), int(stops[-1])
        self._known = self._known or bool(known.any())

    def _sizes(self, side: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """Bytes that each frame reaches back, bits that it uses, and whether an encoder makes such frames."""

        def field(bit: int, width: int) -> NDArray[np.int64]:
            at = bit // 8
            word = side[:, at] << 16 | side[:, at + 1] << 8 | side[:, at + 2]
            return np.asarray(word >> 24 - bit % 8 - width & (1 << width) - 1)

        mpeg1, stereo = self._mpeg1, self._channels == 2
        back = field(0, 9 if mpeg1 else 8)
        at = (20 if stereo else 18) if mpeg1 else (10 if stereo else 9)
        used, possible = np.zeros(len(side), np.int64), True
        for _ in range((2 if mpeg1 else 1) * self._channels):
            used += field(at, 12)
            possible &= not (field(at + 12, 9) > 288).any()
            at += 59 if mpeg1 else 63
        return back, used, possible
