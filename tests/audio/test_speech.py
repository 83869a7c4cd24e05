"""Speech detection: the frames do not depend on chunks, and speech is distinguished from noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serlab.audio import Audio, speech
from serlab.audio.speech import FRAME, detector
from serlab.core import MachineError, UserError


def frames_of(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.01, (100, FRAME)).astype(np.float32)


@pytest.mark.parametrize("name", ["silero", "energy", "none"])
def test_frames_are_the_same_whatever_the_chunks(name, noise):
    if name == "silero":
        pytest.importorskip("silero_vad")
    loud = noise * np.linspace(0, 20, 100, dtype=np.float32)[:, None]
    chunked = detector(name)
    parts = np.concatenate([chunked.feed(part) for part in np.split(loud, [1, 2, 17, 17, 90])])
    np.testing.assert_array_equal(parts, detector(name).feed(loud))


def test_the_energy_detector_finds_loud_frames(noise):
    found = detector("energy").feed(np.concatenate([noise, 10 * noise[:20], noise]))
    assert found[90:100].sum() == 0
    assert found[100:120].all()
    assert found[130:].sum() == 0


@pytest.mark.cremad
def test_speech_is_speech_and_noise_is_not(cremad_root, noise):
    pytest.importorskip("silero_vad")
    path = sorted((Path(cremad_root) / "AudioWAV").glob("1001_*"))[0]
    words = frames_of(Audio.from_file(path).samples)
    assert (detector("silero").feed(words) > 0.5).mean() > 0.3
    assert (detector("energy").feed(words) > 0.5).mean() > 0.3
    assert (detector("silero").feed(noise) > 0.5).mean() < 0.1


def test_auto_is_silero_if_it_is_installed(monkeypatch):
    monkeypatch.setattr(speech, "has_silero", lambda: False)
    assert detector("auto").name == "energy"
    speech._session.cache_clear()
    with pytest.raises(MachineError, match=r"serlab\[vad\].*, or use vad=energy"):
        detector("silero")
    with pytest.raises(UserError, match="unknown speech detector 'none!'"):
        detector("none!")
