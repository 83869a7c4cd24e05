"""Sound that is still being made: from a pipe, or from a microphone (sounddevice; extra ``listen``)."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from serlab.core import MachineError, UserError, argument
from serlab.core.progress import clock, say_once
from serlab.model.segments import Segment
from serlab.model.stream import Stream

RAW = {"s16": "<i2", "s32": "<i4", "f32": "<f4", "u8": "u1"}
"""Types of raw samples, all little-endian, as ffmpeg names them."""

_PIECES_PER_SECOND = 10
# Writers that cannot go back to the header leave the largest number there, or nearly.
_UNKNOWN_BYTES = 0x7FFFFF00

Pieces = Iterator[NDArray[Any]]


@dataclass(frozen=True)
class Live:
    """Sound that arrives.

    Attributes:
        name: of the source, for messages.
        sample_rate: in Hz.
        pieces: arrays of shape (samples,) or (samples, channels), as they arrive.
    """

    name: str
    sample_rate: int
    pieces: Pieces


@dataclass(frozen=True)
class Raw:
    """Samples without a header.

    Attributes:
        kind: one of :data:`RAW`.
        rate: sample rate, Hz.
        channels: number of interleaved channels.
    """

    kind: str
    rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        if self.kind not in RAW:
            raise UserError(f"{argument('raw', self.kind)} is not one of {', '.join(RAW)}.")
        if not 1 <= self.channels <= 8:
            raise UserError(f"{argument('channels', self.channels)} is not between 1 and 8.")


@contextmanager
def pipe(stream: BinaryIO, raw: Raw | None = None) -> Iterator[Live]:
    """Sound from a pipe.

    Args:
        stream: the pipe's end to read from.
        raw: what its samples are; None for WAV, AU, FLAC or whatever else libsndfile can read without going back.

    Raises:
        UserError: it is not sound that can be read from a pipe, or (from the pieces) it ends in the middle.
    """
    if raw is not None:
        yield Live("standard input", raw.rate, _raw_pieces(stream, raw))
        return
    try:
        sound = soundfile.SoundFile(stream.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"standard input is not sound that can be read from a pipe ({error.error_string.rstrip('.')}); expected "
            f"WAV, AU or FLAC, or give {argument('raw')} and {argument('rate')}."
        ) from error
    with sound:
        yield Live("standard input", sound.samplerate, _decoded_pieces(sound))


def _raw_pieces(stream: BinaryIO, raw: Raw) -> Pieces:
    kind = np.dtype(RAW[raw.kind])
    size = kind.itemsize * raw.channels
    held = b""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    while data := read(max(1, raw.rate // _PIECES_PER_SECOND) * size):
        held += data
        whole = len(held) // size * size
        if whole:
            yield np.frombuffer(held[:whole], kind).reshape(-1, raw.channels)
        held = held[whole:]
    if held:
        raise UserError(
            f"standard input ends in the middle of a sample ({len(held)} of {size} bytes); check {argument('raw')} and "
            f"{argument('channels')}."
        )


def _decoded_pieces(sound: soundfile.SoundFile) -> Pieces:
    promised, held = sound.frames, 0
    try:
        while True:
            piece = sound.read(max(1, sound.samplerate // _PIECES_PER_SECOND), dtype="float32", always_2d=True)
            if not len(piece):
                break
            held += len(piece)
            yield piece
    except soundfile.LibsndfileError as error:
        raise UserError(f"standard input is damaged at {held / sound.samplerate:.1f} s.") from error
    if held < promised < _UNKNOWN_BYTES // (4 * sound.channels):
        seconds = promised / sound.samplerate
        raise UserError(
            f"standard input ends in the middle: its header says {seconds:.1f} s, it holds "
            f"{held / sound.samplerate:.1f} s."
        )


@contextmanager
def microphone(name: str | None = None) -> Iterator[Live]:
    """Sound from a microphone, one channel at its own rate.

    Args:
        name: number or part of the name of an input device; the system's default if None.

    Raises:
        MachineError: sounddevice is not installed, or there is no such microphone.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing.
        raise MachineError(
            f"a microphone needs sounddevice and PortAudio ({error}); install them with: pip install 'serlab[listen]'."
        ) from error
    arrived: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()

    def take(samples: NDArray[np.float32], _frames: int, _time: object, status: object) -> None:
        if status:
            say_once(f"the microphone lost sound ({status}); the computer is too slow for this model.")
        arrived.put(samples.copy())

    device = int(name) if name and name.isdigit() else name
    with ExitStack() as stack:
        try:
            rate = int(sounddevice.query_devices(device, "input")["default_samplerate"])
            stack.enter_context(
                sounddevice.InputStream(
                    samplerate=rate,
                    blocksize=rate // _PIECES_PER_SECOND,
                    device=device,
                    channels=1,
                    dtype="float32",
                    callback=take,
                )
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise MachineError(f"the microphone cannot be used: {str(error).splitlines()[0]}.") from error
        yield Live("the microphone", rate, _arriving(arrived))


def _arriving(arrived: queue.SimpleQueue[NDArray[np.float32]]) -> Pieces:
    while True:
        yield arrived.get()


class Listening:
    """Feeds live sound to a stream, and measures how long that takes."""

    def __init__(self, live: Live, stream: Stream, seconds: float | None = None) -> None:
        self._live, self._stream, self._seconds = live, stream, seconds
        self._arrived = 0
        self._computing = 0.0
        self._delays: list[float] = []

    def segments(self) -> Iterator[Segment]:
        """The segments, each as soon as it is final; ends with the sound, or after ``seconds`` of it.

        Raises:
            UserError: the sound cannot be used; after the segments before the fault.
        """
        rate = self._live.sample_rate
        for piece in self._live.pieces:
            self._arrived += len(piece)
            yield from self._timed(lambda piece=piece: self._stream.feed(piece))  # type: ignore[misc]
            if self._seconds is not None and self._arrived >= self._seconds * rate:
                break
        yield from self._timed(self._stream.flush)

    def _timed(self, work: Callable[[], list[Segment]]) -> list[Segment]:
        begin = time.perf_counter()
        found = work()
        spent = time.perf_counter() - begin
        self._computing += spent
        if found:
            self._delays = [*self._delays[-999:], spent]
        return found

    def measured(self) -> str:
        """How fast it went, in one line."""
        seconds = self._arrived / self._live.sample_rate
        if not seconds or not self._delays:
            return "no sound arrived"
        return (
            f"{clock(seconds)} of sound; computing took {100 * self._computing / seconds:.1f} % of it; a segment came "
            f"{1000 * median(self._delays):.0f} ms after its last sample had arrived (median; at most "
            f"{1000 * max(self._delays):.0f} ms)"
        )
