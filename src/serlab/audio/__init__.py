"""Audio: reading samples from files and arrays, and finding files in folders."""

from serlab.audio.find import Found, find_audio, looks_like_audio
from serlab.audio.formats import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from serlab.audio.gate import DECODER, DEFAULT_LIMITS, SAMPLE_RATE, Audio, Limits
from serlab.audio.reading import AudioError, Info, info
from serlab.audio.streaming import AudioStream, blocks, seconds_of

__all__ = [
    "AUDIO_SUFFIXES",
    "DECODER",
    "DEFAULT_LIMITS",
    "MEDIA_SUFFIXES",
    "SAMPLE_RATE",
    "Audio",
    "AudioError",
    "AudioStream",
    "Found",
    "Info",
    "Limits",
    "blocks",
    "find_audio",
    "info",
    "looks_like_audio",
    "seconds_of",
]
