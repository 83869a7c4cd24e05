from __future__ import annotations

import builtins
import hashlib
import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from serlab import audio
from serlab.audio import DEFAULT_LIMITS, Audio, AudioError, Limits

WAVE = 0.3 * np.sin(np.arange(32123) ** 1.1 / 30)
# Container, codec, sample rate, and by how much the container may exceed the recorded length.
KINDS = {
    "m4a": ("ipod", "aac", 16000, 16),
    "m4a-alac": ("ipod", "alac", 16000, 16),
    "mov": ("mov", "pcm_s16le", 16000, 0),
    "3gp": ("3gp", "aac", 16000, 16),
    "aac": ("adts", "aac", 16000, 2048),
    "webm": ("webm", "libopus", 48000, 0),
    "mka": ("matroska", "flac", 16000, 0),
    "mkv": ("matroska", "pcm_s16le", 16000, 0),
    "amr": ("amr", "libopencore_amrnb", 8000, 160),
    "avi": ("avi", "pcm_s16le", 16000, 0),
    "flv": ("flv", "libmp3lame", 22050, 2304),
    "ts": ("mpegts", "aac", 16000, 2048),
    "oga": ("ogg", "flac", 16000, 0),
    "wv": ("wv", "wavpack", 16000, 0),
    "tta": ("tta", "tta", 16000, 0),
}


def made(
    kind: str, *, channels: int = 1, layout: str = "", pictures: bool = False, sounds: int = 1, **options: str
) -> bytes:
    """A file with the wave; each further stream has half the amplitude."""
    av = pytest.importorskip("av", reason="the extra media is not installed")
    container, codec, rate, _ = KINDS[kind]
    stream = io.BytesIO()
    with av.open(stream, "w", format=container, options=options) as output:
        try:
            streams = [output.add_stream(codec, rate=rate) for _ in range(sounds)]
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this build of FFmpeg has no {codec}")
        for sound in streams:
            sound.layout = layout or ("mono" if channels == 1 else "stereo")
        video = output.add_stream("mpeg4", rate=10) if pictures else None
        packets = []
        for number, sound in enumerate(streams):
            heights = np.array([1, *[0.5] * (channels - 1)]) / (number + 1)
            samples = (np.outer(WAVE, heights) * 32767).astype("<i2")
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=sound.layout.name)
            frame.sample_rate = 16000
            frame.pts = 0
            packets += [*sound.encode(frame), *sound.encode(None)]
        if video is not None:
            video.width = video.height = 32
            picture = np.zeros((32, 32, 3), np.uint8)
            for _ in range(20):
                packets += video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            packets += video.encode(None)
        for packet in packets:
            output.mux(packet)
    return stream.getvalue()


