"""Reading audio: every path of serlab that needs a clip's samples gets them here, so that all get the same.

A clip becomes mono (mean of its channels) at 16 kHz (soxr, HQ), float32, as recorded: no gain, no trimming. A file that
holds less than it promises, or nothing that could be heard, is an :class:`AudioError` whose reason is a short phrase;
it never becomes silence or a shorter clip.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from serlab.audio.pointers import LONGEST_HEAD, why_absent, why_pointer
from serlab.core import UserError

SAMPLE_RATE = 16000
"""Hz; what every model hears."""

DECODER = f"1/libsndfile-{soundfile.__libsndfile_version__}/soxr-{soxr.__version__}"
"""What turns a file into samples: this module's version and the libraries'; other samples, another text."""

# libsndfile reads more, but only of these is it known here whether a file is whole.
_FORMATS = ("WAV", "WAVEX", "FLAC", "MP3", "OGG")
_MOST_CHANNELS = 8
_RATES = (8000, 192000)
_SILENT_BELOW = 2 / 32768
_LONGEST_OGG_PAGE = 65307
# Programs that write a WAV into a pipe don't know its length and leave one of these or more in its header.
_UNKNOWN_WAV_LENGTH = 0x7FFF0000
# Encoders disagree on whether the frame that holds the length counts, so one frame may lack.
_MP3_SLACK = 1152
# libsndfile's codes for a format it does not recognise; the second is what text named .mp3 gives.
_NO_FORMAT = (1, 7)


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
    """Read a file's header; only an MP3 without a length in its header is decoded.

    Args:
        path: the audio file.

    Returns:
        Its duration, sample rate and channels.

    Raises:
        AudioError: the file is not audio, or is empty, cut off or damaged at first sight.
    """
    with _opened(path) as (sound, rest):
        frames = sound.frames
        if rest is not None:
            frames = 0
            while read_now := len(sound.read(frames=sound.samplerate, dtype="float32")):
                frames += read_now
            _check_rest(path, rest)
        return Info(frames / sound.samplerate, sound.samplerate, sound.channels)


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
    with _opened(path) as (sound, rest):
        rate = sound.samplerate
        longest = limits.max_seconds * rate
        promised = sound.frames
        if rest is None and promised > longest:
            raise AudioError(path, f"longer than {limits.max_seconds:g} s")
        try:
            block = sound.read(frames=int(longest) + rate, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            whole = promised / rate
            raise AudioError(path, f"truncated or damaged: decoding breaks off before its {whole:.1f} s") from error
        if len(block) > longest:
            raise AudioError(path, f"longer than {limits.max_seconds:g} s")
        slack = _MP3_SLACK if sound.format == "MP3" else 0
        if rest is not None:
            _check_rest(path, rest)
        elif len(block) < promised - slack:
            raise AudioError(path, _truncated(promised / rate, len(block) / rate))
    with np.errstate(all="ignore"):
        samples: NDArray[np.float32] = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
    if not len(samples):
        raise AudioError(path, "no samples")
    if not np.isfinite(samples).all():
        raise AudioError(path, "non-finite samples")
    if len(samples) < limits.min_seconds * rate:
        raise AudioError(path, f"shorter than {limits.min_seconds:g} s")
    if np.abs(samples).max() < _SILENT_BELOW:
        raise AudioError(path, "silent")
    return samples, rate


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Bring mono samples from ``rate`` to ``wanted`` Hz; ``n`` samples become ``round(n * wanted / rate)``."""
    if rate == wanted:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, wanted, quality="HQ")
    return resampled


def _check_rest(path: Path, stream: BinaryIO) -> None:
    # libsndfile takes an MP3's length from its first frame's bit rate, and stops there even when more follows.
    if stream.read(1):
        raise AudioError(path, "an MP3 of changing bit rate without a length in its header; convert it to FLAC")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, BinaryIO | None]]:
    """Open a sound file whose container is whole.

    Yields:
        The open file, and, where its number of frames is only a guess, the stream that it is decoded from.
    """
    try:
        size = _size(path)
        with path.open("rb") as stream:
            _look(path, stream, size)
            # As bytes, because soundfile refuses names that are no UTF-8.
            with soundfile.SoundFile(os.fsencode(path)) as sound:
                _check_shape(path, sound)
                if sound.format != "MP3" or _mp3_has_length(stream):
                    yield sound, None
                    return
            # A stream shows how far the decoder got, but is slower than the path.
            stream.seek(0)
            with soundfile.SoundFile(stream) as sound:
                yield sound, stream
    except soundfile.LibsndfileError as error:
        reason = "not audio" if error.code in _NO_FORMAT else f"damaged: {error.error_string.rstrip('.')}"
        raise AudioError(path, reason) from error
    except OSError as error:
        raise AudioError(path, _why_closed(path, error)) from error


def _why_closed(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return why_absent(path)
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return str(error.strerror or error)


def _size(path: Path) -> int:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(path, "a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "not a regular file")
    if not status.st_size:
        raise AudioError(path, "empty file")
    return status.st_size


def _look(path: Path, stream: BinaryIO, size: int) -> None:
    """Refuse what the first and last bytes show to be no whole audio file."""
    head = stream.read(LONGEST_HEAD)
    if reason := why_pointer(head):
        raise AudioError(path, reason)
    if head.startswith(b"RIFF"):
        _check_wav(path, stream, size)
    if head.startswith(b"OggS"):
        _check_ogg(path, stream, size)


def _check_shape(path: Path, sound: soundfile.SoundFile) -> None:
    if sound.format not in _FORMATS:
        raise AudioError(path, f"{sound.format} is not read here; convert it to WAV or FLAC")
    if sound.channels > _MOST_CHANNELS:
        raise AudioError(path, f"{sound.channels} channels, more than {_MOST_CHANNELS}")
    low, high = _RATES
    if not low <= sound.samplerate <= high:
        raise AudioError(path, f"a sample rate of {sound.samplerate} Hz, not within {low} to {high} Hz")
    if sound.frames >= 2**62:
        raise AudioError(path, "no length in its header, as streamed FLAC has; convert it again into a file")


def _truncated(promised: float, held: float) -> str:
    return f"truncated: header says {promised:.1f} s, holds {held:.1f} s"


def _check_wav(path: Path, stream: BinaryIO, size: int) -> None:
    """Check a WAV's data chunk: libsndfile quietly takes what is there of it, however short."""
    stream.seek(12)
    bytes_a_second = 0
    while len(head := stream.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        start = stream.tell()
        if name == b"fmt ":
            bytes_a_second = int.from_bytes(stream.read(12)[8:], "little")
        elif name == b"data":
            if size - start < length < _UNKNOWN_WAV_LENGTH and bytes_a_second:
                raise AudioError(path, _truncated(length / bytes_a_second, (size - start) / bytes_a_second))
            return
        stream.seek(start + length + length % 2)


def _check_ogg(path: Path, stream: BinaryIO, size: int) -> None:
    """The last page of an Ogg stream carries a mark (RFC 3533); without it the end is missing."""
    stream.seek(max(0, size - _LONGEST_OGG_PAGE))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if not table or not page[5] & 4 or len(page) < 27 + len(table) + sum(table):
        raise AudioError(path, "truncated: its last Ogg page is missing")


def _mp3_has_length(stream: BinaryIO) -> bool:
    """Whether the first MPEG frame holds a Xing, Info or VBRI tag, which tells the number of frames."""
    stream.seek(0)
    head = stream.read(10)
    start = 0
    if head.startswith(b"ID3"):
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte
        start = 10 + size
    stream.seek(start)
    frame = stream.read(256)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))
