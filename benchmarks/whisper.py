"""Whisper-base: fine-tuning on each clip's own length against transformers, which pads every clip to 30 s."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks import fitting, materials
from benchmarks.harness import Outcome, Size, Timing, alternate, ratios, seconds
from serlab.approaches.encoder import Settings as EncoderSettings
from serlab.approaches.encoder.network import from_checkpoint
from serlab.approaches.probe.states import PooledStates
from serlab.audio import Audio
from serlab.core.precision import resolve
from serlab.frontends.store import FeatureStore
from serlab.recipes import load_recipe

_BATCH = 16
_LONG_WARM_UP = 1
_PADDED_CLIPS = 12
"""Clips of the peer in a repeat; padded to 30 s, all take the same time."""


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

    def padded(repeat: int, *, bf16: bool = False) -> Timing:
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
            bf16=bf16,
        )

    timings = alternate({"serlab": serlab, "peer": padded, "peer-bf16": partial(padded, bf16=True)}, size.repeats)
    settings = {
        **fitting.described(recipe, size),
        **materials.described(),
        "checkpoint": what,
        "peer_warm_up_steps_dropped": _LONG_WARM_UP,
    }
    outcome = Outcome(*fitting.beside_both(timings["serlab"], timings), "clip", settings, materials.notes())
    return dict.fromkeys(rows, outcome)


def probe(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the features of whisper-base-probe from files, with an empty cache, against Whisper's encoder on 30 s."""
    checkpoint, what = materials.whisper_base(size)
    precision = resolve(size.precision)
    hf = materials.transformers()

    def serlab(repeat: int) -> Timing:
        clips = materials.clips(size.clips, repeat)
        start = time.perf_counter()
        with materials.empty_cache():
            frozen = from_checkpoint(EncoderSettings(checkpoint=str(checkpoint)), materials.LABELS, precision)
            store = FeatureStore(PooledStates(frozen, weights_sha256="", precision=precision))
            start_up = time.perf_counter() - start
            spent = seconds(store.many, clips.files, "features")
        return Timing(spent, len(clips), start_up)

    def padded(repeat: int) -> Timing:
        clips = materials.clips(size.clips, repeat).first(_PADDED_CLIPS)
        start = time.perf_counter()
        encoder = fitting.pretrained(checkpoint).encoder.eval()
        extractor = hf.WhisperFeatureExtractor.from_pretrained(str(checkpoint), trust_remote_code=False)
        start_up = time.perf_counter() - start

        def work() -> None:
            for path in clips.paths:
                samples = Audio.from_file(path).samples
                inputs = extractor(samples, sampling_rate=16000, return_tensors="pt")
                with torch.inference_mode():
                    states = encoder(**inputs, output_hidden_states=True).hidden_states
                    torch.stack([state.mean(dim=1) for state in states])

        return Timing(seconds(work), len(clips), start_up)

    timings = alternate({"serlab": serlab, "peer": padded}, size.repeats)
    settings = {**materials.described(), "checkpoint": what, "precision": precision, "peer_clips": _PADDED_CLIPS}
    outcome = Outcome(
        {"ratio": ratios(timings["serlab"], timings["peer"])}, timings, "clip", settings, materials.notes()
    )
    return dict.fromkeys(rows, outcome)
