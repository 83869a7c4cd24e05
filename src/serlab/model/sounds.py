"""Input of models: files, checked audio and arrays, as one clip or as blocks of any length."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.audio import Audio, AudioError, Limits, blocks, seconds_of
from serlab.audio.gate import frames_of, whole_rate
from serlab.audio.source import FaultError
from serlab.audio.streaming import Tap
from serlab.core import UserError, argument

NATURAL_SECONDS = 30.0
"""A longer recording is divided into segments."""

Sound = str | os.PathLike[str] | Audio | NDArray[Any]
"""Forms of a clip: the path of a file, checked audio, or an array with its sample rate."""

_PIECE = 1 << 16


def path_of(sound: Sound | Iterable[NDArray[Any]]) -> str | None:
    """The file that a sound comes from, as given."""
    if isinstance(sound, Audio):
        return None if sound.path is None else str(sound.path)
    return os.fspath(sound) if isinstance(sound, (str, os.PathLike)) else None


def audio_of(sound: Sound, sample_rate: int | None) -> Audio | None:
    """Read and check a clip in any form; silence is allowed.

    Args:
        sound: the clip.
        sample_rate: in Hz; required for an array, and not allowed otherwise.

    Returns:
        The clip; None if it is longer than a clip of 30 seconds.

    Raises:
        AudioError: the clip cannot be used.
        UserError: an array without a sample rate, or a sample rate without an array.
    """
    rate = _checked_rate(sound, sample_rate)
    if isinstance(sound, Audio):
        return sound if sound.seconds <= NATURAL_SECONDS else None
    limits = Limits(max_seconds=NATURAL_SECONDS)
    try:
        if isinstance(sound, (str, os.PathLike)):
            return Audio.from_file(sound, limits=limits, allow_silence=True)
        return Audio.from_array(sound, rate, limits=limits, allow_silence=True)
    except AudioError:
        if _seconds(sound, rate) > NATURAL_SECONDS:
            return None
        raise


def blocks_of(
    sound: Sound | Iterable[NDArray[Any]], sample_rate: int | None, tap: Tap | None = None
) -> Iterator[NDArray[np.float32]]:
    """Read a recording of any length as samples at 16 kHz, mono, in blocks of varying length.

    Args:
        sound: the recording, or consecutive arrays.
        sample_rate: in Hz; required for arrays, and not allowed otherwise.
        tap: called with the samples before they are resampled.

    Raises:
        AudioError: a block cannot be used.
        UserError: as for :func:`audio_of`.
    """
    rate = _checked_rate(sound, sample_rate)
    if isinstance(sound, Audio):
        if tap is not None:
            tap(sound.original)
        return iter([sound.samples])
    if isinstance(sound, (str, os.PathLike)):
        return blocks(sound, tap=tap)
    if isinstance(sound, Iterator):
        return blocks(sound, sample_rate=rate, tap=tap)
    frames = _frames(sound)
    return blocks((frames[at : at + _PIECE] for at in range(0, len(frames), _PIECE)), sample_rate=rate, tap=tap)


def _checked_rate(sound: Sound | Iterable[NDArray[Any]], sample_rate: int | None) -> int:
    """The sample rate of arrays as a Python integer; 0 for files and ``Audio``, which have their own."""
    if not isinstance(sound, (str, os.PathLike, Audio)):
        if sample_rate is None:
            raise UserError(f"{argument('sample_rate')} is missing; give the array's sample rate in Hz.")
        try:
            return whole_rate(sample_rate)
        except FaultError as fault:
            raise AudioError(None, str(fault)) from fault
    if sample_rate is not None:
        raise UserError(f"{argument('sample_rate', sample_rate)} is for arrays; leave it out for a file or Audio.")
    return 0


def _seconds(sound: str | os.PathLike[str] | NDArray[Any], rate: int) -> float:
    if isinstance(sound, (str, os.PathLike)):
        return seconds_of(Path(sound))
    return len(_frames(sound)) / rate


def _frames(samples: Any) -> NDArray[np.float32]:
    try:
        return frames_of(samples)
    except FaultError as fault:
        raise AudioError(None, str(fault)) from fault
