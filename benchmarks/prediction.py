"""End-to-end prediction with wav2vec2-base against transformers' pipeline, and the share of peak matrix speed.

Both sides open, decode and resample the same files with soundfile and soxr. serlab's start-up
(loading the model) is measured as the time to predict a single file and subtracted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import serlab
from benchmarks import materials
from benchmarks.harness import Outcome, Side, Size, Skipped, Timing, alternate, ratios, seconds
from benchmarks.materials import Clips
from serlab.audio import SAMPLE_RATE
from serlab.checkpoints.weights import quiet
from serlab.core import SerlabError
from serlab.core.progress import say

_PRECISION = {"w2v2-predict-fp32": "fp32", "w2v2-predict-bf16": "bf16", "w2v2-predict-int8": "int8"}
_PEAK = "matrix-peak"
_BATCHES = (1, 4, 8)
_PROBE_CLIPS = 12
_SQUARES, _SQUARES_TOY = (2048, 3072, 4096), (256,)
_ROUNDS = 3


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the given precisions against the pipeline, and peak matrix speed against bf16."""
    model = materials.wav2vec2_base(size)
    wanted = [name for name in _PRECISION if name in rows and _possible(model, name)]
    timed = list(wanted)
    if _PEAK in rows and "w2v2-predict-bf16" not in timed:
        timed.append("w2v2-predict-bf16")
    if not timed:
        raise Skipped("this serlab predicts in none of the precisions asked for")
    sides: dict[str, Side] = {name: _ours(model, _PRECISION[name], size) for name in timed}
    peer = _Pipeline(model, size)
    if wanted:
        sides |= {"peer": peer.fp32, "pipeline-bf16": peer.bf16}
    if _PEAK in rows:
        sides |= {"peak-bf16": _peak(torch.bfloat16, size), "peak-fp32": _peak(torch.float32, size)}
    timings = alternate(sides, size.repeats)
    settings = {
        **materials.described(),
        "checkpoint": f"{model.name}: wav2vec2-base's configuration, random weights",
        "files": sorted({path.suffix[1:] for path in materials.clips(size.clips).paths}),
    }
    outcomes = {name: _beside_pipeline(name, timings, peer, settings) for name in wanted}
    if _PEAK in rows:
        outcomes[_PEAK] = _share(model, timings, size, settings)
    return outcomes


def _beside_pipeline(name: str, timings: dict[str, list[Timing]], peer: _Pipeline, settings: dict[str, Any]) -> Outcome:
    return Outcome(
        {
            "ratio": ratios(timings[name], timings["peer"]),
            "ratio_bf16": ratios(timings[name], timings["pipeline-bf16"]),
        },
        {"serlab": timings[name], **{side: timings[side] for side in ("peer", "pipeline-bf16")}},
        "clip",
        {
            **settings,
            "precision": _PRECISION[name],
            "pipeline_batch_size": peer.batch_size,
            "pipeline_probe_seconds_a_clip": peer.probe,
        },
        [*materials.notes(), peer.note()],
    )


def _possible(model: Path, name: str) -> bool:
    try:
        serlab.load_model(model, precision=_PRECISION[name])
    except SerlabError as error:
        say(f"{name} is skipped: {error}")
        return False
    return True


def _ours(model: Path, precision: str, size: Size) -> Side:
    def run(repeat: int) -> Timing:
        paths = materials.clips(size.clips, repeat).paths
        return predicted(model, paths, precision)

    return run


def predicted(model: Path, paths: Sequence[Path], precision: str) -> Timing:
    """Predict files with serlab; the start-up is the time for one file."""
    first = seconds(lambda: serlab.predict(model, paths[:1], precision=precision))
    whole = seconds(lambda: serlab.predict(model, paths, precision=precision))
    # If noise leaves nothing, the start-up is not subtracted.
    rest = whole - first if whole > first else whole
    return Timing(rest, max(1, len(paths) - 1), start_up=first)