def original(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[np.ndarray, int]:
    sound = Audio.from_file(path, limits=limits)
    return sound.original, sound.sample_rate


def refused(path: Path, content: bytes, said: str = "") -> None:
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        Audio.from_file(path)
    assert said in caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_its_sound(tmp_path, kind):
    path = tmp_path / f"clip.{kind}"
    path.write_bytes(made(kind))
    samples, rate = original(path)
    _, _, expected, more = KINDS[kind]
    assert rate == expected
    assert 0 <= len(samples) - len(WAVE) * rate // 16000 <= more
    heard = Audio.from_file(path).samples
    delay = int(np.argmax(np.correlate(heard[:8000], WAVE[1000:5000], "valid"))) - 1000
    assert np.corrcoef(heard[4000 + delay : 9000 + delay], WAVE[4000:9000])[0, 1] > 0.9
    assert delay == 0 or kind in ("aac", "ts", "flv", "amr")  # These cannot store how much to skip.
    info = audio.info(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert info.duration == pytest.approx(len(samples) / rate, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_it_is_refused(tmp_path, kind):
    content = made(kind)
    middle = len(content) // 2
    path = tmp_path / "clip"
    refused(path, content[:middle])
    if kind != "tta":  # It ends in a tag.
        refused(path, content[:-5])
    refused(path, content[: middle - 500] + content[middle + 500 :])
    refused(path, content[:middle] + random.Random(0).randbytes(300) + content[middle:])


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_ends_in_a_reason_or_in_a_clip_as_long(tmp_path, kind, capfd):
    content = made(kind)
    path = tmp_path / "clip"
    path.write_bytes(content)
    whole = len(original(path)[0])
    chance = random.Random(kind)
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 20))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            samples, rate = original(path, limits=Limits(max_seconds=600))
        except AudioError:
            continue
        assert abs(len(samples) - whole) / rate < 0.1
    assert capfd.readouterr().err == ""


def test_channels_are_averaged_and_the_first_sound_of_a_video_taken(tmp_path):
    path = tmp_path / "clip.mov"
    path.write_bytes(made("mov", channels=2, pictures=True, sounds=2))
    np.testing.assert_allclose(Audio.from_file(path).samples, 0.75 * WAVE, atol=1e-4)
    assert audio.info(path).channels == 2


@pytest.mark.parametrize("kind", ["m4a", "mka", "wv"])
def test_eight_channels(tmp_path, kind):
    (tmp_path / "clip").write_bytes(made(kind, channels=8, layout="7.1"))
    samples = Audio.from_file(tmp_path / "clip").samples
    assert abs(len(samples) - len(WAVE)) <= KINDS[kind][3]
    np.testing.assert_allclose(samples[2000:30000], 4.5 / 8 * WAVE[2000:30000], atol=0.05 if kind == "m4a" else 0.01)


def plain_flac(bits: int, samples: list[int]) -> bytes:
    """A FLAC of one frame with verbatim samples."""
    width = -(-bits // 8)
    md5 = hashlib.md5(b"".join(each.to_bytes(width, "little", signed=True) for each in samples)).digest()
    figures = (16000 << 44 | bits - 1 << 36 | len(samples)).to_bytes(8, "big")
    info = struct.pack(">HH6x", 4096, 4096) + figures + md5
    head = bytes([0xFF, 0xF8, 0x75, {12: 2, 20: 5, 32: 7}[bits] << 1, 0]) + struct.pack(">H", len(samples) - 1)
    text = "00000010" + "".join(f"{each % (1 << bits):0{bits}b}" for each in samples)
    frame = head + remainder(head, 0x107, 8) + int(text, 2).to_bytes(len(text) // 8, "big")
    return b"fLaC\x80\0\0\x22" + info + frame + remainder(frame, 0x18005, 16)


def remainder(data: bytes, polynomial: int, width: int) -> bytes:
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> width - 1 else 0)
    return value.to_bytes(width // 8, "big")


@pytest.mark.parametrize("bits", [12, 20, 32])
def test_flac_of_bits_that_libsndfile_does_not_read(tmp_path, bits):
    pytest.importorskip("av", reason="the extra media is not installed")
    path = tmp_path / "clip.flac"
    content = plain_flac(bits, [int(each * (1 << bits - 1)) for each in WAVE[:4096]])
    path.write_bytes(content)
    np.testing.assert_allclose(Audio.from_file(path).samples, WAVE[:4096], atol=2 ** (2 - bits) + 1e-6)
    refused(path, content[:-10])
    refused(path, content + bytes(1 << 21), "far more bytes")


def test_a_video_without_sound(tmp_path):
    refused(tmp_path / "clip.mov", made("mov", pictures=True, sounds=0), "a video without sound")


def test_a_fragmented_mp4_and_a_webm_of_unknown_length(tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(made("m4a", movflags="frag_keyframe+empty_moov"))
    assert len(Audio.from_file(path).samples) >= len(WAVE)
    live = made("webm", live="1")
    path.write_bytes(live)
    assert len(Audio.from_file(path).samples) == len(WAVE)
    refused(path, live[:-5], "truncated")


@pytest.mark.parametrize("cut", [60, 100, 300])
def test_an_edit_list_may_leave_out_packets_after_the_end(tmp_path, cut):
    """Some M4A files have packets after their end; that isn't damage."""
    content = bytearray(made("m4a"))
    place = content.index(b"elst") + 12  # After version, flags and the number of entries: milliseconds.
    whole = int.from_bytes(content[place : place + 4], "big")
    content[place : place + 4] = (whole - cut).to_bytes(4, "big")
    (tmp_path / "clip").write_bytes(content)
    assert len(Audio.from_file(tmp_path / "clip").samples) == (whole - cut) * 16


def test_too_long_is_not_decoded(tmp_path):
    (tmp_path / "clip").write_bytes(made("m4a"))
    with pytest.raises(AudioError, match="longer than 1 s"):
        Audio.from_file(tmp_path / "clip", limits=Limits(max_seconds=1))


def test_without_the_extra_the_reason_names_it(tmp_path, monkeypatch):
    (tmp_path / "clip.m4a").write_bytes(made("m4a"))
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AudioError, match=r"needs the extra media: pip install 'serlab\[media\]'"):
        Audio.from_file(tmp_path / "clip.m4a")
    assert audio.info(tmp_path / "clip.m4a").fault.startswith("needs the extra media")


@pytest.mark.parametrize("head", [b".RMF\0\0\0\x12", b"MAC \x96\x0f", b"\0\0\1\xba\x44", b"\x0bw\x12\x34"])
def test_containers_that_cannot_be_checked_are_named(tmp_path, head):
    refused(tmp_path / "clip", head + bytes(2000), "is not read; convert it to WAV or FLAC")
