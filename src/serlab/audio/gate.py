"""Checked audio: :class:`Audio` is the only source of samples in serlab, so all code gets the same samples.

A clip becomes mono (mean of its channels) at 16 kHz (soxr, HQ), float32, without gain or trimming.
An incomplete file, an array of unknown scale or shape, and audio that is too short, too long,
silent or not finite raise an :class:`AudioError` whose reason is a short phrase. They never become
silence or a shorter clip.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from serlab.audio.reading import MOST_CHANNELS, AudioError, check_rate, opened
from serlab.audio.source import FaultError

SAMPLE_RATE = 16000
"""Hz; the rate of the samples that models get."""

QUALITY = "HQ"
"""Quality setting of soxr for all resampling."""

DECODER = f"2/libsndfile-{soundfile.__libsndfile_version__}/soxr-{soxr.__version__}"
"""Versions of this module and its libraries; it changes if the same file would give different samples."""

_SILENT_BELOW = 2 / 32768
# Float samples beyond this are integers that were converted without scaling. Mixes and lossy codecs
# stay far below it.
_HIGHEST_PEAK = 8.0


@dataclass(frozen=True)
class Limits:
    """Minimum and maximum length of a clip in seconds, both inclusive."""

    min_seconds: float = 0.1
    max_seconds: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Audio:
    """Checked mono sound. Create it with :meth:`from_file` or :meth:`from_array`, which do all checks.

    Attributes:
        original: mono float32 samples at ``sample_rate``, shape ``(samples,)``, nominally within -1
            to 1.
        sample_rate: of the file or array, in Hz.
        channels: of the file or array, before they were averaged.
        path: the file; None for an array.
        silent: whether all samples are within two 16-bit steps of a constant.
    """

    original: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    channels: int
    path: Path | None
    silent: bool

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str] | BytesIO, *, limits: Limits = DEFAULT_LIMITS, allow_silence: bool = False
    ) -> Audio:
        """Decode a file. The same file gives the same samples, to the bit.

        Args:
            path: WAV, FLAC, MP3, Ogg Vorbis, Opus and others, with 1 to 8 channels at 8 to 192 kHz.
                The content counts, not the name. Or an ``io.BytesIO`` of a file's content.
            limits: minimum and maximum length of the clip. A longer file is not decoded to its end.
            allow_silence: return silent audio with ``silent=True`` instead of raising.

        Raises:
            AudioError: the file cannot be read whole, or is silent, too short, too long or not
                finite.
        """
        source = path if isinstance(path, BytesIO) else Path(path)
        named = None if isinstance(source, BytesIO) else source
        blocks: list[NDArray[np.float32]] = []
        with opened(source) as recording:
            longest, held = limits.max_seconds * recording.rate, 0
            if recording.frames <= longest:
                for block in recording.blocks():
                    blocks.append(mono(block))
                    held += len(block)
                    if held > longest:
                        break
            if max(held, recording.frames) > longest:
                raise FaultError(_too_long(limits))
        samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.empty(0, np.float32)])
        return cls._checked(samples, recording.rate, recording.channels, named, limits, allow_silence)

    @classmethod
    def from_array(
        cls, samples: ArrayLike, sample_rate: int, *, limits: Limits = DEFAULT_LIMITS, allow_silence: bool = False
    ) -> Audio:
        """Check an array. Samples decoded from a file give the same result as :meth:`from_file`, to the bit.

        Args:
            samples: anything that ``numpy.asarray`` accepts. Floating point nominally within -1 to
                1, or integers of 8, 16 or 32 bits, which are divided by half their range; unsigned
                ones are offset binary (128 is zero in uint8). Shape ``(samples,)``, ``(samples,
                channels)`` or ``(channels, samples)`` with at most 8 channels, which are averaged.
            sample_rate: in Hz, 8,000 to 192,000.
            limits: minimum and maximum length of the clip.
            allow_silence: return silent audio with ``silent=True`` instead of raising.

        Raises:
            AudioError: the array is empty, of another type or shape, not finite, beyond 8 in
                floating point, silent, too short or too long, or the sample rate is not possible.

        >>> Audio.from_array(np.sin(np.arange(48000)), 48000)
        Audio(sample_rate=48000, channels=1, path=None, silent=False)
        >>> Audio.from_array([], 16000)
        Traceback (most recent call last):
            ...
        serlab.audio.reading.AudioError: the array cannot be used: no samples.
        """
        try:
            rate = whole_rate(sample_rate)
            frames = frames_of(samples)
        except FaultError as fault:
            raise AudioError(None, str(fault)) from fault
        return cls._checked(mono(frames), rate, frames.shape[1], None, limits, allow_silence)

    @classmethod
    def _checked(
        cls,
        samples: NDArray[np.float32],
        rate: int,
        channels: int,
        path: Path | None,
        limits: Limits,
        allow_silence: bool,
    ) -> Audio:
        fault = _fault(samples, rate, limits)
        silent = not fault and is_silent(samples)
        if silent and not allow_silence:
            fault = "silent"
        if fault:
            raise AudioError(path, fault)
        return cls(samples, rate, channels, path, silent)

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """Samples at 16 kHz, shape ``(samples,)``: ``round(n * 16000 / sample_rate)`` for ``n`` original ones."""
        return self.at(SAMPLE_RATE)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.original) / self.sample_rate

    def at(self, rate: int) -> NDArray[np.float32]:
        """Samples at another rate in Hz, from the original ones."""
        if rate == self.sample_rate:
            return self.original
        resampled: NDArray[np.float32] = soxr.resample(self.original, self.sample_rate, rate, quality=QUALITY)
        return resampled


def mono(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average channels, shape ``(samples, channels)``, always summed in the same order."""
    if frames.shape[1] == 1:
        return frames[:, 0]
    with np.errstate(all="ignore"):
        averaged: NDArray[np.float32] = np.ascontiguousarray(frames).mean(axis=1)
    return averaged


