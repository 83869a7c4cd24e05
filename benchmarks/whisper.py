"""Whisper-base: fine-tuning on each clip's own length against transformers, which pads every clip to 30 s."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import fitting, materials
from benchmarks.harness import Outcome, Size, Timing, alternate, ratios
from serlab.recipes import load_recipe

_BATCH = 16
_LONG_WARM_UP = 1


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time both; the peer runs fewer steps because they are long."""
    checkpoint, what = materials.whisper_base(size)
    recipe = load_recipe(
        "whisper-base",
        [
            f"model.checkpoint={checkpoint}",
            f"training.batch_size={_BATCH}",
            "training.epochs=1",
            "training.select=last",
        ],
        size.precision,
    )
    needed = fitting.clips_needed(_BATCH, size.steps, size.warm_up)
    long_needed = fitting.clips_needed(_BATCH, size.long_steps, _LONG_WARM_UP)

    def serlab(repeat: int) -> Timing:
        clips = materials.clips(needed, repeat)
        return fitting.ours(recipe, clips, steps=size.steps, warm_up=size.warm_up)

    def padded(repeat: int) -> Timing:
        clips = materials.clips(needed, repeat).first(long_needed)
        samples = clips.samples()
        start = time.perf_counter()
        model = fitting.pretrained(checkpoint)
        features = materials.transformers().WhisperFeatureExtractor.from_pretrained(
            str(checkpoint), trust_remote_code=False
        )

        def collate(members: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            chosen = [samples[i] for i in members]
            inputs = features(chosen, sampling_rate=16000, return_tensors="pt")
            return {"input_features": inputs["input_features"]}, torch.from_numpy(clips.targets[list(members)])

        return fitting.peer(
            model,
            collate,
            clips,
            batch_size=_BATCH,
            learning_rate=5e-5,
            steps=size.long_steps,
            warm_up=_LONG_WARM_UP,
            start=start,
        )

    timings = alternate({"serlab": serlab, "peer": padded}, size.repeats)
    settings = {
        **fitting.described(recipe, size),
        **materials.described(),
        "checkpoint": what,
        "peer_warm_up_steps_dropped": _LONG_WARM_UP,
    }
    outcome = Outcome(
        {"ratio": ratios(timings["serlab"], timings["peer"])}, timings, "clip", settings, materials.notes()
    )
    return dict.fromkeys(rows, outcome)
