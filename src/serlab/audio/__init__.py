"""Audio: the one way from files to samples, and from folders to files."""

from serlab.audio.find import Found, find_audio, looks_like_audio
from serlab.audio.formats import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from serlab.audio.reading import (
    DECODER,
    DEFAULT_LIMITS,
    SAMPLE_RATE,
    AudioError,
    Info,
    Limits,
    check,
    decode,
    info,
    read,
    resample,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "DECODER",
    "DEFAULT_LIMITS",
    "MEDIA_SUFFIXES",
    "SAMPLE_RATE",
    "AudioError",
    "Found",
    "Info",
    "Limits",
    "check",
    "decode",
    "find_audio",
    "info",
    "looks_like_audio",
    "read",
    "resample",
]
