"""Reading audio: every path of serlab that needs a clip's samples gets them here, so that all get the same.

A clip becomes mono (mean of its channels) at 16 kHz (soxr, HQ), float32, as recorded: no gain, no trimming. A file that
holds less than it promises, or nothing that could be heard, is an :class:`AudioError` whose reason is a short phrase;
it never becomes silence or a shorter clip.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from serlab.audio.containers import examine
from serlab.audio.decoding import Recording, SoundFiles
from serlab.audio.pointers import why_absent
from serlab.audio.source import FaultError, Source
from serlab.core import UserError

SAMPLE_RATE = 16000
"""Hz; what every model hears."""

DECODER = f"2/libsndfile-{soundfile.__libsndfile_version__}/soxr-{soxr.__version__}"
"""What turns a file into samples: this module's version and the libraries'; other samples, another text."""

_MOST_CHANNELS = 8
_RATES = (8000, 192000)
_SILENT_BELOW = 2 / 32768


@dataclass(frozen=True)
class Limits:
    """How short and how long a clip may be, in seconds."""

    min_seconds: float = 0.1
    max_seconds: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Info:
    """What a file's header says: duration in seconds, sample rate in Hz, number of channels."""

    duration: float
    sample_rate: int
    channels: int


class AudioError(UserError):
    """A file that cannot be used as a clip.

    Attributes:
        path: the file.
        reason: why, in a short phrase, e.g. ``"silent"``.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be used: {self.reason}."


def info(path: Path) -> Info:
    """Read a file's headers; only what tells nothing of its length is decoded.

    Args:
        path: the audio file.

    Returns:
        Its duration, sample rate and channels.

    Raises:
        AudioError: the file is not audio, or is empty, cut off or damaged at first sight.
    """
    with _opened(path) as recording:
        return Info(recording.frames / recording.rate, recording.rate, recording.channels)


def read(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.float32]:
    """Read a clip as the models hear it. The same file gives the same samples, to the bit.

    Args:
        path: the audio file: WAV, FLAC, MP3, Ogg Vorbis or Opus, of 1 to 8 channels and 8 to 192 kHz.
        limits: how short and how long the clip may be.

    Returns:
        Samples at 16 kHz, mono, shape ``(samples,)``; a clip of ``n`` samples at ``r`` Hz gives
        ``round(n * 16000 / r)``.

    Raises:
        AudioError: the file cannot be read whole, or is silent, too short, too long or not finite.
    """
    return resample(*decode(path, limits=limits), SAMPLE_RATE)


def check(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Decode a clip and refuse what :func:`read` would refuse, without resampling it.

    Args:
        path: the audio file.
        limits: how short and how long the clip may be.

    Raises:
        AudioError: as in :func:`read`.
    """
    decode(path, limits=limits)


def decode(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[NDArray[np.float32], int]:
    """Read a clip at its own rate; an over-long file is not decoded to its end.

    Args:
        path: the audio file.
        limits: how short and how long the clip may be.

    Returns:
        Mono samples, shape ``(samples,)``, and their rate in Hz.

    Raises:
        AudioError: as in :func:`read`.
    """
    with _opened(path) as recording:
        rate = recording.rate
        longest = limits.max_seconds * rate
        blocks: list[NDArray[np.float32]] = []
        held = 0
        if recording.frames <= longest:
            for block in recording.blocks():
                with np.errstate(all="ignore"):
                    blocks.append(block.mean(axis=1) if block.shape[1] > 1 else block[:, 0])
                held += len(block)
                if held > longest:
                    break
        if max(held, recording.frames) > longest:
            raise AudioError(path, f"longer than {limits.max_seconds:g} s")
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.empty(0, np.float32)])
    if not len(samples):
        raise AudioError(path, "no samples")
    if not np.isfinite(samples).all():
        raise AudioError(path, "non-finite samples")
    if len(samples) < limits.min_seconds * rate:
        raise AudioError(path, f"shorter than {limits.min_seconds:g} s")
    if _silent(samples):
        raise AudioError(path, "silent")
    return samples, rate


def _silent(samples: NDArray[np.float32]) -> bool:
    """Whether nothing moves, at zero or at a constant offset (its mean, taken to a whole step of 16 bits)."""
    low, high = float(samples.min()), float(samples.max())
    offset = round(float(samples.mean(dtype=np.float64)) * 32768) / 32768
    return max(-low, high) < _SILENT_BELOW or max(offset - low, high - offset) < _SILENT_BELOW


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Bring mono samples from ``rate`` to ``wanted`` Hz; ``n`` samples become ``round(n * wanted / rate)``."""
    if rate == wanted:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, wanted, quality="HQ")
    return resampled


@contextmanager
def _opened(path: Path) -> Iterator[Recording]:
    """Open a recording whose container is whole; every error on the way is one of this file."""
    try:
        _check_kind(path.stat().st_mode)
        with path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            if not before.st_size:
                raise FaultError("empty file")
            recording = _recording(path, Source(stream, before.st_size))
            try:
                _check_shape(recording)
                yield recording
            finally:
                recording.close()
            after = os.fstat(stream.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise FaultError("changed while it was read")
    except FaultError as fault:
        raise AudioError(path, str(fault)) from fault
    except soundfile.LibsndfileError as error:
        raise AudioError(path, f"damaged: {error.error_string.rstrip('.')}") from error
    except OSError as error:
        raise AudioError(path, _why_closed(path, error)) from error
    except ValueError as error:
        if _possible(path):
            raise  # A fault of serlab's own.
        raise AudioError(path, "not a possible name of a file") from error


def _recording(path: Path, source: Source) -> Recording:
    container = examine(source)
    if container.media:
        from serlab.audio.media import MediaFile

        return MediaFile(source, container.media, container.seconds)
    return SoundFiles(path, source, container.parts)


def _possible(path: Path) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except ValueError:
        return False


def _why_closed(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return why_absent(path)
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return str(error.strerror or error)


def _check_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise FaultError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise FaultError("not a regular file")


def _check_shape(recording: Recording) -> None:
    if recording.channels > _MOST_CHANNELS:
        raise FaultError(f"{recording.channels} channels, more than {_MOST_CHANNELS}")
    low, high = _RATES
    if not low <= recording.rate <= high:
        raise FaultError(f"a sample rate of {recording.rate} Hz, not within {low} to {high} Hz")
    if not recording.frames:
        raise FaultError("no samples")
