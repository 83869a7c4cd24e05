"""Sound files of every format, made in memory, with their known properties."""

from __future__ import annotations

import importlib.util
import io
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

Waves = NDArray[np.float32]

_AAC_FRAME = 1024
_MP3_FRAME = 1152


@dataclass(frozen=True)
class Sound:
    """A sound file and its properties.

    Attributes:
        format: name, e.g. ``wav-pcm16``.
        suffix: the usual file extension.
        data: the bytes.
        seconds: recorded length.
        rate: Hz.
        slack: seconds by which its codec rounds lengths.
        promises: whether the file stores its length.
        unguarded: byte ranges where a changed value may be valid: sizes, rates, channels.
    """

    format: str
    suffix: str
    data: bytes
    seconds: float
    rate: int
    slack: float
    promises: bool
    unguarded: tuple[range, ...]

    @property
    def family(self) -> str:
        """Return the part of the format before the first hyphen."""
        return self.format.partition("-")[0]

    def is_unguarded(self, place: int) -> bool:
        """Return whether a change at a byte may validly change the clip."""
        return any(place in each for each in self.unguarded)


@dataclass(frozen=True)
class _Format:
    suffix: str
    write: Callable[[Waves, int], bytes]
    guard: Callable[[bytes], tuple[range, ...]]
    rates: tuple[int, ...] = (8000, 11025, 16000, 22050, 44100, 48000)
    slack: Callable[[int], float] = lambda rate: 0.0
    promises: bool = True
    channels: tuple[int, ...] = (1, 1, 2)


def make(random: Random, name: str | None = None, *, like: Sound | None = None) -> Sound:
    """Make a sound file.

    Args:
        random: chooses everything else.
        name: the format.
        like: sound to take format and rate from.
    """
    name = like.format if like else name or random.choice(list(FORMATS))
    form = FORMATS[name]
    rate = like.rate if like else random.choice(form.rates)
    frames = round(rate * random.uniform(0.3, 1.6))
    data = form.write(_waves(random, frames, rate, random.choice(form.channels)), rate)
    return Sound(name, form.suffix, data, frames / rate, rate, form.slack(rate), form.promises, form.guard(data))


def _waves(random: Random, frames: int, rate: int, channels: int) -> Waves:
    """Gliding tones and noise; each channel has half the level of the previous one."""
    noise = np.random.default_rng(random.getrandbits(32))
    time = np.arange(frames) / rate
    tone = 0.4 * np.sin(2 * np.pi * random.uniform(120, 900) * time * (1 + 0.2 * time))
    wave = tone + 0.05 * noise.standard_normal(frames)
    return np.stack([wave / 2**channel for channel in range(channels)], axis=1).astype(np.float32)


def _libsndfile(form: str, subtype: str, endian: str | None = None, **how: Any) -> Callable[[Waves, int], bytes]:
    def write(waves: Waves, rate: int) -> bytes:
        stream = io.BytesIO()
        with soundfile.SoundFile(
            stream, "w", rate, waves.shape[1], format=form, subtype=subtype, endian=endian, **how
        ) as sound:
            # Write in blocks: libsndfile overflows its stack on a long Vorbis stream.
            for start in range(0, len(waves), 4096):
                sound.write(waves[start : start + 4096])
        return stream.getvalue()

    return write


def _ffmpeg(
    form: str, codec: str, options: dict[str, str] | None = None, bit_rate: int = 0
) -> Callable[[Waves, int], bytes]:
    def write(waves: Waves, rate: int) -> bytes:
        import av

        # Use a file instead of memory, because "faststart" reopens its output.
        place = Path(tempfile.mkdtemp(prefix="serlab-fuzz-"))
        path = place / "clip"
        with av.open(str(path), "w", format=form, options=options or {}) as container:
            track: Any = container.add_stream(codec, rate=rate)
            if bit_rate:
                track.bit_rate = bit_rate
            layout = "mono" if waves.shape[1] == 1 else "stereo"
            track.layout = layout
            taken = av.codec.Codec(codec, "w").audio_formats
            track.format = taken[0].name if taken else "s16"
            # FFmpeg's resampler converts the samples to a format that the codec accepts.
            resampler = av.AudioResampler(format=track.format, layout=layout, rate=rate, frame_size=0)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waves.T), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for part in [*resampler.resample(frame), None]:
                container.mux(track.encode(part))
        data = path.read_bytes()
        shutil.rmtree(place)
        return data

    return write


