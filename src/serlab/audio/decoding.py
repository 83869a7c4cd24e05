"""Samples from formats that libsndfile reads, in blocks, checked against the numbers in the container."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from serlab.audio.source import FaultError, Part, PartStream, Source

_BLOCK = 1 << 16


class Recording(Protocol):
    """An open recording.

    Attributes:
        frames: samples per channel.
        rate: sample rate, Hz.
        channels: number of channels.
    """

    frames: int
    rate: int
    channels: int

    def close(self) -> None:
        """Close the file."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all samples, shape ``(samples, channels)``; raise :class:`FaultError` if any are missing or wrong."""


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end: soundfile seeks after each read if it can, which confuses an MP3 decoder."""

    def seekable(self) -> bool:
        return False


class SoundFiles:
    """A recording of parts that libsndfile decodes one after the other; see :class:`Recording`."""

    def __init__(self, path: Path | None, source: Source, parts: tuple[Part, ...]) -> None:
        self._path, self._source, self._parts = path, source, parts
        self._kept: _Stream | None = None
        self.frames = self.rate = self.channels = 0
        for part in parts:
            sound = self._open(part)
            if len(parts) == 1:
                self._kept = sound
            if self.rate and (sound.samplerate, sound.channels) != (self.rate, self.channels):
                raise FaultError("joined from streams of different rates or channels; split them")
            self.rate, self.channels = sound.samplerate, sound.channels
            self.frames += sound.frames if part.frames is None else part.frames
            if self._kept is None:
                sound.close()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all samples; see :class:`Recording`. Call it once."""
        for part in self._parts:
            with self._kept or self._open(part) as sound:
                try:
                    yield from self._decoded(sound, part)
                finally:
                    _raise_kept(sound)

    def close(self) -> None:
        """Close all open files."""
        if self._kept is not None:
            self._kept.close()

    def _open(self, part: Part) -> _Stream:
        # soundfile reads a file named .raw as samples without a header, whatever it contains.
        path = None if self._path is None or self._path.suffix.lower() == ".raw" else self._path
        if path is not None and part.start == 0 and part.end == self._source.size and not part.prefix:
            # Opening by name is faster; bytes, because soundfile refuses names that are not UTF-8.
            return _Stream(os.fsencode(path))
        stream = PartStream(self._source, part)
        try:
            return _Stream(stream)
        except soundfile.LibsndfileError:
            if stream.error is not None:
                raise stream.error from None
            raise

    def _decoded(self, sound: _Stream, part: Part) -> Iterator[NDArray[np.float32]]:
        promised = sound.frames if part.frames is None else part.frames
        if sound.frames > promised:
            raise FaultError(f"damaged: its header says both {promised / self.rate:.1f} s and more")
        kind = "float32" if part.md5 is None else "int16" if part.bits <= 16 else "int32"
        digest = hashlib.md5(usedforsecurity=False)
        held = 0
        try:
            while held < promised:
                block = sound.read(frames=min(_BLOCK, promised - held), dtype=kind, always_2d=True)
                if not len(block):
                    break
                held += len(block)
                if part.md5 is not None:
                    digest.update(_packed(block, part.bits))
                    # A power of two, so the division is exact, as in libsndfile.
                    block = block.astype(np.float32) * np.float32(1 / -float(np.iinfo(block.dtype).min))
                yield block
        except soundfile.LibsndfileError as error:
            seconds = promised / self.rate
            raise FaultError(f"truncated or damaged: decoding breaks off before its {seconds:.1f} s") from error
        if held < promised - part.slack:
            raise FaultError(f"truncated: header says {promised / self.rate:.1f} s, holds {held / self.rate:.1f} s")
        if part.md5 is not None and digest.digest() != part.md5:
            raise FaultError("damaged: its samples have another checksum than its header says")


def _raise_kept(sound: _Stream) -> None:
    """Raise the error that interrupted a read; libsndfile treats it as the end of the file."""
    error = getattr(sound.name, "error", None)
    if error is not None:
        raise error


def _packed(block: NDArray[Any], bits: int) -> bytes | memoryview:
    """Integer samples as FLAC's checksum needs them: little-endian, in as few bytes as hold their bits."""
    if bits == 16:
        return np.ascontiguousarray(block.astype("<i2", copy=False)).data
    width = block.dtype.itemsize
    values = np.ascontiguousarray(block >> 8 * width - bits).astype(f"<i{width}", copy=False)
    return values.view(np.uint8).reshape(-1, width)[:, : -(-bits // 8)].tobytes()
