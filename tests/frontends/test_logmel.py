"""Log-mel: librosa's values, silence at the floor."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest

from serlab.audio import Audio
from serlab.frontends.logmel import FLOOR_DB, LogMel, LogMelSettings


def difference_to_librosa(samples: np.ndarray, settings: LogMelSettings) -> float:
    """Largest difference in dB over the top 80 dB."""
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=16000,
        n_fft=settings.n_fft,
        hop_length=settings.hop,
        n_mels=settings.bands,
        fmin=settings.low,
        fmax=settings.high,
    )
    theirs = librosa.power_to_db(power, amin=1e-10, top_db=None).T
    ours = LogMel(settings)(samples)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs)[theirs > theirs.max() - 80].max())


@pytest.mark.parametrize("settings", [LogMelSettings(), LogMelSettings(bands=64, n_fft=1024, hop=256, low=0.0)])
def test_values_are_librosas(settings: LogMelSettings) -> None:
    time = np.arange(24000) / 16000
    chirp = (0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.01, 24000).astype(np.float32)
    assert difference_to_librosa(chirp + noise, settings) < 2e-3


@pytest.mark.cremad
def test_values_are_librosas_on_real_clips(cremad_root: Path) -> None:
    for path in sorted((cremad_root / "AudioWAV").glob("*.flac"))[::1000]:
        assert difference_to_librosa(Audio.from_file(path).samples, LogMelSettings()) < 2e-3


def test_silence_is_the_floor_in_every_band() -> None:
    features = LogMel(LogMelSettings())(np.zeros(3200, np.float32))
    assert features.shape == (21, 80)
    np.testing.assert_array_equal(features, np.float32(FLOOR_DB))


def test_equal_settings_are_one_configuration() -> None:
    assert LogMel(LogMelSettings()).config == LogMel(LogMelSettings()).config
    assert LogMel(LogMelSettings()).config != LogMel(LogMelSettings(hop=256)).config