def frames_of(samples: ArrayLike) -> NDArray[np.float32]:
    """Return a copy of an array as float32 of shape ``(samples, channels)``.

    Raises:
        FaultError: it is not an array of samples.
    """
    array = scaled(samples)
    if not array.size:
        raise FaultError("no samples")
    if array.ndim == 1:
        return array[:, np.newaxis]
    small = [size <= MOST_CHANNELS for size in array.shape]
    if array.ndim != 2 or small in ([True, True], [False, False]):
        raise FaultError(
            f"an array of shape {array.shape}; expected (samples,), (samples, channels) or (channels, samples) with "
            f"at most {MOST_CHANNELS} channels and more samples than that"
        )
    return array.T if small[0] else array


def scaled(samples: ArrayLike) -> NDArray[np.float32]:
    """Return a copy of samples as float32, integers scaled to -1 to 1.

    Raises:
        FaultError: they are not numbers of a known scale.
    """
    try:
        array: NDArray[Any] = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FaultError(f"not an array of numbers ({str(error).rstrip('.')})") from error
    kind, bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind == "f" or not array.size:
        with np.errstate(over="ignore"):
            return array.astype(np.float32) if kind in "fiu" else np.zeros(0, np.float32)
    if kind not in "iu" or bits > 32:
        raise FaultError(f"samples of type {array.dtype}; expected floating point or integers of 8, 16 or 32 bits")
    middle = 2.0 ** (bits - 1)
    offset = middle if kind == "u" else 0.0
    # Exact in float64; a single rounding to float32, as libsndfile does.
    return np.asarray((array.astype(np.float64) - offset) / middle, np.float32)


def whole_rate(rate: object) -> int:
    """Check a sample rate in Hz from a caller.

    Raises:
        FaultError: it is not a whole number, or out of range.
    """
    try:
        number = float(rate)  # type: ignore[arg-type]
    except OverflowError:
        raise FaultError("a sample rate far above 192000 Hz") from None
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(rate, bool) or not number.is_integer():
        raise FaultError(f"a sample rate of {rate!r}; expected a whole number of Hz")
    check_rate(int(number))
    return int(number)


def check_samples(samples: NDArray[np.float32]) -> None:
    """Refuse mono samples that are not finite, or on the scale of integers.

    Raises:
        FaultError: they are.
    """
    peak = max(-float(samples.min(initial=0)), float(samples.max(initial=0)))
    if not math.isfinite(peak):
        raise FaultError("non-finite samples")
    if peak > _HIGHEST_PEAK:
        raise FaultError(f"a peak of {peak:g}; expected floating-point samples within -1 to 1")


def _fault(samples: NDArray[np.float32], rate: int, limits: Limits) -> str:
    """Why samples cannot be used, apart from silence; empty if they can."""
    if not len(samples):
        return "no samples"
    if len(samples) > limits.max_seconds * rate:
        return _too_long(limits)
    try:
        check_samples(samples)
    except FaultError as fault:
        return str(fault)
    return f"shorter than {limits.min_seconds:g} s" if len(samples) < limits.min_seconds * rate else ""


def _too_long(limits: Limits) -> str:
    return f"longer than {limits.max_seconds:g} s"


def is_silent(samples: NDArray[np.float32]) -> bool:
    """Whether the samples are constant up to noise: zero, or their mean rounded to a 16-bit step."""
    low, high = float(samples.min()), float(samples.max())
    offset = round(float(samples.mean(dtype=np.float64)) * 32768) / 32768
    return max(-low, high) < _SILENT_BELOW or max(offset - low, high - offset) < _SILENT_BELOW
