from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

MakeTone = Callable[..., Path]


@pytest.fixture(scope="session")
def cremad_root() -> Path:
    """Folder of the development copy of CREMA-D, which lies beside the repository."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "crema-d"
    if not root.is_dir():
        pytest.skip("the development copy of CREMA-D is not beside the repository")
    return root


@pytest.fixture
def make_tone() -> MakeTone:
    """Write a tone to a file: 0.5 s at 16 kHz, mono, if not told otherwise."""

    def make(
        path: Path, *, seconds: float = 0.5, rate: int = 16000, channels: int = 1, hz: float = 220.0, **how
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
        # In blocks: libsndfile overflows its stack on a long Vorbis stream written at once.
        with soundfile.SoundFile(path, "w", rate, channels, **how) as sound:
            for start in range(0, len(wave), 16384):
                sound.write(np.repeat(wave[start : start + 16384, None], channels, axis=1))
        return path

    return make
