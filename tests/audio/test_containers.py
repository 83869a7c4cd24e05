"""Complete files are read completely, and damaged ones are refused, for every container."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab import audio
from serlab.audio import DEFAULT_LIMITS, Audio, AudioError, Limits

LENGTH = 24124
WAVE = (0.3 * np.sin(np.arange(LENGTH) ** 1.1 / 30) + np.random.default_rng(0).normal(0, 0.02, LENGTH)).astype(
    np.float32
)
LINEAR = {
    "wav": {"format": "WAV"},
    "wav-24": {"format": "WAV", "subtype": "PCM_24"},
    "wav-ulaw": {"format": "WAV", "subtype": "ULAW"},
    "rifx": {"format": "WAV", "endian": "BIG"},
    "wavex": {"format": "WAVEX"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF"},
    "aifc": {"format": "AIFF", "subtype": "FLOAT"},
    "au": {"format": "AU"},
    "au-little": {"format": "AU", "endian": "LITTLE"},
    "caf": {"format": "CAF"},
    "nist": {"format": "NIST"},
}
CHECKED = {
    "flac": {"format": "FLAC"},
    "flac-24": {"format": "FLAC", "subtype": "PCM_24"},
    "vorbis": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "bitrate_mode": "CONSTANT"},
    "mp3-vbr": {"format": "MP3", "bitrate_mode": "VARIABLE"},
}


def made(kind: str, wave: np.ndarray = WAVE) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, 16000, **(LINEAR | CHECKED)[kind])
    return stream.getvalue()


def untagged(content: bytes) -> bytes:
    """An MP3 without its first frame, the only one that stores its length."""
    return content[content.index(content[:2], 10) :]


@pytest.fixture
def held(tmp_path):
    """Read a file of these bytes at its own rate."""

    def read(content: bytes | bytearray) -> np.ndarray:
        path = tmp_path / "clip"
        path.write_bytes(content)
        samples, rate = original(path)
        assert rate == 16000
        assert audio.info(path).duration == pytest.approx(len(samples) / rate)
        return samples

    return read


def original(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[np.ndarray, int]:
    sound = Audio.from_file(path, limits=limits)
    return sound.original, sound.sample_rate


def refused(path: Path, content: bytes | bytearray, said: str = "") -> str:
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        Audio.from_file(path)
    assert said in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("kind", LINEAR)
def test_every_linear_container_gives_its_samples(held, kind):
    np.testing.assert_allclose(held(made(kind)), WAVE, atol=0.02 if kind == "wav-ulaw" else 1e-4)


@pytest.mark.parametrize("kind", [*LINEAR, *CHECKED])
@pytest.mark.parametrize("lost", [1, 2, 100, 3001])
def test_the_end_is_missed(tmp_path, kind, lost):
    refused(tmp_path / "clip", made(kind)[:-lost])


@pytest.mark.parametrize("kind", [*LINEAR, *CHECKED])
def test_bytes_lost_or_added_in_the_middle_are_found(tmp_path, held, kind):
    content = made(kind)
    middle = len(content) // 2
    refused(tmp_path / "clip", content[:middle] + content[middle + 700 :])
    refused(tmp_path / "clip", content[:middle] + random.Random(0).randbytes(700) + content[middle:])


@pytest.mark.parametrize("kind", CHECKED)
def test_one_flipped_bit_is_found_if_there_is_a_checksum(tmp_path, kind):
    content = made(kind)
    chance = random.Random(kind)
    for _ in range(20):
        damaged = bytearray(content)
        damaged[chance.randrange(600, len(content) - 10)] ^= 1 << chance.randrange(8)
        refused(tmp_path / "clip", damaged)


@pytest.mark.parametrize("kind", [*LINEAR, *CHECKED])
def test_whatever_happens_to_a_header_no_other_length_is_read_in_silence(tmp_path, kind):
    content = made(kind)
    chance = random.Random(kind)
    path = tmp_path / "clip"
    for _ in range(150):
        damaged = bytearray(content)
        damaged[chance.randrange(96)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            samples, rate = original(path)
        except AudioError:
            continue
        # Some containers store these only once.
        assert len(samples) == LENGTH or kind.startswith("au")
        assert rate == 16000 or kind in ("aiff", "aifc", "au", "au-little", "caf", "nist")


@pytest.mark.parametrize("kind", ["vorbis", "opus", "mp3", "mp3-vbr"])
def test_streams_joined_end_to_end_are_read_one_after_the_other(held, kind):
    first, second = made(kind), made(kind, WAVE[5000:])
    joined = held(first + second)
    np.testing.assert_array_equal(joined, np.concatenate([held(first), held(second)]))
    assert len(joined) == 2 * LENGTH - 5000


@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "au"])
def test_files_joined_end_to_end_that_cannot_be_distinguished_are_refused(tmp_path, kind):
    refused(tmp_path / "clip", 2 * made(kind), "joined end to end; split them")


def test_joined_streams_of_different_rates(tmp_path):
    second = io.BytesIO()
    soundfile.write(second, WAVE, 24000, format="OGG", subtype="VORBIS")
    refused(tmp_path / "clip", made("vorbis") + second.getvalue(), "different rates")


@pytest.mark.parametrize("kind", ["mp3", "mp3-vbr"])
@pytest.mark.parametrize(
    "behind",
    [
        b"TAG" + b"A title".ljust(125, b"\0"),
        b"TAG+" + bytes(223) + b"TAG" + bytes(125),
        bytes(700),
        b"\xff" * 700,
        b"\x20" * 100,
        b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0),
        b"title=of the first version".ljust(40) + b"APETAGEX" + struct.pack("<IIII8x", 1000, 72, 1, 0),
        b"title".ljust(40) + b"APETAGEX" + struct.pack("<IIII8x", 1000, 72, 1, 0) + b"TAG" + bytes(125),
        b"\r\n",
        b"LYRICSBEGININD0000200LYRICS200" + b"TAG" + bytes(125),
        b"ID3\x04\x00\x10" + bytes([0, 0, 0, 5]) + bytes(5) + b"3DI\x04\x00\x10" + bytes([0, 0, 0, 5]),
    ],
    ids=[
        "ID3v1",
        "extended ID3v1",
        "zeros",
        "ones",
        "spaces",
        "APE",
        "APE 1",
        "APE 1 and ID3v1",
        "line end",
        "Lyrics3",
        "ID3v2 with a footer",
    ],
)
def test_tags_and_padding_behind_an_mp3(held, kind, behind, capfd):
    content = made(kind)
    whole = held(content)
    np.testing.assert_array_equal(held(content + behind), whole)
    assert len(whole) == LENGTH
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("behind", [b"\r\n", b"title".ljust(40) + b"APETAGEX" + struct.pack("<IIII8x", 1000, 72, 1, 0)])
def test_bytes_after_an_mp3_without_a_stored_length(held, behind):
    bare = untagged(made("mp3"))
    np.testing.assert_array_equal(held(bare + behind), held(bare))


def test_an_mp3_whose_tag_has_another_number_of_bytes(held, capfd):
    content = bytearray(made("mp3"))
    at = content.index(b"Xing")
    lame = content.index(b"LAME", at)
    content[lame : lame + 36] = bytes(36)  # An encoder without checksums, which does not count the frame of the tag.
    whole = held(content)
    content[at + 12 : at + 16] = (len(content) - 1000).to_bytes(4, "big")
    np.testing.assert_array_equal(held(content), whole)
    assert capfd.readouterr().err == ""


def test_several_tags_before_an_mp3(held, capfd):
    content = made("mp3")
    tag = b"ID3\x04\x00\x10" + bytes([0, 0, 1, 2]) + bytes(130) + b"3DI\x04\x00\x10" + bytes([0, 0, 1, 2])
    np.testing.assert_array_equal(held(tag + tag[:5] + b"\0" + tag[6:140] + content), held(content))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["mp3", "mp3-vbr"])
def test_an_mp3_without_a_length_in_its_header_is_counted(held, kind, tmp_path):
    bare = untagged(made(kind))
    frames = len(held(bare)) / 576
    assert frames == int(frames)
    assert LENGTH < frames * 576 < LENGTH + 4 * 576
    np.testing.assert_allclose(held(bare)[1105 : 1105 + LENGTH], held(made(kind)), atol=1e-6)
    refused(tmp_path / "clip", bare[:-20], "truncated")
    np.testing.assert_array_equal(held(bare + b"TAG" + bytes(125)), held(bare))


def test_an_mp3_that_changes_its_bit_rate_without_saying_so(held):
    wave = np.concatenate([WAVE, np.zeros(48000)])
    for samples in (wave, wave[::-1]):
        content = made("mp3-vbr", samples)
        assert len(held(untagged(content))) >= len(wave)


def test_an_mp3_whose_start_is_missing(tmp_path):
    refused(tmp_path / "clip", made("mp3")[300:], "before its first MPEG frame")


def test_an_mp3_of_free_bit_rate_is_named(tmp_path):
    content = bytearray(untagged(made("mp3")))
    at = content.find(content[:2])
    while at >= 0:
        content[at + 2] &= 0x0F
        at = content.find(content[:2], at + 20)
    refused(tmp_path / "clip", content, "free bit rate is not read; convert it to WAV or FLAC")


def test_mp3_in_wav(held, tmp_path):
    content = made("mp3")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16000, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content))
    wav = b"RIFF" + struct.pack("<I", len(head) + len(content)) + head + content
    np.testing.assert_array_equal(held(wav), held(content))
    refused(tmp_path / "clip", wav[:-50], "truncated")


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000])
@pytest.mark.parametrize("kind", ["wav", "rifx"])
@pytest.mark.parametrize("before", [b"", b"LIST\x04\x00\x00\x00abcd"])
def test_a_wav_whose_header_was_never_closed(held, kind, length, before):
    content = bytearray(made(kind))
    order = "big" if kind == "rifx" else "little"
    content[4:8] = (0 if length == 0 else 0xFFFFFFFF).to_bytes(4, order)
    content[40:44] = length.to_bytes(4, order)
    if before and kind == "wav":
        content[36:36] = before
    np.testing.assert_array_equal(held(content), held(made(kind)))


@pytest.mark.parametrize("kind", ["au", "caf", "aiff"])
def test_other_headers_that_were_never_closed(held, kind):
    content = bytearray(made(kind))
    if kind == "au":
        content[8:12] = b"\xff" * 4
    elif kind == "caf":
        at = content.index(b"data")
        content[at + 4 : at + 12] = b"\xff" * 8
    else:
        at = content.index(b"SSND")
        content[at + 4 : at + 8] = bytes(4)
        at = content.index(b"COMM")
        content[at + 10 : at + 14] = bytes(4)
    np.testing.assert_array_equal(held(content), held(made(kind)))


@pytest.mark.parametrize(
    "behind",
    [
        b"odd \x03\x00\x00\x00abc\0",
        b"odd \x03\x00\x00\x00abc",
        b"LIST\x04\x00\x00\x00abcdid3 \x02\x00\x00\x00ab",
        bytes(9),
    ],
)
def test_chunks_behind_the_data_of_a_wav(held, behind):
    content = bytearray(made("wav") + behind)
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    np.testing.assert_array_equal(held(content), held(made("wav")))


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    """A chunk from programs that omit the byte which makes its length even."""
    return name + struct.pack(order + "I", len(content)) + content


def test_two_odd_chunks_without_their_last_byte_behind_the_data_of_a_wav(held):
    content = bytearray(made("wav") + chunk(b"JUNK", b"q" * 333) + chunk(b"LIST", b"q" * 333))
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    np.testing.assert_array_equal(held(content), held(made("wav")))


def test_odd_chunks_without_their_last_byte_in_an_aiff(held):
    content = made("aiff")
    inside = b"AIFF" + chunk(b"NAME", b"abc", ">") + content[12:] + chunk(b"ANNO", b"abc", ">")
    np.testing.assert_array_equal(held(chunk(b"FORM", inside, ">")), held(content))


@pytest.mark.parametrize("kind", ["wav", "rf64", "w64", "aiff", "au", "caf"])
def test_a_tag_before_other_containers(held, kind, tmp_path):
    content = made(kind)
    tag = b"ID3\x04\0\0\0\0\x01\0" + bytes(128)
    np.testing.assert_array_equal(held(tag + content), held(content))
    refused(tmp_path / "clip", tag + content[:-2000], "truncated")


def test_much_before_the_sound_of_a_caf(held):
    content = made("caf")
    at = content.index(b"data")
    free = b"free" + struct.pack(">Q", 100_000) + bytes(100_000)
    np.testing.assert_array_equal(held(content[:at] + free + content[at:]), held(content))


@pytest.mark.parametrize("kind", ["wav", "aiff", "caf"])
def test_sound_in_two_pieces_is_not_read_by_half(tmp_path, kind):
    content = bytearray(made(kind))
    at = content.index(b"SSND" if kind == "aiff" else b"data")
    content += content[at:]
    if kind != "caf":
        content[4:8] = (len(content) - 8).to_bytes(4, "little" if kind == "wav" else "big")
    refused(tmp_path / "clip", content)


def test_a_wav_whose_data_is_longer_than_its_header_says(tmp_path):
    content = bytearray(made("wav"))
    content[40:44] = (20000).to_bytes(4, "little")
    refused(tmp_path / "clip", content, "unexplained")


@pytest.mark.parametrize("sealed", [True, False])
def test_flac_written_into_a_pipe_is_counted(held, tmp_path, sealed):
    content = bytearray(made("flac"))
    content[21] &= 0xF0  # The last 36 bits of this field are the number of samples.
    content[22:26] = bytes(4)
    if not sealed:
        content[26:42] = bytes(16)
    np.testing.assert_array_equal(held(content), held(made("flac")))
    refused(tmp_path / "clip", content[:-1000])
    frames = [at for at in range(42, len(content)) if content[at : at + 2] == b"\xff\xf8" and content[at + 4] < 6]
    assert len(frames) == 6
    refused(tmp_path / "clip", content[: frames[2]] + content[frames[3] :])


def test_flac_that_differs_from_its_checksum(tmp_path):
    content = bytearray(made("flac"))
    content[26] ^= 1
    refused(tmp_path / "clip", content, "checksum")


def test_a_page_that_is_missing_from_an_ogg(tmp_path):
    content = made("vorbis", np.tile(WAVE, 3))
    pages = [at for at in range(len(content)) if content[at : at + 4] == b"OggS"]
    assert len(pages) > 4
    refused(tmp_path / "clip", content[: pages[3]] + content[pages[4] :], "an Ogg page is missing")


def test_bytes_behind_an_ogg(held):
    np.testing.assert_array_equal(held(made("opus") + b"TAG" + bytes(125)), held(made("opus")))


@pytest.mark.parametrize("kind", [*LINEAR, *CHECKED])
def test_any_bytes_are_read_or_refused(tmp_path, kind, capfd):
    content = made(kind)
    chance = random.Random(kind)
    path = tmp_path / "clip"
    for _ in range(60):
        start = chance.randrange(0, 200)
        path.write_bytes(content[:start] + chance.randbytes(chance.randrange(1, 4000)))
        with pytest.raises(AudioError):
            Audio.from_file(path)
    assert capfd.readouterr().err == ""
