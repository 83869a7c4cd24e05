"""How serlab's cost per clip grows with the number and length of clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import materials
from benchmarks.harness import Outcome, Size, seconds
from benchmarks.prediction import predicted
from serlab.audio import SAMPLE_RATE
from serlab.core.progress import say
from serlab.frontends.logmel import LogMelSettings

_COUNTS = {"tiny": (4, 8), "quick": (150, 450, 1050), "full": (1000, 3000, 7000)}
_LENGTHS = {"tiny": (1, 2), "quick": (1, 2, 5, 10, 20, 30), "full": (1, 2, 5, 10, 20, 30)}
_AUDIO_SECONDS = {"tiny": 4, "quick": 40, "full": 240}
_FEWEST = 3


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Measure both series with one run per value."""
    extra = {"by_clips": _by_clips(size), "by_length": _by_length(size)}
    settings = {
        **materials.described(),
        "by_clips": "scan, log-mel from files (cache filled), prediction by a small random model; ms a clip",
        "by_length": "prediction by wav2vec2-base (random) in bf16; ms a second of audio",
    }
    return dict.fromkeys(rows, Outcome({}, {}, "clip", settings, materials.notes(), extra))


def _by_clips(size: Size) -> list[dict[str, Any]]:
    from serlab.corpora.scan import scan
    from serlab.frontends.logmel import LogMel
    from serlab.frontends.store import FeatureStore

    model = materials.small_model()
    found = []
    for count in _COUNTS[size.name]:
        clips = materials.clips(count)
        with materials.empty_cache():
            spent = {
                "scan": seconds(scan, [file.path for file in clips.files], "scan"),
                "log_mel": seconds(FeatureStore(LogMel(LogMelSettings())).many, clips.files, "log-mel"),
            }
        each = {name: 1000 * value / count for name, value in spent.items()}
        each["predict"] = 1000 * predicted(model, clips.paths, "auto").each
        say(f"{count} clips: {', '.join(f'{name} {value:.2f} ms a clip' for name, value in each.items())}")
        found.append({"clips": count, **each})
    return found


def _by_length(size: Size) -> list[dict[str, Any]]:
    model = materials.wav2vec2_base(size)
    speech = np.concatenate(materials.clips(60).samples())
    found = []
    with materials.scratch() as place:
        for length in _LENGTHS[size.name]:
            count = max(_FEWEST, _AUDIO_SECONDS[size.name] // length)
            paths = []
            for number in range(count):
                paths.append(place / f"{length}-{number}.wav")
                start = number * SAMPLE_RATE
                piece = np.take(speech, np.arange(start, start + length * SAMPLE_RATE), mode="wrap")
                soundfile.write(paths[-1], piece, SAMPLE_RATE)
            each = predicted(model, paths, "bf16").each
            say(f"{length} s: {each:.4g} s a clip")
            found.append({"seconds": length, "clips": count, "ms_a_second": 1000 * each / length})
    return found