def _without_first_frame(write: Callable[[Waves, int], bytes]) -> Callable[[Waves, int], bytes]:
    """An MP3 without the frame that stores its length."""
    return lambda waves, rate: _after_first_frame(write(waves, rate))


def _after_first_frame(data: bytes) -> bytes:
    start = data.find(b"\xff", 1)
    while start > 0 and not (data[start + 1] & 0xE0 == 0xE0 and data[start + 1] == data[1]):
        start = data.find(b"\xff", start + 1)
    return data[start:]


def id3v2(size: int) -> bytes:
    """An ID3 tag before an MP3, padded to about ``size`` bytes."""
    frame = b"TIT2" + struct.pack(">IH", 6, 0) + b"\x00title"[:6]
    body = frame + bytes(max(0, size - len(frame) - 10))
    count = len(body)
    return b"ID3\x03\x00\x00" + bytes((count >> shift) & 127 for shift in (21, 14, 7, 0)) + body


def id3v1() -> bytes:
    """An ID3v1 tag of 128 bytes after an MP3."""
    return b"TAG" + b"title".ljust(30, b"\0") + b"artist".ljust(30, b"\0") + bytes(65)


def apev2() -> bytes:
    """An APE tag with header and footer after an MP3, as from ReplayGain tools."""
    item = struct.pack("<II", 4, 0) + b"Title\0" + b"song"
    size = len(item) + 32
    head, foot = (
        b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, flags) + bytes(8) for flags in (0xA0000000, 0x80000000)
    )
    return head + item + foot


def _until(mark: bytes, extra: int) -> Callable[[bytes], tuple[range, ...]]:
    """Everything up to a few bytes after a marker is unguarded."""
    return lambda data: (range(data.find(mark) + len(mark) + extra),)


def _first(count: int) -> Callable[[bytes], tuple[range, ...]]:
    return lambda data: (range(count),)


def _mp3_guard(data: bytes) -> tuple[range, ...]:
    first = len(data) - len(_after_first_frame(data)) if data[:1] == b"\xff" else 512
    return (range(first + 4),)


def _mp4_guard(data: bytes) -> tuple[range, ...]:
    # The sample tables, which FFmpeg writes at the end, have no checksum.
    return range(64), range(max(0, data.rfind(b"moov") - 4), len(data))


def _everything(data: bytes) -> tuple[range, ...]:
    return (range(len(data)),)


def _nothing(data: bytes) -> tuple[range, ...]:
    return ()


def _mp3_slack(rate: int) -> float:
    return _MP3_FRAME / rate


def _bare_slack(rate: int) -> float:
    return 3 * _MP3_FRAME / rate


def _aac_slack(rate: int) -> float:
    return 2 * _AAC_FRAME / rate


