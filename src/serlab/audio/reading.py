"""Opening audio files: every fault becomes an :class:`AudioError` of that file, with a short reason."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
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
    """What a file is, without decoding it.

    Attributes:
        sha256: of its bytes; empty if it cannot be read.
        duration: in seconds, by its headers; NaN if there is a fault.
        sample_rate: in Hz; 0 if there is a fault.
        channels: how many; 0 if there is a fault.
        fault: a short phrase if it is not audio, is empty, or its headers show that it is
            incomplete or damaged; otherwise empty.
    """

    sha256: str = ""
    duration: float = math.nan
    sample_rate: int = 0
    channels: int = 0
    fault: str = ""


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
    """Hash a file and read its headers in one pass; decode it only if the headers lack its length."""
    sha256 = ""
    try:
        with _guarded(path) as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            with _recording(path, stream) as found:
                return Info(sha256, found.frames / found.rate, found.rate, found.channels)
    except AudioError as error:
        return Info(sha256, fault=error.reason)


@contextmanager
def opened(path: Path | BytesIO) -> Iterator[Recording]:
    """Open a recording whose container is complete.

    Args:
        path: a file, or the content of one.

    Raises:
        AudioError: anything is wrong with the file, also within the block.
    """
    if isinstance(path, BytesIO):
        with _faults(None), _examined(None, Source(path, len(path.getbuffer()))) as recording:
            yield recording
    else:
        with _guarded(path) as stream, _recording(path, stream) as recording:
            yield recording


@contextmanager
def _guarded(path: Path) -> Iterator[BufferedReader]:
    """Open a file so that every error within the block is an :class:`AudioError` of this file."""
    try:
        with _faults(path):
            _check_kind(path.stat().st_mode)
            with path.open("rb") as stream:
                before = os.fstat(stream.fileno())
                yield stream
                after = os.fstat(stream.fileno())
                if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise FaultError("changed while it was read")
    except OSError as error:
        raise AudioError(path, _why_closed(path, error)) from error
    except ValueError as error:
        if _possible(path):
            raise  # A bug in serlab.
        raise AudioError(path, "not a possible name of a file") from error


@contextmanager
def _faults(path: Path | None) -> Iterator[None]:
    """Name the file in what parsers and decoders raise."""
    try:
        yield
    except FaultError as fault:
        raise AudioError(path, str(fault)) from fault
    except soundfile.LibsndfileError as error:
        why = error.error_string.rstrip(".")
        if "SF_INFO" in why:  # libsndfile's own words for a header that says 0.
            why = "its header has no sample rate or no channels"
        raise AudioError(path, f"damaged: {why}") from error


@contextmanager
def _recording(path: Path, stream: BufferedReader) -> Iterator[Recording]:
    with _examined(path, Source(stream, os.fstat(stream.fileno()).st_size)) as recording:
        yield recording


@contextmanager
def _examined(path: Path | None, source: Source) -> Iterator[Recording]:
    if not source.size:
        raise FaultError("empty file")
    container = examine(source)
    if container.media:
        from serlab.audio.media import MediaFile

        recording: Recording = MediaFile(source, container.media, container.seconds)
    else:
        recording = SoundFiles(path, source, container.parts)
    try:
        _check_shape(recording)
        yield recording
    finally:
        recording.close()


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
    """Refuse a sample rate in Hz that is implausible for recorded speech.

    Raises:
        FaultError: it is out of range.
    """
    low, high = _RATES
    if not low <= rate <= high:
        raise FaultError(f"a sample rate of {rate} Hz, not within {low} to {high} Hz")
