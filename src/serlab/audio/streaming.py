"""Audio of any length, block by block, with the same checks and samples as :class:`serlab.audio.Audio`.

Memory does not grow with the length, because decoding and resampling (soxr's streaming resampler)
hold one block at a time. The concatenated blocks equal the samples of the whole recording, to the
bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from serlab.audio.gate import QUALITY, SAMPLE_RATE, check_samples, mono, scaled, whole_rate
from serlab.audio.reading import MOST_CHANNELS, AudioError, opened
from serlab.audio.source import FaultError
from serlab.core import UserError

Tap = Callable[[NDArray[np.float32]], None]
"""Takes mono samples at their original rate."""

_EMPTY = np.zeros(0, np.float32)


class AudioStream:
    """Checks audio that arrives in pieces of any size, and converts it to mono at 16 kHz.

    Args:
        sample_rate: of the pieces, in Hz, 8,000 to 192,000.
        tap: called with each piece after its channels were averaged, before it is resampled.

    Raises:
        AudioError: the sample rate is not possible.

    >>> stream = AudioStream(48000)
    >>> ready = [stream.feed(np.zeros(1000, np.int16)) for _ in range(48)]
    >>> sum(len(samples) for samples in [*ready, stream.flush()])
    16000
    """

    def __init__(self, sample_rate: int, tap: Tap | None = None) -> None:
        try:
            self.sample_rate = whole_rate(sample_rate)
        except FaultError as fault:
            raise AudioError(None, str(fault)) from fault
        same = self.sample_rate == SAMPLE_RATE
        self._resampler = (
            None if same else soxr.ResampleStream(self.sample_rate, SAMPLE_RATE, 1, dtype="float32", quality=QUALITY)
        )
        self._tap = tap
        self._channels = 0
        self._ended = False

    def feed(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Add a piece.

        Args:
            samples: shape ``(samples,)`` or ``(samples, channels)``, with types and scales as in
                :meth:`serlab.audio.Audio.from_array`; may be empty.

        Returns:
            Samples at 16 kHz that are ready, shape ``(samples,)``: the resampler holds back the
            last milliseconds.

        Raises:
            AudioError: the piece has another type, shape or number of channels, or is not finite or
                beyond 8 in floating point. The piece is then ignored, and the stream can continue.
            UserError: the stream was flushed.
        """
        if self._ended:
            raise UserError("this audio stream was flushed; start another one for more samples.")
        try:
            piece = scaled(samples)
            frames = piece[:, np.newaxis] if piece.ndim == 1 else piece
            if frames.ndim != 2 or not 1 <= frames.shape[1] <= MOST_CHANNELS:
                raise FaultError(f"a piece of shape {piece.shape}; expected (samples,) or (samples, channels)")
            if self._channels not in (0, frames.shape[1]):
                raise FaultError(f"a piece with {frames.shape[1]} channels after pieces with {self._channels}")
            return self._resampled(frames)
        except FaultError as fault:
            raise AudioError(None, str(fault)) from fault

    def flush(self) -> NDArray[np.float32]:
        """End the stream and return the samples that were held back.

        Raises:
            UserError: the stream was flushed before.
        """
        if self._ended:
            raise UserError("this audio stream was flushed before.")
        self._ended = True
        return _EMPTY if self._resampler is None else self._resampler.resample_chunk(_EMPTY, last=True)

    def _resampled(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Check and add samples, shape ``(samples, channels)``."""
        if not len(frames):
            return _EMPTY
        averaged = mono(frames)
        check_samples(averaged)
        self._channels = frames.shape[1]
        if self._tap is not None:
            self._tap(averaged)
        return averaged if self._resampler is None else self._resampler.resample_chunk(averaged)


def blocks(
    source: str | os.PathLike[str] | BytesIO | Iterable[ArrayLike],
    *,
    sample_rate: int | None = None,
    tap: Tap | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Read audio of any length in constant memory.

    Args:
        source: a file, its content, or consecutive arrays, as for :meth:`AudioStream.feed`.
        sample_rate: of the arrays, in Hz; a file brings its own.
        tap: as for :class:`AudioStream`.

    Yields:
        Samples at 16 kHz, mono, shape ``(samples,)``, in blocks of varying length. Silence and any
        length above zero are accepted.

    Raises:
        AudioError: as for :class:`serlab.audio.Audio`, at the block concerned. An incomplete file
            may raise it only at its end.
        UserError: a sample rate is missing, or given for a file.
    """
    file = isinstance(source, (str, os.PathLike, BytesIO))
    if file == (sample_rate is not None):
        raise UserError(
            f"a file brings its own sample rate, but {sample_rate} Hz was given; leave it out."
            if file
            else "arrays do not say their sample rate; give it in Hz."
        )
    if isinstance(source, BytesIO):
        return _of_file(source, tap)
    if isinstance(source, (str, os.PathLike)):
        return _of_file(Path(source), tap)
    return _of_arrays(source, sample_rate or 0, tap)


def seconds_of(path: Path) -> float:
    """Length of a file by its headers.

    Raises:
        AudioError: the file cannot be opened, or is damaged at first sight.
    """
    with opened(path) as recording:
        return recording.frames / recording.rate


def _of_file(path: Path | BytesIO, tap: Tap | None) -> Iterator[NDArray[np.float32]]:
    with opened(path) as recording:
        stream = AudioStream(recording.rate, tap)
        for block in recording.blocks():
            yield from _any(stream._resampled(block))
        yield from _any(stream.flush())


def _of_arrays(pieces: Iterable[ArrayLike], sample_rate: int, tap: Tap | None) -> Iterator[NDArray[np.float32]]:
    stream, held = AudioStream(sample_rate, tap), 0
    for piece in pieces:
        for samples in _any(stream.feed(piece)):
            held += len(samples)
            yield samples
    last = stream.flush()
    if not held + len(last):
        raise AudioError(None, "no samples")
    yield from _any(last)


def _any(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    if len(samples):
        yield samples
