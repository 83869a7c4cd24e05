"""Arrays get the same checks as files: the same samples, to the bit, and the same errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serlab.audio import Audio, AudioError, Limits
from serlab.core import SerlabError

ANY_LENGTH = Limits(0, float("inf"))
TONE = (0.3 * np.sin(np.arange(16000) / 7)).astype(np.float32)

FORMATS = {
    "pcm_u8.wav": {"subtype": "PCM_U8"},
    "pcm16.wav": {"subtype": "PCM_16"},
    "pcm24.wav": {"subtype": "PCM_24"},
    "pcm32.wav": {"subtype": "PCM_32"},
    "float.wav": {"subtype": "FLOAT"},
    "flac.flac": {},
    "mp3.mp3": {},
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.opus": {"format": "OGG", "subtype": "OPUS"},
}


def refused(samples, rate=16000, **options) -> str:
    with pytest.raises(AudioError) as caught:
        Audio.from_array(samples, rate, **options)
    assert isinstance(caught.value, SerlabError)
    assert caught.value.path is None
    assert str(caught.value) == f"the array cannot be used: {caught.value.reason}."
    return caught.value.reason


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_decoded_file_equals_the_file_to_the_bit(tmp_path, make_tone, name, rate, channels, kind):
    path = make_tone(tmp_path / name, seconds=1.3, rate=rate, channels=channels, **FORMATS[name])
    whole = Audio.from_file(path)
    # Not soundfile.read, which seeks to the start first: that changes an MP3 decoder's last bit.
    with soundfile.SoundFile(path) as stream:
        decoded = stream.read(dtype=kind)
    for array in (decoded, decoded.T, np.asfortranarray(decoded)):
        given = Audio.from_array(array, rate)
        np.testing.assert_array_equal(given.original, whole.original)
        np.testing.assert_array_equal(given.samples, whole.samples)
        assert dataclasses.replace(given, path=path).seconds == whole.seconds
        assert (given.sample_rate, given.channels, given.silent) == (rate, channels, False)


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged_as_in_files_whatever_the_axis(tmp_path, channels):
    sound = np.random.default_rng(0).normal(0, 0.1, (4000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    expected = Audio.from_file(tmp_path / "a.wav").samples
    np.testing.assert_array_equal(Audio.from_array(sound, 16000).samples, expected)
    np.testing.assert_array_equal(Audio.from_array(sound.T, 16000).samples, expected)
    np.testing.assert_array_equal(Audio.from_array(np.ascontiguousarray(sound.T), 16000).samples, expected)


@pytest.mark.parametrize(("name", "kind"), [("pcm16.wav", "int16"), ("pcm32.wav", "int32"), ("flac.flac", "int16")])
def test_integers_equal_the_file_they_come_from(tmp_path, make_tone, name, kind):
    path = make_tone(tmp_path / name, seconds=0.5, channels=2, **FORMATS[name])
    decoded, rate = soundfile.read(path, dtype=kind)
    np.testing.assert_array_equal(Audio.from_array(decoded, rate).samples, Audio.from_file(path).samples)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_integers_are_scaled_by_their_range(kind):
    info = np.iinfo(kind)
    values = np.array([info.min, info.max, (info.min + info.max + 1) // 2] * 1000, kind)
    samples = Audio.from_array(values, 16000).samples
    assert samples[0] == -1
    assert samples[1] == pytest.approx(1, abs=0.01)
    assert samples[2] == 0


@pytest.mark.parametrize(
    "samples",
    [TONE.tolist(), torch.from_numpy(TONE), TONE[::-1][::-1], TONE.astype(np.float64), TONE.astype(">f4"), TONE[None]],
    ids=["list", "tensor", "strides", "float64", "big-endian", "one channel"],
)
def test_whatever_numpy_takes(samples):
    np.testing.assert_array_equal(Audio.from_array(samples, 16000).samples, TONE)


def test_the_samples_are_a_copy():
    given = TONE.copy()
    sound = Audio.from_array(given, 16000)
    given[:] = 7
    np.testing.assert_array_equal(sound.samples, TONE)


@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000), np.float32(16000)])
def test_a_rate_is_a_whole_number_of_hz(rate):
    assert Audio.from_array(TONE, rate).sample_rate == 16000


@pytest.mark.parametrize("rate", [0, -16000, 4000, 192001, 384000])
def test_a_rate_that_no_file_may_have(rate):
    assert refused(TONE, rate) == f"a sample rate of {rate} Hz, not within 8000 to 192000 Hz"


@pytest.mark.parametrize("rate", [None, True, "fast", float("nan"), float("inf"), 16000.5, [16000, 16000]])
def test_a_rate_that_is_not_a_number(rate):
    assert refused(TONE, rate) == f"a sample rate of {rate!r}; expected a whole number of Hz"


@pytest.mark.parametrize("samples", [[], np.zeros((0, 2)), np.zeros((2, 0), np.int16), np.zeros(0, bool)])
def test_nothing(samples):
    assert refused(samples, limits=ANY_LENGTH) == "no samples"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample_that_is_not_finite(value, channels):
    samples = np.full((8000, channels), 0.1)
    samples[4000, 0] = value
    assert refused(samples) == "non-finite samples"


@pytest.mark.parametrize("shape", [(), (8, 8), (2, 3), (9, 9), (16000, 9), (1, 1, 16000), (1, 16000, 2)])
def test_a_shape_that_is_not_clear(shape):
    assert refused(np.full(shape, 0.1), limits=ANY_LENGTH).startswith(f"an array of shape {shape}; expected (samples,)")


@pytest.mark.parametrize("kind", ["bool", "complex64", "object", "int64", "uint64", "U8", "M8[s]"])
def test_a_type_whose_scale_is_not_clear(kind):
    assert refused(np.zeros(16000, kind)).endswith("expected floating point or integers of 8, 16 or 32 bits")


@pytest.mark.parametrize(
    "samples", [[[0.1, 0.2], [0.3]], torch.ones(16000, requires_grad=True), torch.ones(9, dtype=torch.bfloat16)]
)
def test_what_is_not_an_array(samples):
    assert refused(samples).startswith("not an array of numbers (")


def test_floats_on_the_scale_of_integers(tmp_path):
    assert len(Audio.from_array(TONE / 0.3 * 7.9, 16000).samples) == 16000
    assert refused(TONE * 32768).startswith("a peak of 98")
    soundfile.write(tmp_path / "a.wav", TONE * 32768, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="a peak of 98"):
        Audio.from_file(tmp_path / "a.wav")


def test_limits_are_those_of_files():
    assert refused(TONE, limits=Limits(max_seconds=0.9)) == "longer than 0.9 s"
    assert refused(TONE, limits=Limits(min_seconds=1.1)) == "shorter than 1.1 s"
    assert refused(TONE[:100]) == "shorter than 0.1 s"
    assert Audio.from_array(TONE, 16000, limits=Limits(1.0, 1.0)).seconds == 1


@pytest.mark.parametrize("level", [0, 0.5])
def test_silence_is_refused_or_flagged(tmp_path, level):
    still = np.full(8000, level, np.float32)
    assert refused(still) == "silent"
    soundfile.write(tmp_path / "a.wav", still, 16000)
    with pytest.raises(AudioError, match="silent"):
        Audio.from_file(tmp_path / "a.wav")
    for sound in (
        Audio.from_array(still, 16000, allow_silence=True),
        Audio.from_file(tmp_path / "a.wav", allow_silence=True),
    ):
        assert sound.silent
        assert len(sound.samples) == 8000
    assert not Audio.from_array(TONE, 16000, allow_silence=True).silent


@settings(max_examples=30)
@given(rate=st.integers(8000, 192000), length=st.integers(1, 50000))
def test_seconds_stay_and_samples_are_resampled(rate, length):
    noise = np.random.default_rng(0).normal(0, 0.1, length)
    sound = Audio.from_array(noise, rate, limits=ANY_LENGTH, allow_silence=True)
    assert sound.seconds == length / rate
    assert abs(len(sound.samples) - length * 16000 / rate) <= 0.5 + 1e-6
    assert sound.samples.dtype == sound.original.dtype == np.float32


def test_audio_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Audio.from_array(TONE, 16000).sample_rate = 8000
