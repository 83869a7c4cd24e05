"""wav2vec2-base: train all layers, or the top four on cached lower ones; extrapolate to five epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import fitting, harness, materials
from benchmarks.harness import Outcome, Side, Size, Timing, alternate, ratios
from serlab.recipes import Recipe, load_recipe

_BATCH = 8
_EPOCHS = 5
_FROZEN = {"w2v2-train-all": 0, "w2v2-train-top4": 8, "w2v2-train-convolutions": 0}
_CONVOLUTIONS = "w2v2-train-convolutions"
_FROZEN_TOY = 1
_MEASURED = {"w2v2-five-epochs-all": "w2v2-train-all", "w2v2-five-epochs-top4": "w2v2-train-top4"}
# Masks and rates of the preset without LayerDrop, so that both sides compute the same layers.
_FIELDS = {"mask_time_prob": 0.08, "mask_feature_prob": 0.05, "mask_feature_length": 64, "layerdrop": 0.0}


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the training of the given rows against one loop as in common examples."""
    return _beside_loop(size, rows, convolutions=False)


def convolutions(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """The same with the convolutional encoder trained on both sides."""
    return _beside_loop(size, rows, convolutions=True)


def _beside_loop(size: Size, rows: Sequence[str], *, convolutions: bool) -> dict[str, Outcome]:
    checkpoint = materials.wav2vec2_base(size)
    recipes = {name: _recipe(name, checkpoint, size) for name in rows}
    needed = fitting.clips_needed(_BATCH, size.steps, size.warm_up)
    steps = {"steps": size.steps, "warm_up": size.warm_up}

    def serlab(recipe: Recipe) -> Side:
        return lambda repeat: fitting.ours(recipe, materials.clips(needed, repeat), **steps)

    def loop(repeat: int, *, bf16: bool = False) -> Timing:
        clips = materials.clips(needed, repeat)
        samples = clips.samples()
        start = time.perf_counter()
        model = fitting.pretrained(checkpoint, **_FIELDS)
        if not convolutions:
            model.freeze_feature_encoder()
        extractor = _extractor(checkpoint)

        def collate(members: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            chosen = [samples[i] for i in members]
            inputs = extractor(chosen, sampling_rate=16000, padding=True, return_tensors="pt")
            return dict(inputs), torch.from_numpy(clips.targets[list(members)])

        return fitting.peer(
            model, collate, clips, batch_size=_BATCH, learning_rate=3e-5, start=start, bf16=bf16, **steps
        )

    sides: dict[str, Side] = {name: serlab(recipe) for name, recipe in recipes.items()}
    timings = alternate({**sides, "peer": loop, "peer-bf16": partial(loop, bf16=True)}, size.repeats)
    outcomes = {}
    for name, recipe in recipes.items():
        model = recipe.model
        settings = {
            **fitting.described(recipe, size),
            **materials.described(),
            "checkpoint": f"{checkpoint.name}: wav2vec2-base's configuration, random weights",
            "frozen_layers": getattr(model, "freeze_layers", 0),
            "layerdrop": "0 on both sides",
        }
        outcomes[name] = Outcome(*fitting.beside_both(timings[name], timings), "clip", settings, materials.notes())
    return outcomes


def extrapolate(size: Size, rows: Sequence[str], folder: Path) -> dict[str, Outcome]:
    """Extrapolate to five epochs: fill the cache once plus five epochs, against five epochs of the peer."""
    del size
    outcomes = {}
    for name in rows:
        base = harness.load(_MEASURED[name], folder)
        if base is None:
            raise harness.Skipped(f"it is computed from {_MEASURED[name]}, which has no result")
        ours, peer = base["sides"]["serlab"], base["sides"]["peer"]
        mine = [
            Timing(fill + _EPOCHS * each, 1)
            for fill, each in zip(ours["fill_seconds_a_clip"], ours["seconds_a_clip"], strict=True)
        ]
        theirs = [Timing(_EPOCHS * each, 1) for each in peer["seconds_a_clip"]]
        settings = {**base["settings"], "epochs": _EPOCHS, "computed_from": base["row"]}
        outcomes[name] = Outcome(
            {"ratio": ratios(mine, theirs)},
            {"serlab": mine, "peer": theirs},
            "clip",
            settings,
            [*base["notes"], "Extrapolated from seconds a clip at steady state; dev scoring and start-up left aside."],
        )
    return outcomes


def _recipe(name: str, checkpoint: Path, size: Size) -> Recipe:
    frozen = min(_FROZEN[name], _FROZEN_TOY) if size.tiny else _FROZEN[name]
    return load_recipe(
        "wav2vec2-base",
        [
            f"model.checkpoint={checkpoint}",
            "model.config.layerdrop=0.0",
            f"model.freeze_layers={frozen}",
            f"model.freeze_conv={'false' if name == _CONVOLUTIONS else 'true'}",
            f"training.batch_size={_BATCH}",
            "training.epochs=1",
            "training.select=last",
            "training.patience=0",
        ],
        size.precision,
    )


def _extractor(folder: Path) -> Any:
    return materials.transformers().Wav2Vec2FeatureExtractor.from_pretrained(str(folder), trust_remote_code=False)
