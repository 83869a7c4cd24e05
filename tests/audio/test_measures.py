"""Level, clipping, bandwidth and speech, in one piece or in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from serlab.audio import Audio
from serlab.audio.measures import Meter, clipped_samples, has_speech

RATE = 16000


def noise(seconds: float = 1.0, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)


def measured(samples: np.ndarray, rate: int = RATE):
    return Meter.of(Audio.from_array(samples, rate))


def test_level_is_the_root_mean_square():
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert measured(wave).level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert measured(wave / 10).level == pytest.approx(measured(wave).level - 20, abs=0.01)


@pytest.mark.parametrize(("rate", "band"), [(8000, 4000), (11025, 5500), (16000, 8000), (44100, 8000)])
def test_the_band_ends_where_the_recording_does(rate, band):
    assert measured(noise(rate=rate), rate).band == pytest.approx(band, abs=250)


def test_a_recording_that_was_once_on_the_telephone_ends_at_4_khz():
    narrow = soxr.resample(soxr.resample(noise(), RATE, 8000), 8000, RATE)
    assert measured(narrow).band == pytest.approx(4000, abs=250)


def test_samples_that_stay_at_full_scale_are_clipped():
    wave = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)
    assert clipped_samples(0.9 * wave) == clipped_samples(np.zeros(0, np.float32)) == 0
    assert measured(wave).clipped == 0
    above = np.abs(2 * wave) >= 1
    assert measured(np.clip(2 * wave, -1, 1)).clipped == pytest.approx(above.mean(), abs=0.01)


def test_blocks_give_the_measures_of_the_whole():
    samples = noise(4)
    meter = Meter()
    for start in range(0, len(samples), 5120):
        meter.hear(samples[start : start + 5120])
        meter.see(samples[start : start + 5120])
    found, whole = meter.measures(), measured(samples)
    assert (found.seconds, found.band, found.clipped) == (whole.seconds, whole.band, whole.clipped)
    assert found.level == pytest.approx(whole.level)


def test_speech_by_the_energy_gate():
    assert has_speech(noise(), "energy")
    assert not has_speech(noise(level=1e-3), "energy")
    assert has_speech(noise(level=1e-3), "none")
    quiet_then_loud = np.concatenate([noise(level=1e-4), noise(0.2)])
    assert has_speech(quiet_then_loud, "energy")
