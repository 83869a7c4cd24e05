"""ResNet18: training on cached log-mel against an fp32 loop that recomputes librosa's log-mel in every step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import features, fitting, materials
from benchmarks.harness import Outcome, Size, Timing, alternate
from serlab.approaches.resnet import Settings
from serlab.recipes import load_recipe

_BATCH, _BATCH_TOY = 32, 4


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time both with windows of the preset's size."""
    hf = materials.transformers()
    batch = _BATCH_TOY if size.tiny else _BATCH
    recipe = load_recipe("resnet18", ["training.epochs=1", "training.select=last", f"training.batch_size={batch}"])
    model = recipe.model
    assert isinstance(model, Settings)
    needed = fitting.clips_needed(batch, size.steps, size.warm_up)
    steps = {"steps": size.steps, "warm_up": size.warm_up}

    def serlab(repeat: int) -> Timing:
        return fitting.ours(recipe, materials.clips(needed, repeat), **steps)

    def loop(repeat: int, *, bf16: bool = False) -> Timing:
        clips = materials.clips(needed, repeat)
        samples = clips.samples()
        start = time.perf_counter()
        config = hf.ResNetConfig(
            num_channels=1,
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            num_labels=len(materials.corpus().labels),
        )
        network: nn.Module = hf.ResNetForImageClassification(config)

        def collate(members: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            images = []
            for i in members:
                mel = features.librosa_log_mel(samples[i], model.logmel)[:, : model.window]
                images.append(np.pad(mel, ((0, 0), (0, model.window - mel.shape[1])), constant_values=mel.min()))
            pixels = torch.from_numpy(np.stack(images)[:, None].astype(np.float32) / 40 + 1)
            return {"pixel_values": pixels}, torch.from_numpy(clips.targets[list(members)])

        return fitting.peer(
            network, collate, clips, batch_size=batch, learning_rate=1e-3, start=start, bf16=bf16, **steps
        )

    timings = alternate({"serlab": serlab, "peer": loop, "peer-bf16": partial(loop, bf16=True)}, size.repeats)
    settings = {
        **fitting.described(recipe, size),
        **materials.described(),
        "window": f"{model.logmel.bands} bands x {model.window} frames on both sides",
    }
    outcome = Outcome(*fitting.beside_both(timings["serlab"], timings), "clip", settings, materials.notes())
    return dict.fromkeys(rows, outcome)
