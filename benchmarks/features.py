"""Log-mel of clips against a loop over librosa."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import materials
from benchmarks.harness import Outcome, Size, Timing, alternate, ratios, seconds
from serlab.audio import SAMPLE_RATE
from serlab.frontends.logmel import LogMelSettings

_TIMES = {"tiny": 1, "quick": 4, "full": 4}


def librosa_log_mel(samples: NDArray[np.float32], settings: LogMelSettings) -> NDArray[np.float32]:
    """Compute the same log-mel with librosa, shape (bands, frames)."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=SAMPLE_RATE,
        n_fft=settings.n_fft,
        hop_length=settings.hop,
        n_mels=settings.bands,
        fmin=settings.low,
        fmax=settings.high,
    )
    decibels: NDArray[np.float32] = librosa.power_to_db(mel, top_db=None)
    return decibels


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time both on the same decoded samples."""
    from serlab.frontends.logmel import LogMel

    count = size.clips * _TIMES[size.name]
    chosen = LogMelSettings()
    frontend = LogMel(chosen)
    samples: dict[int, list[NDArray[np.float32]]] = {}

    def of(repeat: int) -> list[NDArray[np.float32]]:
        if repeat not in samples:
            samples.clear()
            samples[repeat] = materials.clips(count, repeat).samples()
        return samples[repeat]

    def side(work: Any) -> Any:
        def run(repeat: int) -> Timing:
            sounds = of(repeat)
            start_up = seconds(lambda: work(sounds[0]))
            return Timing(seconds(lambda: [work(sound) for sound in sounds]), count, start_up)

        return run

    timings = alternate(
        {"serlab": side(frontend), "peer": side(lambda sound: librosa_log_mel(sound, chosen))}, size.repeats
    )
    outcome = Outcome(
        {"ratio": ratios(timings["serlab"], timings["peer"])},
        timings,
        "clip",
        {**materials.described(), **frontend.config, "decoding": "beforehand, on neither side's clock"},
        materials.notes(),
    )
    return dict.fromkeys(rows, outcome)
