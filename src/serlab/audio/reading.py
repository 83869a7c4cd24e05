"""Opening audio files: every fault on the way is an :class:`AudioError` of that file, with a short reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import soundfile

from serlab.audio.containers import examine
from serlab.audio.decoding import Recording, SoundFiles
from serlab.audio.pointers import why_absent
from serlab.audio.source import FaultError, Source
from serlab.core import UserError

MOST_CHANNELS = 8
_RATES = (8000, 192000)


@dataclass(frozen=True)
class Info:
    """What a file's header says: duration in seconds, sample rate in Hz, number of channels."""

    duration: float
    sample_rate: int
    channels: int


class AudioError(UserError):
    """Audio that cannot be used.

    Attributes:
        path: the file; None for an array.
        reason: why, in a short phrase, e.g. ``"silent"``.
    """

    def __init__(self, path: Path | None, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path or 'the array'} cannot be used: {self.reason}."


def info(path: Path) -> Info:
    """Read a file's headers; only what tells nothing of its length is decoded.

    Args:
        path: the audio file.

    Returns:
        Its duration, sample rate and channels.

    Raises:
        AudioError: the file is not audio, or is empty, cut off or damaged at first sight.
    """
    with opened(path) as recording:
        return Info(recording.frames / recording.rate, recording.rate, recording.channels)


@contextmanager
def opened(path: Path) -> Iterator[Recording]:
    """Open a recording whose container is whole.

    Raises:
        AudioError: anything is wrong with the file, within the block too.
    """
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
    if recording.channels > MOST_CHANNELS:
        raise FaultError(f"{recording.channels} channels, more than {MOST_CHANNELS}")
    check_rate(recording.rate)
    if not recording.frames:
        raise FaultError("no samples")


def check_rate(rate: int) -> None:
    """Refuse a sample rate in Hz that is not one of recorded speech.

    Raises:
        FaultError: it is out of range.
    """
    low, high = _RATES
    if not low <= rate <= high:
        raise FaultError(f"a sample rate of {rate} Hz, not within {low} to {high} Hz")
