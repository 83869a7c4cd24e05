"""Realistic copies of a recording: another container, level or rate, trimmed ends, noise, and combinations.

Sounds are mono at 16 kHz.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE

Sound = NDArray[np.float32]

# libsndfile compression levels for about 64 kbit/s in MP3 and 24 kbit/s in Opus.
_MP3, _OPUS = 0.8, 0.94


def encoded(sound: Sound, form: str, subtype: str, rate: int = SAMPLE_RATE, level: float | None = None) -> Sound:
    """Write a sound in another format and rate and read it back."""
    stream = io.BytesIO()
    extra = {} if level is None else {"compression_level": level}
    soundfile.write(stream, _resampled(sound, SAMPLE_RATE, rate), rate, format=form, subtype=subtype, **extra)
    stream.seek(0)
    read, back = soundfile.read(stream, dtype="float32")
    return _resampled(read, back, SAMPLE_RATE)


def mp3(sound: Sound) -> Sound:
    return encoded(sound, "MP3", "MPEG_LAYER_III", 44100, _MP3)


def opus(sound: Sound) -> Sound:
    return encoded(sound, "OGG", "OPUS", 48000, _OPUS)


def wav(sound: Sound, rate: int = SAMPLE_RATE) -> Sound:
    return encoded(sound, "WAV", "PCM_16", rate)


def noisy(sound: Sound) -> Sound:
    """Add white noise 30 dB below the sound."""
    noise = np.random.default_rng(len(sound)).normal(0, np.sqrt(np.mean(sound**2) / 1000), len(sound))
    return (sound + noise).astype(np.float32)


def padded(sound: Sound, before: float = 0.0, after: float = 0.0) -> Sound:
    """Add silence, in seconds that are not a multiple of any frame length."""
    silence = [np.zeros(round(seconds * SAMPLE_RATE) + (seconds > 0), np.float32) for seconds in (before, after)]
    return np.concatenate([silence[0], sound, silence[1]])


def trimmed(sound: Sound, seconds: float = 0.2) -> Sound:
    """Trim both ends."""
    cut = round(seconds * SAMPLE_RATE) + 3
    return sound[cut:-cut]


def _resampled(sound: Sound, rate: int, wanted: int) -> Sound:
    return soxr.resample(sound, rate, wanted).astype(np.float32) if rate != wanted else sound


COPIES: dict[str, Callable[[Sound], Sound]] = {
    "FLAC": lambda sound: encoded(sound, "FLAC", "PCM_16"),
    "MP3, 64 kbit/s": mp3,
    "Opus, 24 kbit/s": opus,
    "8 kHz": lambda sound: wav(sound, 8000),
    "11,025 Hz": lambda sound: wav(sound, 11025),
    "48 kHz": lambda sound: wav(sound, 48000),
    "20 dB louder, clipped where it must": lambda sound: wav(np.clip(10 * sound, -1, 1)),
    "20 dB quieter": lambda sound: wav(0.1 * sound),
    "other polarity": lambda sound: -sound,
    "0.3 s of silence before": lambda sound: padded(sound, before=0.3),
    "0.3 s of silence after": lambda sound: padded(sound, after=0.3),
    "0.2 s trimmed at the start": lambda sound: sound[3203:],
    "0.2 s trimmed at the end": lambda sound: sound[:-3203],
    "shifted by 0.1 s": lambda sound: padded(sound, before=0.1)[: len(sound)],
    "noise 30 dB below": noisy,
}
"""Single changes, by name."""

TOGETHER: dict[str, Callable[[Sound], Sound]] = {
    "Opus, 0.2 s trimmed at both ends, noise": lambda sound: noisy(trimmed(opus(sound))),
    "20 dB quieter, 8 kHz, MP3": lambda sound: mp3(wav(0.1 * sound, 8000)),
    "0.3 s of silence before, 48 kHz, Opus": lambda sound: opus(wav(padded(sound, before=0.3), 48000)),
    "trimmed at both ends, 8 kHz, noise": lambda sound: noisy(wav(trimmed(sound), 8000)),
}
"""Three changes together, by name."""
