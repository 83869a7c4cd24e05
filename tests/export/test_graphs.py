"""The torch module of a model gives the probabilities that serlab predicts, for every architecture that is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import single_thread

from serlab.approaches import plain
from serlab.approaches.encoder import HeadSettings, Settings
from serlab.approaches.encoder.network import from_scratch
from serlab.approaches.network import FittedNetwork, Network, windows
from serlab.approaches.probe import FittedProbe
from serlab.approaches.probe.regression import Probe
from serlab.approaches.probe.states import PooledStates
from serlab.approaches.resnet import Settings as ResNetSettings
from serlab.approaches.resnet.network import ResNet
from serlab.approaches.svm import FittedMachine
from serlab.approaches.svm.machine import RegressedSupportVectorClassifier, SupportVectorClassifier
from serlab.core import UserError
from serlab.export.checking import trial_clips
from serlab.export.graphs import Windowed, graph_of
from serlab.frontends.base import rounded
from serlab.frontends.functionals import Egemaps, MfccStatistics

LABELS = ("calm", "happy", "sad")
SMALL = {
    "initializer_range": 0.2, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip
WAVE = SMALL | {
    "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [40, 8], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
STABLE = WAVE | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
DATA2VEC = {name: value for name, value in WAVE.items() if "conv_pos" not in name} | {
    "num_conv_pos_embeddings": 2,
    "conv_pos_kernel_size": 3,
}
WHISPER = {
    "init_std": 0.2, "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "num_mel_bins": 80,
}  # fmt: skip
WEIGHTED = HeadSettings(kind="pooled", layers="weighted", pooling="attentive")
ENCODERS: dict[str, dict[str, Any]] = {
    "wav2vec2": {"architecture": "wav2vec2", "config": WAVE},
    "wav2vec2-trained-convolutions": {"architecture": "wav2vec2", "config": WAVE, "freeze_conv": False},
    "wav2vec2-stable": {"architecture": "wav2vec2", "config": STABLE, "freeze_layers": 1, "head": WEIGHTED},
    "hubert": {"architecture": "hubert", "config": WAVE, "freeze_layers": 1},
    "wavlm": {"architecture": "wavlm", "config": WAVE, "freeze_layers": 1},
    "data2vec": {"architecture": "data2vec-audio", "config": DATA2VEC},
    "sew": {"architecture": "sew", "config": WAVE | {"squeeze_factor": 2}},
    "conformer": {"architecture": "wav2vec2-conformer", "config": WAVE},
    "whisper": {"architecture": "whisper", "config": WHISPER, "head": WEIGHTED},
    "whisper-frozen": {"architecture": "whisper", "config": WHISPER, "freeze_layers": 1},
}


@pytest.fixture(autouse=True, scope="module")
def quick():
    torch.manual_seed(0)
    with single_thread():
        yield


def predicted(fitted: Any, samples: np.ndarray) -> np.ndarray:
    logits = fitted.logits([fitted.frontend(samples)])[0].astype(np.float64)
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def assert_same(fitted: Any) -> None:
    clips = [clip.samples for clip in trial_clips()]
    wanted = np.array([predicted(fitted, samples) for samples in clips])
    # A model whose answers hardly change with the clip would prove nothing.
    assert np.ptp(wanted, axis=0).max() > 2e-3
    graph = graph_of(fitted)
    with torch.inference_mode():
        found = np.concatenate([graph(torch.from_numpy(samples)[None]).numpy() for samples in clips])
        twice = graph(torch.from_numpy(np.stack([clips[2], clips[2][::-1]]))).numpy()
        alone = graph(torch.from_numpy(clips[2][::-1].copy())[None]).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(twice[1:], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name: str) -> None:
    network = from_scratch(Settings(**ENCODERS[name]), LABELS)
    assert_same(FittedNetwork(network, LABELS, "fp32"))


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_audio_classifiers_of_transformers(name: str, tmp_path: Path) -> None:
    network = from_scratch(Settings(**{**ENCODERS[name], "head": HeadSettings()}), LABELS)
    if name == "whisper":
        # A random head sees little of a clip in 30 s of silence.
        torch.nn.init.normal_(network.hf.classifier.weight, std=0.1)
    FittedNetwork(network, LABELS, "fp32").save(tmp_path)
    assert_same(plain.load(tmp_path, "fp32"))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_features_that_training_rounded_are_rounded(precision: Any) -> None:
    network = from_scratch(Settings(**ENCODERS["wav2vec2"]), LABELS)
    network.frontend = rounded(network.frontend, precision)
    assert_same(FittedNetwork(network, LABELS, "fp32"))


@pytest.mark.parametrize(("stem", "pooling"), [("standard", "mean"), ("small", "mean+std")])
def test_resnets(stem: Any, pooling: Any) -> None:
    settings = ResNetSettings(stem=stem, pooling=pooling, width=8, window=48)
    network = ResNet(settings, LABELS, torch.linspace(-60, -80, 80), torch.full((80,), 15.0))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    assert_same(FittedNetwork(network, LABELS, "fp32"))


def probe_of(width: int, layer: int) -> Probe:
    random = np.random.default_rng(0)
    return Probe(
        mean=random.standard_normal(width),
        scale=random.uniform(0.5, 2, width),
        weight=random.standard_normal((width, 3)),
        bias=random.standard_normal(3),
        layer=np.array(layer),
        penalty=np.array(1.0),
        dev_uar=np.array(0.0),
    )


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_probes(name: str) -> None:
    encoder = from_scratch(Settings(**{**ENCODERS[name], "head": HeadSettings()}), LABELS)
    frontend = PooledStates(encoder, weights_sha256="", precision="fp32")
    assert_same(FittedProbe(probe_of(32, 1), frontend, LABELS))


@pytest.mark.parametrize("kind", [SupportVectorClassifier, RegressedSupportVectorClassifier])
@pytest.mark.parametrize("labels", [2, 3])
def test_support_vector_machines(kind: Any, labels: int) -> None:
    features = np.stack([MfccStatistics()(clip.samples) for clip in trial_clips()] * 4)
    features = features + np.random.default_rng(0).normal(0, 2, features.shape)
    targets = np.arange(len(features)) % labels
    groups = [f"s{number // 6}" for number in range(len(features))]
    machine = kind.fit(features, targets, groups, n_labels=labels, seed=0, penalties=[4.0], gammas=[1e-3])
    assert_same(FittedMachine(machine, MfccStatistics(), LABELS[:labels]))


class _Mean(Network):
    """Returns the first and last frame of a window, so that a wrong window shows."""

    window, fill = 7, -3.0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([features[:, 0], features[:, -1], features.square().mean(dim=1)], dim=1)


@given(st.integers(1, 200), st.integers(2, 40))
@settings(max_examples=80)
def test_windows_are_those_of_prediction(frames: int, length: int) -> None:
    network = _Mean()
    network.window = length
    features = np.random.default_rng(frames).standard_normal((frames, 2)).astype(np.float32)
    pieces = torch.from_numpy(np.stack(windows(features, length, network.fill)))
    wanted = network(pieces).mean(dim=0)
    found = Windowed(network)(torch.from_numpy(features)[None])[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_what_cannot_be_exported_is_refused_by_name() -> None:
    bert = from_scratch(Settings(architecture="wav2vec2-bert", config=SMALL), LABELS)
    with pytest.raises(UserError, match=r"input of this model .SeamlessM4TFeatureExtractor"):
        graph_of(FittedNetwork(bert, LABELS, "fp32"))
    recurrent = {**ENCODERS["wav2vec2"], "head": HeadSettings(kind="pooled", pooling="gru")}
    with pytest.raises(UserError, match=r"recurrent head; train with model\.head\.pooling: mean\+std"):
        graph_of(FittedNetwork(from_scratch(Settings(**recurrent), LABELS), LABELS, "fp32"))
    with pytest.raises(UserError, match=r"openSMILE"):
        graph_of(_egemaps())


def _egemaps() -> FittedMachine:
    machine = FittedMachine.__new__(FittedMachine)
    machine.frontend, machine.machine, machine.labels = Egemaps(), None, LABELS
    return machine
