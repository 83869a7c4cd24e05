"""Tones, high and low, as recordings to learn from."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from serlab.frontends.store import ClipFile


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipFile, ...]:
    """Sixteen tones, high and low in turn."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    found = []
    for number in range(16):
        pitch = (1800 if number % 2 == 0 else 300) * random.uniform(0.9, 1.1)
        time = np.arange(6400 + 800 * (number % 3)) / 16000
        samples = 0.2 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 0.01, len(time))
        soundfile.write(folder / f"{number}.wav", samples.astype(np.float32), 16000)
        found.append(ClipFile(str(number), str(folder / f"{number}.wav"), len(time) / 16000))
    return tuple(found)
