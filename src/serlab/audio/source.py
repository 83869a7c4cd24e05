"""The bytes of a file for container parsers and decoders, read as needed from one open file.

All parsers use the size that the file had when it was opened, and decoders read from the same open
file, so both see the same content.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_WINDOW = 1 << 18
_MOST_PIECES = 1_000_000


class FaultError(Exception):
    """Why a file cannot be used, in a short phrase; :mod:`serlab.audio.reading` adds the path."""


def steps() -> Iterator[int]:
    """Count the pieces of a file from 0, and refuse a file with so many that it must be damaged or malicious."""
    yield from range(_MOST_PIECES)
    raise FaultError("damaged, or of more than a million pieces")


@dataclass(frozen=True)
class Part:
    """A section of a file that a decoder reads as a separate file. Most files have one part.

    Attributes:
        start: its first byte.
        end: the byte after its last.
        prefix: a header to insert before those bytes.
        frames: samples per channel that it must contain; ``None``: the number that the decoder
            reads in the header.
        slack: how many of them may be missing in an intact file.
        md5: checksum of its integer samples; ``None``: unknown.
        bits: bits per integer sample, for ``md5``.
    """

    start: int
    end: int
    prefix: bytes = b""
    frames: int | None = None
    slack: int = 0
    md5: bytes | None = None
    bits: int = 16


class Source:
    """Random access to an open file through a cached window, so that small steps need no system call."""

    def __init__(self, stream: BinaryIO, size: int, base: int = 0) -> None:
        self.size = size
        self._base = base
        self._stream = stream
        self._start = 0
        self._window = b""

    def at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset`` on; fewer at the end of the file, zero beyond it."""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._window):
            if offset >= self.size or length <= 0:
                return b""
            self._stream.seek(self._base + offset)
            self._window = self._stream.read(min(max(length, _WINDOW), self.size - offset))
            self._start, begin = offset, 0
        return self._window[begin : begin + length]

    def behind(self, start: int) -> Source:
        """The content after a tag at the beginning, as a separate file."""
        return Source(self._stream, self.size - start, self._base + start)

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """Find ``wanted`` between two offsets; -1 if it is not there."""
        while start + len(wanted) <= min(end, self.size):
            self.at(start, len(wanted))
            found = self._window.find(wanted, start - self._start, end - self._start)
            if found >= 0:
                return self._start + found
            start = max(start + 1, self._start + len(self._window) - len(wanted) + 1)
        return -1

    def run_of(self, byte: int, start: int, end: int) -> int:
        """Return the offset at which a run of one byte that begins at ``start`` ends."""
        length = 64
        while start < end:
            block = self.at(start, min(length, end - start))
            # Comparing is far faster than stripping, and padding may be gigabytes long.
            rest = 0 if block == bytes([byte]) * len(block) else len(block.lstrip(bytes([byte])))
            start += len(block) - rest
            if rest or not block:
                break
            length = min(4 * length, _WINDOW)
        return start


class PartStream(io.RawIOBase):
    """A part as a separate file, for libraries that read from file objects.

    Attributes:
        error: the exception that interrupted a read (a disk error, Ctrl-C), because a decoder drops
            exceptions of its callback.
    """

    def __init__(self, source: Source, part: Part) -> None:
        self._source = source
        self._part = part
        self._length = len(part.prefix) + part.end - part.start
        self._at = 0
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, never before the start."""
        base = (0, self._at, self._length)[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes; all remaining ones if negative."""
        left = max(0, self._length - self._at)
        size = left if size < 0 else min(size, left)
        ahead = len(self._part.prefix)
        taken = self._part.prefix[self._at : self._at + size]
        try:
            taken += self._source.at(self._part.start + self._at + len(taken) - ahead, size - len(taken))
        except BaseException as error:
            self.error = error
        self._at += len(taken)
        return taken

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)
