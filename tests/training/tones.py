"""Small networks that learn to tell high tones from low ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.approaches.network import Network, score
from serlab.approaches.resnet import Settings as ResNetModel
from serlab.approaches.resnet.network import ResNet
from serlab.frontends.logmel import LogMelSettings
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation, Training
from serlab.training.batches import TrainingBatches
from serlab.training.lesson import Lesson
from serlab.training.loop import fit

LABELS = ("high", "low")
SMALL = ResNetModel(
    stem="small", width=8, pooling="mean+std", dropout=0.1, window=24, logmel=LogMelSettings(bands=16, hop=256)
)
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 3,
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 8, 4],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.3,
    "mask_time_length": 2,
    "layerdrop": 0.2,
}

STILL = {
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
}


def network_of(kind: str) -> Network:
    torch.manual_seed(1)
    if kind == "resnet":
        return ResNet(SMALL, LABELS, torch.full((16,), -50.0), torch.full((16,), 20.0))
    config = {**TINY, **STILL} if kind == "still" else TINY
    return encoder.from_scratch(EncoderModel(architecture="wav2vec2", config=config, freeze_conv=False), LABELS)


def train(
    kind: str,
    files: tuple[ClipFile, ...],
    folder: Path,
    training: Training,
    stop_after: int | None = None,
    lesson: Lesson | None = None,
):
    """Train; ``stop_after`` interrupts after a number of dev scorings, like Ctrl-C."""
    network = network_of(kind)
    store = FeatureStore(network.frontend)
    targets = np.array([int(file.clip) % 2 for file in files])
    batches = TrainingBatches(
        store,
        files,
        np.eye(2, dtype=np.float32)[targets],
        augmentation=Augmentation(),
        batch_size=training.batch_size,
        window=network.window,
        fill=network.fill,
        max_seconds=8.0,
        seed=3,
        lesson=lesson,
    )
    features = [store.get(file) for file in files]
    scored: list[float] = []

    def dev_uar() -> float:
        if len(scored) == stop_after:
            raise KeyboardInterrupt
        scored.append(float((score(network, features, "fp32").argmax(axis=1) == targets).mean()))
        return scored[-1]

    history = asdict(
        fit(network, batches, dev_uar, training=training, precision="fp32", seed=3, folder=folder, title="training")
    )
    return network, history, score(network, features, "fp32")


SETTINGS = Training(epochs=4, batch_size=4, learning_rate=3e-3, head_learning_rate=5e-3)
