"""First and repeated scan of a corpus against a loop over soundfile that fills a pandas table.

serlab also hashes every file; the loop does not. For both, the files are in the operating system's
cache. ``measure_described`` loads many short clips by a description (YAML): names, labels, speakers,
length and hash of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import materials
from benchmarks.harness import Outcome, Size, Timing, Timings, alternate, ratios, seconds

if TYPE_CHECKING:
    import pandas as pd

_TOY = 20
_SPEAKERS, _CLIPS = 100, 100
_RATE = 8000
_DESCRIPTION = r"""
files:
  pattern: (?P<speaker>p\d+)_(?P<label>[a-z]+)_(?P<sentence>\d+)
  codes:
    label: {happy: happy, sad: sad}
"""


def _loop(paths: Sequence[str]) -> pd.DataFrame:
    import pandas as pd
    import soundfile

    found = []
    for path in paths:
        info = soundfile.info(path)
        found.append({"path": path, "duration": info.duration, "sample_rate": info.samplerate})
    return pd.DataFrame(found)


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the first scan, the repeated scan and the loop."""
    from serlab.corpora.scan import scan

    table = materials.corpus().clips
    paths = [path for path in table["path"] if path][: _TOY if size.tiny else None]
    again: list[float] = []

    def first(_repeat: int) -> Timing:
        with materials.empty_cache():
            spent = seconds(lambda: scan(paths, "scan"))
            again.append(seconds(lambda: scan(paths, "scan again")))
        return Timing(spent, len(paths))

    def second(repeat: int) -> Timing:
        return Timing(again[repeat], len(paths))

    def peer(_repeat: int) -> Timing:
        return Timing(seconds(lambda: _loop(paths)), len(paths))

    _loop(paths)
    timings = alternate({"corpus-scan-first": first, "corpus-scan-again": second, "peer": peer}, size.repeats)
    return _outcomes(rows, timings, {**materials.described(), "files": len(paths)}, materials.notes())


def measure_described(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the first load, the repeated load and the loop."""
    from serlab.corpora import load_corpus

    again: list[float] = []
    with materials.scratch() as place:
        paths = _many(place, 2 if size.tiny else _SPEAKERS)
        name = str(place / "many.yaml")

        def first(_repeat: int) -> Timing:
            with materials.empty_cache():
                spent = seconds(lambda: load_corpus(name))
                again.append(seconds(lambda: load_corpus(name)))
            return Timing(spent, len(paths))

        def second(repeat: int) -> Timing:
            return Timing(again[repeat], len(paths))

        def peer(_repeat: int) -> Timing:
            return Timing(seconds(lambda: _loop(paths)), len(paths))

        timings = alternate({"described-first": first, "described-again": second, "peer": peer}, size.repeats)
    settings = {"files": len(paths), "clip_seconds": 1.0, "sample_rate": _RATE}
    return _outcomes(rows, timings, settings, ())


def _many(place: Path, speakers: int) -> list[str]:
    """Write clips of one second of noise, 8 kHz, 16 bits, in a folder per speaker, and their description."""
    import numpy as np
    import soundfile

    generator = np.random.default_rng(0)
    paths = []
    for speaker in range(speakers):
        folder = place / f"p{speaker}"
        folder.mkdir()
        for clip in range(_CLIPS):
            path = folder / f"p{speaker}_{('happy', 'sad')[clip % 2]}_{clip}.wav"
            soundfile.write(path, generator.integers(-9000, 9000, _RATE, dtype=np.int16), _RATE)
            paths.append(str(path))
    (place / "many.yaml").write_text(_DESCRIPTION, encoding="utf-8")
    return paths


def _outcomes(
    rows: Sequence[str], timings: Timings, settings: Mapping[str, Any], notes: Sequence[str]
) -> dict[str, Outcome]:
    return {
        name: Outcome(
            {
                "seconds": [timing.seconds for timing in timings[name]],
                "ratio": ratios(timings[name], timings["peer"]),
            },
            {"serlab": timings[name], "peer": timings["peer"]},
            "file",
            settings,
            notes,
        )
        for name in rows
    }
