"""Sound that is still being made: from a pipe, or from a microphone (sounddevice; extra ``listen``)."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from serlab.audio import AudioError
from serlab.core import MachineError, UserError, argument
from serlab.core.progress import clock, say_once
from serlab.model.segments import Segment
from serlab.model.stream import Stream

RAW = {"s16": "<i2", "s32": "<i4", "f32": "<f4", "u8": "u1"}
"""Types of raw samples, all little-endian, as ffmpeg names them."""

_PIECES_PER_SECOND = 10
_MOST_MEASURED = 1000
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
        MachineError: sounddevice or PortAudio is not installed, or there is no such microphone.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MachineError(
            "a microphone needs sounddevice, which is not installed; install it with pip install 'serlab[listen]'."
        ) from error
    except OSError as error:  # On Linux, sounddevice comes without PortAudio.
        raise MachineError(
            f"a microphone needs PortAudio ({error}); install it with your system's packages, "
            "e.g. apt install libportaudio2."
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
    """Feeds live sound to a stream, and measures how long after its last sample a segment comes.

    Ctrl-C ends the sound, as its end would: it interrupts the wait for more, and never a computation. A second one
    interrupts whatever there is.

    Attributes:
        interrupted: whether Ctrl-C ended the sound.
    """

    def __init__(self, live: Live, stream: Stream, seconds: float | None = None) -> None:
        self._live, self._stream, self._seconds = live, stream, seconds
        self._arrived = 0
        self._computing = 0.0
        self._late: deque[float] = deque(maxlen=_MOST_MEASURED)
        self._waiting = self.interrupted = False

    def segments(self) -> Iterator[Segment]:
        """The segments, each as soon as it is final; ends with the sound, after ``seconds`` of it, or by Ctrl-C.

        Raises:
            UserError: the sound cannot be used; after the segments before the fault.
        """
        rate, pieces = self._live.sample_rate, iter(self._live.pieces)
        with self._ctrl_c():
            while (piece := self._next(pieces)) is not None:
                self._arrived += len(piece)
                found = self._timed(partial(self._stream.feed, piece))
                yield from found
                if self._seconds is not None and self._arrived >= self._seconds * rate:
                    break
            try:
                yield from self._timed(self._stream.flush, last=True)
            except AudioError:
                # Less than the shortest clip had arrived.
                if not self.interrupted:
                    raise

    def _next(self, pieces: Pieces) -> NDArray[Any] | None:
        """Wait for the next piece; None at the end."""
        try:
            self._waiting = True
            return None if self.interrupted else next(pieces, None)
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def take(_number: int, _frame: object) -> None:
            again, self.interrupted = self.interrupted, True
            if self._waiting or again:
                raise KeyboardInterrupt

        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, take)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _timed(self, work: Callable[[], list[Segment]], *, last: bool = False) -> list[Segment]:
        begin = time.perf_counter()
        found = work()
        spent = time.perf_counter() - begin
        self._computing += spent
        if not last:
            held = self._arrived / self._live.sample_rate
            self._late.extend(held - one.end + spent for one in found)
        return found

    def measured(self) -> str:
        """How fast it went, in one line."""
        if not self._arrived:
            return "no sound arrived"
        seconds = self._arrived / self._live.sample_rate
        said = f"{clock(seconds)} of sound; computing took {100 * self._computing / seconds:.1f} % of it"
        if not self._late:
            return said
        return (
            f"{said}; a segment came {median(self._late):.2f} s after its last sample (median; at most "
            f"{max(self._late):.2f} s)"
        )
