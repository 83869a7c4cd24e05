"""Concatenated blocks equal the whole, to the bit, in constant memory."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serlab.audio import Audio, AudioError, AudioStream, Limits, blocks
from serlab.core import UserError

ANY_LENGTH = Limits(0, float("inf"))

FORMATS = {
    "pcm16.wav": {"subtype": "PCM_16"},
    "float.wav": {"subtype": "FLOAT"},
    "flac.flac": {},
    "mp3.mp3": {},
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.opus": {"format": "OGG", "subtype": "OPUS"},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_blocks_joined_are_the_whole_file(tmp_path, make_tone, name, rate):
    path = make_tone(tmp_path / name, seconds=13.37, rate=rate, channels=2, **FORMATS[name])
    parts = list(blocks(path))
    assert len(parts) > 1
    assert all(part.dtype == np.float32 and part.ndim == 1 and len(part) for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts), Audio.from_file(path).samples)


@pytest.mark.cremad
def test_real_clips(cremad_root):
    for path in sorted((Path(cremad_root) / "AudioWAV").glob("1001_*"))[:5]:
        np.testing.assert_array_equal(np.concatenate(list(blocks(path))), Audio.from_file(path).samples)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 44100, 47999, 192000]),
    # With 8 samples or fewer, samples and channels of an array are ambiguous.
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=30).filter(lambda sizes: sum(sizes) > 8),
    channels=st.integers(1, 3),
)
def test_pieces_of_any_size_are_the_whole_array(rate, sizes, channels):
    whole = np.random.default_rng(0).integers(-9999, 9999, (sum(sizes), channels), np.int16)
    pieces = [whole[end - size : end] for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)]
    joined = np.concatenate(list(blocks(pieces, sample_rate=rate)))
    expected = Audio.from_array(whole, rate, limits=ANY_LENGTH, allow_silence=True).samples
    np.testing.assert_array_equal(joined, expected)


def test_memory_does_not_grow_and_64_bit_lengths_are_read(tmp_path):
    path, seconds = tmp_path / "day.wav", 24 * 3600
    _sparse_rf64(path, rate=48000, seconds=seconds)
    assert path.stat().st_size > 2**32
    tracemalloc.start()
    stream = blocks(path)
    first = list(itertools.islice(stream, 50))
    stream.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, first)) > 60 * 16000
    assert peak < 60 * 16000 * 4 + 8 * 2**20


def _sparse_rf64(path: Path, rate: int, seconds: int) -> None:
    size = 2 * rate * seconds
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    head = b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<IQQQI", 28, 72 + size, size, rate * seconds, 0)
    with path.open("wb") as stream:
        stream.write(head + b"fmt " + struct.pack("<I", 16) + form + b"data" + b"\xff" * 4)
        stream.truncate(stream.tell() + size)


def test_a_cut_file_is_found_at_its_end_at_the_latest(tmp_path, make_tone):
    path = make_tone(tmp_path / "a.flac", seconds=30, rate=16000)
    path.write_bytes(path.read_bytes()[:-200])
    stream = blocks(path)
    assert len(next(stream)) > 0
    with pytest.raises(AudioError, match="truncated"):
        list(stream)


def test_a_sample_that_is_not_finite_is_found_in_its_block(tmp_path):
    samples = np.full(1_000_000, 0.1)
    samples[900_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    stream = blocks(tmp_path / "a.wav")
    assert len(next(stream)) > 0
    with pytest.raises(AudioError, match=r"a\.wav cannot be used: non-finite samples"):
        list(stream)


def test_a_piece_that_is_refused_leaves_the_stream_as_it_was():
    sound = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    stream = AudioStream(8000)
    ready = [stream.feed(sound[:1000])]
    for bad, reason in [
        ([np.nan], "non-finite samples"),
        ([9.0], "a peak of 9"),
        (np.zeros((5, 2)), "2 channels after pieces with 1"),
        (np.zeros((2, 9)), "a piece of shape"),
        (np.zeros(3, complex), "samples of type complex128"),
    ]:
        with pytest.raises(AudioError, match=reason):
            stream.feed(bad)
    ready += [stream.feed([]), stream.feed(sound[1000:]), stream.flush()]
    np.testing.assert_array_equal(np.concatenate(ready), Audio.from_array(sound, 8000).samples)
    with pytest.raises(UserError, match="was flushed"):
        stream.feed(sound)


def test_what_has_no_rate_or_no_samples(tmp_path, make_tone):
    with pytest.raises(UserError, match="give it in Hz"):
        blocks([[0.1]])
    with pytest.raises(UserError, match="leave it out"):
        blocks(make_tone(tmp_path / "a.wav"), sample_rate=16000)
    with pytest.raises(AudioError, match="no samples"):
        list(blocks([[], []], sample_rate=16000))
    with pytest.raises(AudioError, match="a sample rate of 0 Hz"):
        AudioStream(0)
    with pytest.raises(AudioError, match="no such file"):
        list(blocks(tmp_path / "none.wav"))
