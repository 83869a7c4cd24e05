"""Peak memory of ``serlab predict`` for ten times as many clips, which should not grow."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks import materials
from benchmarks.harness import Outcome, Size, Skipped, Timing
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core.progress import say

_COUNTS, _COUNTS_TOY = (10_000, 100_000), (50, 200)
_SOURCES = 16
_SECONDS = 0.5
# The process reports its own peak, because the system's value for a child starts at its parent's
# peak.
_PROGRAM = """
import atexit, sys
from pathlib import Path
from serlab.training.memory import PeakMemory

peak, told = PeakMemory(), Path(sys.argv.pop(1))
atexit.register(lambda: told.write_text(str(peak.megabytes())))
from serlab.cli import main
main()
"""


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Predict both numbers of clips in separate processes, once, because memory does not depend on the load."""
    model = materials.small_model()
    peaks: list[float] = []
    timings = {}
    with materials.scratch() as place:
        for count in _COUNTS_TOY if size.tiny else _COUNTS:
            clips = place / f"clips-{count}"
            _link(place, clips, count)
            peak, spent, _ = predict(model, clips, place / f"{count}.csv")
            say(f"{count} clips: peak of {peak:.0f} MiB in {spent:.0f} s")
            peaks.append(peak)
            timings[f"serlab, {count} clips"] = [Timing(spent, count)]
    settings = {
        **materials.described(),
        "model": f"{model.name}: small, random weights",
        "clip_seconds": _SECONDS,
        "peak_mib": peaks,
    }
    outcome = Outcome({"memory": [peaks[1] / peaks[0]]}, timings, "clip", settings, materials.notes())
    return dict.fromkeys(rows, outcome)


def _link(place: Path, folder: Path, count: int) -> None:
    """Make a folder of ``count`` short clips: hard links of a few, cut from real ones."""
    folder.mkdir()
    sources = []
    for number, path in enumerate(materials.clips(_SOURCES).paths):
        source = place / f"source-{number}.wav"
        soundfile.write(source, Audio.from_file(path).samples[-round(_SECONDS * SAMPLE_RATE) :], SAMPLE_RATE)
        sources.append(source)
    for number in range(count):
        os.link(sources[number % _SOURCES], folder / f"{number:06d}.wav")


def predict(model: Path, sounds: Path, table: Path, *options: str) -> tuple[float, float, float]:
    """Predict a file or folder in a separate process.

    Returns:
        Peak resident memory in MiB, seconds, and seconds of processor time.
    """
    told, log = table.with_suffix(".peak"), table.with_suffix(".log")
    command = [sys.executable, "-c", _PROGRAM, str(told), "predict", "--model", str(model)]
    command += ["--out", str(table), str(sounds), *options]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as stream:
        code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    spent, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code not in (0, 1):
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        raise Skipped(f"serlab predict ended with {code}: {lines[-1] if lines else 'no message'}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(told.read_text()), spent, processor