class _Pipeline:
    """Time transformers' pipeline at its best batch size in each precision, found on a few clips beforehand."""

    def __init__(self, model: Path, size: Size) -> None:
        self.model, self.size = model, size
        self.batch_size: dict[str, int] = {}
        self.probe: dict[str, dict[str, float]] = {}

    def fp32(self, repeat: int) -> Timing:
        return self._at_best("fp32", torch.float32, repeat)

    def bf16(self, repeat: int) -> Timing:
        return self._at_best("bf16", torch.bfloat16, repeat)

    def note(self) -> str:
        """What the pipeline takes one clip at a time and in batches, in each precision."""
        parts = [
            f"{precision}: {', '.join(f'{1000 * each:.0f} ms in batches of {batch}' for batch, each in spent.items())}"
            for precision, spent in self.probe.items()
        ]
        return f"The pipeline took, a clip, {'; '.join(parts)}."

    def _at_best(self, precision: str, dtype: torch.dtype, repeat: int) -> Timing:
        start = time.perf_counter()
        pipe = self._build(dtype)
        start_up = time.perf_counter() - start
        if precision not in self.batch_size:
            some = materials.clips(min(_PROBE_CLIPS, self.size.clips))
            self._run(pipe, some.first(1), 1)
            spent = {batch: seconds(self._run, pipe, some, batch) / len(some) for batch in _BATCHES}
            self.probe[precision] = {str(batch): round(each, 4) for batch, each in spent.items()}
            self.batch_size[precision] = min(spent, key=spent.__getitem__)
            say(f"the pipeline's best batch size in {precision} is {self.batch_size[precision]} ({self.probe})")
        return self._time(pipe, repeat, start_up, self.batch_size[precision])

    def _time(self, pipe: Any, repeat: int, start_up: float, batch_size: int) -> Timing:
        clips = materials.clips(self.size.clips, repeat)
        return Timing(seconds(lambda: self._run(pipe, clips, batch_size)), len(clips), start_up)

    def _build(self, dtype: torch.dtype) -> Any:
        from transformers import pipeline

        with quiet():
            return pipeline(
                "audio-classification", model=str(self.model), dtype=dtype, device="cpu", trust_remote_code=False
            )

    @staticmethod
    def _run(pipe: Any, clips: Clips, batch_size: int) -> object:
        return list(pipe(_decoded(clips.paths), batch_size=batch_size))


def _decoded(paths: Sequence[Path]) -> Iterator[Any]:
    """Read and resample files for the pipeline, which needs an additional package to resample."""
    import soundfile
    import soxr

    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        yield {"raw": soxr.resample(samples, rate, SAMPLE_RATE), "sampling_rate": SAMPLE_RATE}


def _peak(dtype: torch.dtype, size: Size) -> Side:
    """Measure the best rate of square matrix products; the unit is GFLOP."""

    def run(_repeat: int) -> Timing:
        best = (1.0, 0.0)
        for width in _SQUARES_TOY if size.tiny else _SQUARES:
            left, right = torch.randn(width, width).to(dtype), torch.randn(width, width).to(dtype)
            gigaflops = 2 * width**3 / 1e9
            for _ in range(_ROUNDS):
                spent = seconds(torch.mm, left, right)
                best = max(best, (spent, gigaflops), key=lambda pair: pair[1] / pair[0])
        return Timing(best[0] / best[1], 1)

    return run


def _share(model: Path, timings: dict[str, list[Timing]], size: Size, settings: dict[str, Any]) -> Outcome:
    """Return the arithmetic rate of bf16 prediction relative to the best peak of all repeats."""
    peak = min(timing.each for timing in timings["peak-bf16"])
    shares, counts = [], []
    for repeat, work in enumerate(timings["w2v2-predict-bf16"]):
        clips = materials.clips(size.clips, repeat)
        counts.append(gigaflops_of(model, clips) / len(clips))
        shares.append(100 * counts[-1] / work.each * peak)
    rates = {f"{name}_gflop_a_second": [1 / t.each for t in timings[f"peak-{name}"]] for name in ("bf16", "fp32")}
    return Outcome(
        {"share": shares},
        {"serlab": timings["w2v2-predict-bf16"]},
        "clip",
        {**settings, "precision": "bf16", "gflop_a_clip": counts, **rates},
        materials.notes(),
    )


def gigaflops_of(model: Path, clips: Clips) -> float:
    """Return the floating-point operations of one forward pass per clip in units of 1e9 (a multiply-add is two)."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForAudioClassification

    config = AutoConfig.from_pretrained(str(model), trust_remote_code=False)
    builder: Any = AutoModelForAudioClassification
    with torch.device("meta"), quiet():
        network = builder.from_config(config, attn_implementation="eager", trust_remote_code=False).eval()
    total = 0.0
    for length, count in Counter(round(file.duration * SAMPLE_RATE) for file in clips.files).items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, length, device="meta"))
        total += count * counter.get_total_flops() / 1e9
    return total
