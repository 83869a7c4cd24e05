from __future__ import annotations

import hashlib
import os
import pickle
import time
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serlab import audio
from serlab.audio import Audio, AudioError, Limits, blocks
from serlab.audio.decoding import SoundFiles
from serlab.audio.source import Source

FORMATS = {
    "pcm16.wav": {"subtype": "PCM_16"},
    "pcm24.wav": {"subtype": "PCM_24"},
    "float.wav": {"subtype": "FLOAT"},
    "flac.flac": {},
    "mp3.mp3": {},
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.opus": {"format": "OGG", "subtype": "OPUS"},
}


def reason(path: Path, limits: Limits = audio.DEFAULT_LIMITS) -> str:
    with pytest.raises(AudioError) as caught:
        Audio.from_file(path, limits=limits)
    assert str(path) in str(caught.value)
    return caught.value.reason


def frequency(samples: np.ndarray) -> float:
    """Strongest frequency of a one-second clip, Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * audio.SAMPLE_RATE / len(samples))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_every_format_gives_the_same_tone(tmp_path, make_tone, name, rate):
    path = make_tone(tmp_path / name, seconds=1.0, rate=rate, channels=2, **FORMATS[name])
    samples = Audio.from_file(path).samples
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert frequency(samples) == pytest.approx(220, abs=1)
    assert np.abs(samples[4000:12000]).max() == pytest.approx(0.3, abs=0.02)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert audio.info(path) == audio.Info(sha256, 1.0, rate, 2)


def test_samples_at_16_khz_are_taken_as_they_are(tmp_path):
    written = np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", written, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(Audio.from_file(tmp_path / "a.wav").samples, written)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 8), (44100, 3), (192000, 1)])
def test_channels_are_averaged_and_rates_converted(tmp_path, rate, channels):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "a.wav", np.outer(tone, np.arange(1, channels + 1) / 40), rate, subtype="FLOAT")
    samples = Audio.from_file(tmp_path / "a.wav").samples
    expected = (channels + 1) / 80 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=2e-4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=st.integers(8000, 192000), length=st.integers(20000, 40000), seed=st.integers(0, 99))
def test_length_is_the_resampled_length_and_reading_repeats_to_the_bit(tmp_path, rate, length, seed):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, length), rate)
    samples = Audio.from_file(path).samples
    assert abs(len(samples) - length * 16000 / rate) <= 0.5 + 1e-6
    assert Audio.from_file(path).samples.tobytes() == samples.tobytes()


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    assert reason(tmp_path / "none.wav") == "no such file"
    (tmp_path / "folder.wav").mkdir()
    assert reason(tmp_path / "folder.wav") == "a folder, not a file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert reason(tmp_path / "pipe.wav") == "not a regular file"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.wav", "\ud800.wav"])
def test_an_impossible_name_is_a_fault_of_that_file_alone(tmp_path, name):
    with pytest.raises(AudioError, match="name"):
        Audio.from_file(tmp_path / name)
    assert "name" in audio.info(tmp_path / name).fault


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_a_name_that_is_not_utf_8(tmp_path, make_tone, name):
    made = make_tone(tmp_path / name)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe-" + name.encode()))
    made.rename(odd)
    assert len(Audio.from_file(odd).samples) == 8000


def test_a_file_that_grows_while_it_is_read(tmp_path, make_tone, monkeypatch):
    path = make_tone(tmp_path / "a.wav", seconds=1.0)

    def read(self, *args, **kwargs):
        with path.open("ab") as stream:
            stream.write(bytes(1000))
        return original(self, *args, **kwargs)

    original = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    with pytest.raises(AudioError, match="changed while it was read"):
        Audio.from_file(path)


def test_an_error_of_the_disk_within_a_decoder_is_not_mistaken_for_the_end(tmp_path, make_tone, monkeypatch):
    path = make_tone(tmp_path / "a.mp3", seconds=40)
    path.write_bytes(b"ID3\x03\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256) + path.read_bytes())
    decode = SoundFiles.blocks

    def fail(*_args):
        raise OSError(5, "Input/output error")

    def decoded(self):
        with monkeypatch.context() as patch:
            patch.setattr(Source, "at", fail)
            yield from decode(self)

    monkeypatch.setattr(SoundFiles, "blocks", decoded)
    assert reason(path) == "Input/output error"


def test_eight_channels_are_averaged_as_they_come(tmp_path):
    path = tmp_path / "a.wav"
    part = np.random.default_rng(0).normal(0, 0.1, (192000, 8)).astype(np.float32)
    with soundfile.SoundFile(path, "w", 192000, 8, subtype="FLOAT") as sound:
        for _ in range(10):
            sound.write(part)
    tracemalloc.start()
    samples = Audio.from_file(path).original
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(samples, np.tile(part.mean(axis=1), 10))
    assert peak < 3 * samples.nbytes


def test_no_permission_and_a_failing_disk(tmp_path, make_tone, monkeypatch):
    path = make_tone(tmp_path / "a.wav")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    def fail(*_args, **_kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    assert reason(path) == "no permission to read it"
    monkeypatch.setattr(Path, "open", fail)
    assert reason(path) == "Input/output error"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".opus"])
def test_what_is_not_audio(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    assert reason(path) == "empty file"
    path.write_text("Dear diary, today I shouted at the microphone. " * 40)
    assert reason(path) == "not audio"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:c6f94b25\nsize 72862\n")
    assert "Git LFS pointer" in reason(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_found_in_every_format(tmp_path, make_tone, name, share):
    path = make_tone(tmp_path / name, seconds=2.5, **FORMATS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert reason(path).startswith("truncated")


def test_a_truncated_wav_says_by_how_much(tmp_path, make_tone):
    path = make_tone(tmp_path / "a.wav", seconds=2.5)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 17600])
    assert reason(path) == "truncated: header says 2.5 s, holds 1.1 s"
    info = audio.info(path)
    assert info.fault == "truncated: header says 2.5 s, holds 1.1 s"
    assert (info.sha256, info.sample_rate) == (hashlib.sha256(path.read_bytes()).hexdigest(), 0)
    assert np.isnan(info.duration)


def test_damage_in_the_middle_and_in_the_header(tmp_path, make_tone):
    flac = make_tone(tmp_path / "a.flac", seconds=2.0)
    content = bytearray(flac.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    flac.write_bytes(content)
    assert reason(flac) == "truncated or damaged: decoding breaks off before its 2.0 s"
    wav = make_tone(tmp_path / "a.wav")
    wav.write_bytes(wav.read_bytes()[:20])
    assert reason(wav).startswith("damaged")
    flac.write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(AudioError):
        Audio.from_file(flac)


def test_a_wav_that_holds_no_samples(tmp_path, make_tone):
    header_only = make_tone(tmp_path / "a.wav", seconds=0)
    assert reason(header_only) == "no samples"
    (tmp_path / "chunkless.wav").write_bytes(header_only.read_bytes()[:36])
    with pytest.raises(AudioError):
        Audio.from_file(tmp_path / "chunkless.wav")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_written_into_a_pipe_is_read_to_its_end(tmp_path, make_tone, length):
    path = make_tone(tmp_path / "a.wav", seconds=0.5)
    content = bytearray(path.read_bytes())
    content[40:44] = length.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(Audio.from_file(path).samples) == 8000


def test_dc_only_is_silent_and_sound_on_top_of_dc_is_not(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.full(8000, 3000, np.int16)
    samples[::2] += 1
    soundfile.write(path, samples, 16000)
    assert reason(path) == "silent"
    samples[100] += 3
    soundfile.write(path, samples, 16000)
    assert len(Audio.from_file(path).samples) == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_not_finite(tmp_path, value):
    samples = np.full((8000, 2), 0.1)
    samples[4000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "non-finite samples"


def test_silence_ends_where_two_steps_of_16_bit_begin(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.zeros(8000, np.int16)
    soundfile.write(path, samples, 16000)
    assert reason(path) == "silent"
    samples[100] = 1
    soundfile.write(path, samples, 16000)
    assert reason(path) == "silent"
    samples[100] = -2
    soundfile.write(path, samples, 16000)
    assert len(Audio.from_file(path).samples) == 8000


def test_channels_that_cancel_out_are_silent(tmp_path):
    tone = np.sin(np.arange(8000) / 10)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, -tone], axis=1), 16000, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "silent"


def test_too_many_channels_and_odd_rates(tmp_path, make_tone):
    assert reason(make_tone(tmp_path / "nine.wav", channels=9)) == "9 channels, more than 8"
    assert "4000 Hz" in reason(make_tone(tmp_path / "slow.wav", rate=4000))
    assert "384000 Hz" in reason(make_tone(tmp_path / "fast.wav", rate=384000))


def test_limits_are_inclusive_and_can_be_moved(tmp_path, make_tone):
    path = make_tone(tmp_path / "a.wav", seconds=0.5)
    assert len(Audio.from_file(path, limits=Limits(0.5, 0.5)).samples) == 8000
    assert reason(path, Limits(max_seconds=0.4)) == "longer than 0.4 s"
    assert reason(path, Limits(min_seconds=0.6)) == "shorter than 0.6 s"


@pytest.mark.parametrize(("name", "seconds"), [("a.flac", 3600), ("a.mp3", 600)])
def test_an_overlong_file_is_refused_without_being_decoded(tmp_path, make_tone, name, seconds):
    path = make_tone(tmp_path / name, seconds=seconds, rate=8000)
    before = time.process_time()
    assert reason(path) == "longer than 60 s"
    assert time.process_time() - before < 0.1


def test_an_mp3_behind_an_id3_tag(tmp_path, make_tone):
    path = make_tone(tmp_path / "a.mp3", seconds=1.0)
    path.write_bytes(b"ID3\x03\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256) + path.read_bytes())
    assert len(Audio.from_file(path).samples) == 16000


@pytest.mark.parametrize("name", ["a.raw", "a.RAW", "a.txt", "a"])
def test_any_name_will_do(tmp_path, make_tone, name):
    path = make_tone(tmp_path / "clip.flac").rename(tmp_path / name)
    assert len(Audio.from_file(path).samples) == 8000


def test_content_counts_and_not_the_name(tmp_path, make_tone):
    path = make_tone(tmp_path / "a.mp3", format="WAV")
    path.write_bytes(path.read_bytes() + b"LIST\x04\x00\x00\x00abcd")
    assert len(Audio.from_file(path).samples) == 8000


def test_the_error_survives_a_process_boundary(tmp_path):
    error = pickle.loads(pickle.dumps(AudioError(tmp_path / "a.wav", "silent")))
    assert (error.path, error.reason, error.exit_code) == (tmp_path / "a.wav", "silent", 2)
    assert str(error) == f"{tmp_path / 'a.wav'} cannot be used: silent."


@pytest.mark.parametrize(("name", "how"), [("a.wav", {}), ("a.flac", {"format": "FLAC"}), ("a.ogg", {"format": "OGG"})])
def test_a_file_in_memory_is_read_as_on_disk(make_tone, tmp_path, name, how):
    path = make_tone(tmp_path / name, rate=22050, channels=2, **how)
    content = path.read_bytes()
    found = Audio.from_file(BytesIO(content))
    np.testing.assert_array_equal(found.samples, Audio.from_file(path).samples)
    np.testing.assert_array_equal(np.concatenate(list(blocks(BytesIO(content)))), found.samples)
    assert found.path is None
    with pytest.raises(AudioError, match=r"^the array cannot be used: "):
        Audio.from_file(BytesIO(content[: len(content) // 2]))
