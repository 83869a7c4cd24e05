"""Time the sides in turn, and read and write result files."""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import ROWS
from serlab.core.files import write_json
from serlab.core.progress import say

FORMAT = 1
HOME = Path(__file__).parent
RESULTS = HOME / "results"
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
_PACKAGES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "pandas", "soundfile", "librosa", "serlab")
_SHARED = ("harness.py", "materials.py", "fitting.py")


@dataclass(frozen=True)
class Size:
    """The amount of work to measure.

    Attributes:
        name: ``full`` is committed, ``quick`` is a quick pass over all rows, ``tiny`` tests the
            code on toy models.
        repeats: number of alternating repeats.
        clips: clips per side and repeat, for prediction.
        steps: steps per side and repeat, for training, after ``warm_up`` dropped steps.
        long_steps: the same for steps on 30 s of audio, after one dropped step.
        precision: of serlab's training; ``auto`` is the default for users.
    """

    name: str
    repeats: int
    clips: int
    steps: int
    long_steps: int
    warm_up: int = 2
    precision: str = "auto"

    @property
    def tiny(self) -> bool:
        """Whether toy models replace those of real size."""
        return self.name == "tiny"


SIZES = {
    "tiny": Size("tiny", repeats=2, clips=6, steps=2, long_steps=1, warm_up=1),
    "quick": Size("quick", repeats=3, clips=60, steps=8, long_steps=1),
    "full": Size("full", repeats=5, clips=240, steps=42, long_steps=8),
}


@dataclass(frozen=True)
class Timing:
    """One repeat of one side: seconds of steady work, number of clips or other units, and start-up seconds."""

    seconds: float
    units: int
    start_up: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def each(self) -> float:
        """Seconds per unit."""
        return self.seconds / self.units


Side = Callable[[int], Timing]
"""Does the work of one repeat, whose number (from 0) it is given."""
Timings = Mapping[str, Sequence[Timing]]


@dataclass(frozen=True)
class Outcome:
    """The result of measuring one row.

    Attributes:
        figures: values to compare with the goals, one per repeat.
        sides: the timings behind them.
        unit: unit of ``Timing.units``.
        settings: batch sizes, precision, checkpoint, corpus and other settings needed to repeat it.
        notes: sentences to show with the figures.
        extra: tables of a row without a ratio.
    """

    figures: Mapping[str, Sequence[float]]
    sides: Timings
    unit: str
    settings: Mapping[str, Any]
    notes: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class Skipped(Exception):  # noqa: N818
    """A row that cannot be measured here; the message gives the reason."""


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Return the duration of a call in seconds."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def alternate(sides: Mapping[str, Side], repeats: int) -> dict[str, list[Timing]]:
    """Run each side once per repeat, in turn, on the same number of threads."""
    import torch

    threads = torch.get_num_threads()
    timings: dict[str, list[Timing]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, side in sides.items():
            gc.collect()
            torch.set_num_threads(threads)
            timing = side(repeat)
            timings[name].append(timing)
            say(f"repeat {repeat + 1}/{repeats}, {name}: {timing.each:.4g} s each, {timing.units} in all")
    return timings


def ratios(ours: Sequence[Timing], peer: Sequence[Timing]) -> list[float]:
    """Return the speedup over the peer for each repeat."""
    return [theirs.each / mine.each for mine, theirs in zip(ours, peer, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    low, middle, high = (float(np.quantile(values, q)) for q in (0, 0.5, 1))
    return {"min": low, "median": middle, "max": high}


@functools.cache
def machine() -> dict[str, Any]:
    """Describe the machine; results of different machines are not mixed."""
    import torch

    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    flags = set(fields.get("flags", "").split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(memory),
        "system": platform.system(),
    }


def kind_of(described: Mapping[str, Any]) -> str:
    """The kind of processor in a description by :func:`machine`: its vendor, and what sets the speed of products.

    >>> kind_of({"processor": "Intel(R) Xeon(R) Processor", "flags": ["avx2", "avx512f", "amx_bf16"]})
    'intel-amx'
    """
    processor, flags = described["processor"].lower(), described["flags"]
    vendor = next((name for name in ("intel", "amd", "apple", "arm") if name in processor), "other")
    kinds = {"amx_bf16": "amx", "avx512_bf16": "avx512-bf16", "avx512f": "avx512", "avx2": "avx2"}
    return "-".join([vendor, *[kind for flag, kind in kinds.items() if flag in flags][:1]])


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that the results depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@functools.cache
def commit() -> str:
    """Return the current commit, marked if the working tree differs from it."""
    git = ["git", "-C", str(HOME), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def code_version(measure: str) -> str:
    """Hash the sources that a row depends on: serlab, the row's module and shared modules.

    A commit that changes none of them (only results or pages) leaves a result valid.
    """
    import serlab

    package = Path(serlab.__file__).parent
    module = measure.partition(":")[0].rpartition(".")[2]
    sources = [*sorted(package.rglob("*.py")), *sorted(package.rglob("*.yaml"))]
    sources += [HOME / name for name in (*_SHARED, f"{module}.py")]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def record(name: str, outcome: Outcome, size: Size) -> dict[str, Any]:
    """Return a row's result in the format of its file."""
    row = ROWS[name]
    figures = {figure: spread(values) for figure, values in outcome.figures.items()}
    return {
        "format": FORMAT,
        "row": name,
        "mode": size.name,
        "precision_asked_for": size.precision,
        "work": row.work,
        "peer": row.peer,
        "extrapolated": row.extrapolated,
        "figures": figures,
        "goals": [
            {
                "figure": goal.figure,
                "goal": goal.goal,
                "stretch": goal.stretch,
                "met": goal.met(figures[goal.figure]["median"]),
            }
            for goal in row.goals_on(kind_of(machine()))
            if goal.figure in figures
        ],
        "sides": {side: _side(timings, outcome.unit) for side, timings in outcome.sides.items()},
        "repeats": max(map(len, outcome.sides.values()), default=0),
        "settings": dict(outcome.settings),
        "notes": list(outcome.notes),
        **outcome.extra,
        "machine": machine(),
        "versions": versions(),
        "code": code_version(row.measure),
        "commit": commit(),
    }


def _side(timings: Sequence[Timing], unit: str) -> dict[str, Any]:
    extra = timings[0].extra if timings else {}
    return {
        f"seconds_a_{unit}": [timing.each for timing in timings],
        f"{unit}s": [timing.units for timing in timings],
        "start_up_seconds": [timing.start_up for timing in timings],
        **{name: [timing.extra[name] for timing in timings] for name in extra},
    }


def load(name: str, folder: Path) -> dict[str, Any] | None:
    """Read a row's result; None if there is no file in this format."""
    try:
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("format") == FORMAT else None


def save(result: Mapping[str, Any], folder: Path) -> None:
    """Write a row's result atomically."""
    write_json(folder / f"{result['row']}.json", result)
