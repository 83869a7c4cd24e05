"""Folders that need no serlab give the same logits and labels in plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from tests.conftest import single_thread
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    pipeline,
)

from serlab import load_model
from serlab.approaches.encoder import Settings
from serlab.approaches.encoder.network import from_scratch
from serlab.approaches.network import FittedNetwork
from serlab.approaches.resnet import Settings as ResNetSettings
from serlab.approaches.resnet.network import ResNet

LABELS = ("calm", "happy", "sad")
SMALL = {
    "initializer_range": 0.2, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [40, 8],
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick():
    torch.manual_seed(0)
    with single_thread():
        yield


def sounds() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(0.1 * random.standard_normal(size)).astype(np.float32) for size in (4000, 16000, 40321)]


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_an_encoder_gives_equal_logits(kind: str, frozen: int, tmp_path: Path) -> None:
    settings = Settings(architecture=kind, config=SMALL, freeze_layers=frozen)
    fitted = FittedNetwork(from_scratch(settings, LABELS), LABELS, "fp32")
    wanted = fitted.logits([fitted.frontend(sound) for sound in sounds()])
    assert np.ptp(wanted, axis=0).max() > 0.05
    assert not fitted.needs_serlab
    fitted.save(tmp_path)
    model: Any = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    for sound, row in zip(sounds(), wanted, strict=True):
        with torch.no_grad():
            found = model(**extractor(sound, sampling_rate=16000, return_tensors="pt")).logits[0].numpy()
        np.testing.assert_allclose(found, row, rtol=0, atol=1e-5)


def test_the_pipeline_gives_equal_labels(tiny_models) -> None:
    folder = tiny_models["tiny-wav2vec2"]
    model = load_model(folder, precision="fp32")
    classify = pipeline("audio-classification", str(folder), top_k=None, device="cpu")
    for sound in sounds():
        wanted = model.predict(sound, 16000)
        found = {each["label"]: each["score"] for each in classify({"raw": sound, "sampling_rate": 16000})}
        assert found == pytest.approx(wanted.probabilities, abs=1e-5)
        assert max(found, key=found.__getitem__) == wanted.label


def test_a_standard_resnet_gives_equal_logits(tmp_path: Path) -> None:
    network = ResNet(ResNetSettings(width=8, window=64), LABELS, torch.linspace(-50, -70, 80), torch.full((80,), 12.0))
    fitted = FittedNetwork(network, LABELS, "fp32")
    sound = sounds()[1]
    wanted = fitted.logits([fitted.frontend(sound)])[0]
    fitted.save(tmp_path)
    says = json.loads((tmp_path / "preprocessor_config.json").read_text("utf-8"))
    power = librosa.feature.melspectrogram(
        y=sound, sr=16000, n_fft=says["n_fft"], hop_length=says["hop"], n_mels=says["bands"], fmin=says["low"],
        fmax=says["high"], pad_mode="constant",
    )  # fmt: skip
    levels = 10 * np.log10(np.maximum(power, 1e-10))
    window = says["window"]
    spare = levels.shape[1] - window
    starts = np.linspace(0, spare, 1 + -(-spare // (window // 2))).round().astype(int)
    normal = (levels - np.array(says["mean_db"])[:, None]) / np.array(says["std_db"])[:, None]
    images = np.stack([normal[None, :, start : start + window] for start in starts]).astype(np.float32)
    model: Any = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        found = model(torch.from_numpy(images)).logits.mean(dim=0).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert tuple(model.config.id2label[number] for number in range(3)) == LABELS
