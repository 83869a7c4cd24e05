"""Using a model: latency of one clip in memory, an hour-long recording, live sound, and memory for a long file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

import serlab
from benchmarks import materials
from benchmarks.harness import Outcome, Size, Timing, alternate, ratios, seconds
from benchmarks.memory import predict
from serlab.audio import SAMPLE_RATE
from serlab.checkpoints.weights import quiet
from serlab.core.progress import say

_CLIPS = {"tiny": 3, "quick": 30, "full": 100}
_RECORDING_S = {"tiny": 40, "quick": 300, "full": 3600}
_MEMORY_MIN = {"tiny": (1, 2), "quick": (1, 10), "full": (1, 60)}
_PIECE = SAMPLE_RATE // 10


def arrays(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time one array after the other; both sides have their model loaded and predict one clip first."""
    import torch
    from transformers import pipeline

    folder = materials.wav2vec2_base(size)
    model = serlab.load_model(folder, precision="fp32")
    with quiet():
        pipe = pipeline(
            "audio-classification", model=str(folder), dtype=torch.float32, device="cpu", trust_remote_code=False
        )
    spent: dict[str, list[float]] = {"serlab": [], "peer": []}

    def run(name: str, work: Any, repeat: int) -> Timing:
        clips = materials.clips(_CLIPS[size.name], repeat).samples()
        work(clips[0])
        each = [seconds(work, clip) for clip in clips]
        spent[name] += each
        return Timing(sum(each), len(each))

    timings = alternate(
        {
            "serlab": lambda repeat: run("serlab", lambda clip: model.predict(clip, SAMPLE_RATE), repeat),
            "peer": lambda repeat: run("peer", lambda clip: pipe({"raw": clip, "sampling_rate": SAMPLE_RATE}), repeat),
        },
        size.repeats,
    )
    latency = {
        name: {f"p{share}_ms": float(1000 * np.percentile(each, share)) for share in (50, 95)}
        for name, each in spent.items()
    }
    settings = {**materials.described(), "checkpoint": folder.name, "precision": "fp32", "latency": latency}
    notes = [
        "Milliseconds per clip, median and 95th percentile: "
        + "; ".join(f"{name} {each['p50_ms']:.0f} and {each['p95_ms']:.0f}" for name, each in latency.items())
        + "."
    ]
    outcome = Outcome({"ratio": ratios(timings["serlab"], timings["peer"])}, timings, "clip", settings, notes)
    return dict.fromkeys(rows, outcome)


def recording(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Predict a long recording: seconds of audio per second, against real time."""
    folder = materials.wav2vec2_base(size)
    model = serlab.load_model(folder)
    length = _RECORDING_S[size.name]

    def run(_repeat: int) -> Timing:
        with materials.scratch() as place:
            path = place / "long.wav"
            _write(path, length)
            return Timing(seconds(lambda: sum(1 for _ in model.segments(path, vad="silero"))), length)

    timings = alternate({"serlab": run}, size.repeats)
    settings = _settings(folder, model.precision, seconds=length, window=3, hop=1, vad="silero")
    outcome = Outcome(
        {"ratio": [1 / timing.each for timing in timings["serlab"]]}, timings, "second", settings, materials.notes()
    )
    return dict.fromkeys(rows, outcome)


def live(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Feed tenths of a second as fast as they are taken; the latency is that of a piece that completes a segment."""
    folder = materials.wav2vec2_base(size)
    model = serlab.load_model(folder)
    samples = _samples(min(60, _RECORDING_S[size.name]))

    def run(_repeat: int) -> Timing:
        stream = model.stream(SAMPLE_RATE, vad="silero")
        late, total = [], 0.0
        for place in range(0, len(samples), _PIECE):
            found: list[object] = []
            piece = samples[place : place + _PIECE]
            spent = seconds(lambda piece=piece, found=found: found.extend(stream.feed(piece)))
            total += spent
            late += [spent] if found else []
        extra = {f"p{share}": float(np.percentile(late, share)) for share in (50, 95)}
        return Timing(
            total,
            round(len(samples) / SAMPLE_RATE),
            extra={**extra, "share_of_real_time": total / len(samples) * SAMPLE_RATE},
        )

    timings = alternate({"serlab": run}, size.repeats)
    settings = _settings(folder, model.precision, piece_seconds=0.1, window=3, hop=1, vad="silero")
    notes = ["From the last sample of a segment to the segment, 95th percentile; sound arrives in tenths of a second."]
    outcome = Outcome(
        {"seconds": [timing.extra["p95"] for timing in timings["serlab"]]}, timings, "second", settings, notes
    )
    return dict.fromkeys(rows, outcome)


def memory(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Predict a short and a long recording in separate processes, once."""
    folder = materials.small_model()
    peaks, timings = [], {}
    with materials.scratch() as place:
        for minutes in _MEMORY_MIN[size.name]:
            path = place / f"{minutes}.wav"
            _write(path, 60 * minutes)
            peak, spent, _ = predict(folder, path, place / f"{minutes}.csv", "--window", "3")
            say(f"{minutes} min: peak of {peak:.0f} MiB in {spent:.0f} s")
            peaks.append(peak)
            timings[f"serlab, {minutes} min"] = [Timing(spent, 60 * minutes)]
    settings = _settings(folder, "auto", peak_mib=peaks, minutes=_MEMORY_MIN[size.name])
    outcome = Outcome({"memory": [peaks[1] / peaks[0]]}, timings, "second", settings, materials.notes())
    return dict.fromkeys(rows, outcome)


def _settings(folder: Path, precision: str, **more: Any) -> dict[str, Any]:
    return {**materials.described(), "model": f"{folder.name}: random weights", "precision": precision, **more}


def _samples(length: int) -> NDArray[np.float32]:
    """Clips in a row, again from the start if they are too short."""
    return np.resize(np.concatenate(materials.clips(30).samples()), length * SAMPLE_RATE)


def _write(path: Path, length: int) -> None:
    minute = _samples(60)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for start in range(0, length, 60):
            file.write(minute[: (length - start) * SAMPLE_RATE])