_WAV = _until(b"data", 4)
_OPUS_RATES = (8000, 16000, 24000, 48000)
_AAC_RATES = (16000, 22050, 44100, 48000)
_MP3_RATES = (16000, 22050, 24000, 44100, 48000)
_LAME = _libsndfile("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5)
_LAME_VBR = _libsndfile("MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.5)


def _tagged(write: Callable[[Waves, int], bytes], before: bytes, behind: bytes) -> Callable[[Waves, int], bytes]:
    return lambda waves, rate: before + write(waves, rate) + behind


_LIBSNDFILE: dict[str, _Format] = {
    "wav-pcm16": _Format(".wav", _libsndfile("WAV", "PCM_16"), _WAV),
    "wav-pcm8": _Format(".wav", _libsndfile("WAV", "PCM_U8"), _WAV),
    "wav-pcm24": _Format(".wav", _libsndfile("WAV", "PCM_24"), _WAV),
    "wav-pcm32": _Format(".wav", _libsndfile("WAV", "PCM_32"), _WAV),
    "wav-float": _Format(".wav", _libsndfile("WAV", "FLOAT"), _WAV),
    "wav-double": _Format(".wav", _libsndfile("WAV", "DOUBLE"), _WAV),
    "wav-alaw": _Format(".wav", _libsndfile("WAV", "ALAW"), _WAV),
    "wav-ulaw": _Format(".wav", _libsndfile("WAV", "ULAW"), _WAV),
    "wav-extensible": _Format(".wav", _libsndfile("WAVEX", "PCM_16"), _WAV),
    "wav-rifx": _Format(".wav", _libsndfile("WAV", "PCM_16", "BIG"), _WAV),
    "wav-rf64": _Format(".wav", _libsndfile("RF64", "PCM_16"), _WAV),
    "wav-adpcm": _Format(".wav", _libsndfile("WAV", "IMA_ADPCM"), _WAV, slack=lambda rate: 3 * 2048 / rate),
    "w64-pcm16": _Format(".w64", _libsndfile("W64", "PCM_16"), _until(b"data", 20)),
    "aiff-pcm16": _Format(".aiff", _libsndfile("AIFF", "PCM_16"), _until(b"SSND", 12)),
    "aiff-float": _Format(".aifc", _libsndfile("AIFF", "FLOAT"), _until(b"SSND", 12)),
    "au-pcm16": _Format(".au", _libsndfile("AU", "PCM_16"), _first(32)),
    "caf-pcm16": _Format(".caf", _libsndfile("CAF", "PCM_16"), _until(b"data", 12)),
    "flac-16": _Format(".flac", _libsndfile("FLAC", "PCM_16"), _first(42)),
    "flac-24": _Format(".flac", _libsndfile("FLAC", "PCM_24"), _first(42)),
    "mp3-cbr": _Format(".mp3", _LAME, _mp3_guard, _MP3_RATES, _mp3_slack),
    "mp3-vbr": _Format(".mp3", _LAME_VBR, _mp3_guard, _MP3_RATES, _mp3_slack),
    "mp3-cbr-bare": _Format(".mp3", _without_first_frame(_LAME), _everything, _MP3_RATES, _bare_slack, False),
    "mp3-vbr-bare": _Format(".mp3", _without_first_frame(_LAME_VBR), _everything, _MP3_RATES, _bare_slack, False),
    "mp3-tags": _Format(
        ".mp3",
        _tagged(_LAME_VBR, id3v2(300), apev2() + id3v1()),
        lambda data: (range(1024),),
        _MP3_RATES,
        _mp3_slack,
    ),
    "ogg-vorbis": _Format(".ogg", _libsndfile("OGG", "VORBIS"), _nothing),
    "ogg-opus": _Format(".opus", _libsndfile("OGG", "OPUS"), _nothing, _OPUS_RATES),
}
_FFMPEG: dict[str, _Format] = {
    "wav-mp3": _Format(".wav", _ffmpeg("wav", "libmp3lame"), _everything, _MP3_RATES, _bare_slack),
    "mp3-ffmpeg": _Format(".mp3", _ffmpeg("mp3", "libmp3lame"), _mp3_guard, _MP3_RATES, _mp3_slack),
    "ogg-ffmpeg": _Format(".opus", _ffmpeg("ogg", "libopus"), _nothing, (48000,), lambda rate: 0.02),
    "ogg-flac": _Format(".oga", _ffmpeg("ogg", "flac"), _nothing),
    "m4a-aac": _Format(".m4a", _ffmpeg("ipod", "aac"), _mp4_guard, _AAC_RATES, _aac_slack),
    "m4a-alac": _Format(".m4a", _ffmpeg("ipod", "alac"), _mp4_guard, _AAC_RATES, lambda rate: 0.001),
    "mp4-fast": _Format(".mp4", _ffmpeg("mp4", "aac", {"movflags": "faststart"}), _everything, _AAC_RATES, _aac_slack),
    "mov-pcm": _Format(".mov", _ffmpeg("mov", "pcm_s16le"), _mp4_guard),
    "aac-adts": _Format(".aac", _ffmpeg("adts", "aac"), _everything, _AAC_RATES, _aac_slack, False),
    "webm-opus": _Format(".webm", _ffmpeg("webm", "libopus"), _everything, (48000,), lambda rate: 0.03),
    "mka-flac": _Format(".mka", _ffmpeg("matroska", "flac"), _everything, _AAC_RATES, lambda rate: 0.002),
    "mkv-aac": _Format(".mkv", _ffmpeg("matroska", "aac"), _everything, _AAC_RATES, _aac_slack),
    "wma-2": _Format(".wma", _ffmpeg("asf", "wmav2", bit_rate=96000), _everything, (44100,), lambda rate: 4096 / rate),
    "3gp-amr": _Format(
        ".3gp", _ffmpeg("3gp", "libopencore_amrnb"), _mp4_guard, (8000,), lambda rate: 0.04, channels=(1,)
    ),
}
FORMATS = _LIBSNDFILE | (_FFMPEG if importlib.util.find_spec("av") else {})
"""Formats by name; without PyAV, only those of libsndfile.

Where containers hold sizes everywhere, every byte counts as unguarded: a changed value there may be
valid.
"""
