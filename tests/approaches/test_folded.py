"""ResNets with folded batch norms, against their own forward pass."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from serlab.approaches.network import FittedNetwork, score, scored
from serlab.approaches.resnet import Settings, folded
from serlab.approaches.resnet.network import ResNet, from_folder
from serlab.frontends.logmel import LogMelSettings

LABELS = ("angry", "calm", "sad")
BANDS = 32
SMALL = Settings(stem="small", pooling="mean+std", width=8, window=64, logmel=LogMelSettings(bands=BANDS))
STANDARD = Settings(window=64, logmel=LogMelSettings(bands=BANDS))
WAYS = [folded.PLAIN, folded.FOLDED, folded.PACKED]


@pytest.fixture(params=["small", "standard"])
def network(request: pytest.FixtureRequest) -> ResNet:
    """A network with random weights, norms and statistics."""
    return made(SMALL if request.param == "small" else STANDARD)


def made(settings: Settings) -> ResNet:
    torch.manual_seed(0)
    network = ResNet(settings, LABELS, torch.full((BANDS,), -40.0), torch.full((BANDS,), 15.0)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def clips(count: int = 3) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((64, BANDS)) * 15 - 40).astype(np.float32) for _ in range(count)]


def choose(patch: pytest.MonkeyPatch, way: str) -> None:
    patch.setattr(folded, "fastest", lambda _work, ways: way if way in ways() else pytest.fail(f"no way {way}"))


def logits(patch: pytest.MonkeyPatch, way: str, network: ResNet, precision: str = "fp32") -> NDArray[np.float32]:
    choose(patch, way)
    return score(network, clips(), precision)


@pytest.mark.parametrize("way", [folded.FOLDED, folded.PACKED])
def test_logits_and_embeddings_are_those_of_the_modules(
    way: str, network: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, folded.PLAIN)
    wanted = scored(network, clips(), "fp32")
    choose(monkeypatch, way)
    with monkeypatch.context() as patch:
        patch.setattr(nn.BatchNorm2d, "forward", lambda *_: pytest.fail("a norm was computed"))
        patch.setattr(folded, "_trials", lambda *_: {way: None})
        found = scored(network, clips(), "fp32")

    largest = max(1.0, float(np.abs(wanted.logits).max()))
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-5 * largest, rtol=0)
    largest = max(1.0, float(np.abs(wanted.embeddings).max()))
    np.testing.assert_allclose(found.embeddings, wanted.embeddings, atol=1e-5 * largest, rtol=0)


@pytest.mark.parametrize("way", [folded.FOLDED, folded.PACKED])
def test_bf16_is_as_close_to_fp32_as_autocast(way: str, network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = logits(monkeypatch, folded.PLAIN, network)
    usual = logits(monkeypatch, folded.PLAIN, network, "bf16")
    found = logits(monkeypatch, way, network, "bf16")
    assert 0 < np.abs(found - exact).max() <= 1.5 * np.abs(usual - exact).max()


@pytest.mark.parametrize("way", WAYS)
def test_a_clip_does_not_depend_on_its_batch(way: str, network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, way)
    together = score(network, clips(7), "fp32")
    alone = np.concatenate([score(network, [clip], "fp32") for clip in clips(7)])
    np.testing.assert_allclose(together, alone, atol=1e-5 * max(1.0, float(np.abs(alone).max())), rtol=0)


def test_training_after_a_prediction_is_the_same_and_is_seen(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused optimiser steps do not mark the weights as changed."""
    other = copy.deepcopy(network)
    before = logits(monkeypatch, folded.PACKED, network)
    for each in (network, other):
        torch.manual_seed(1)
        each.train()
        optimizer = torch.optim.AdamW(each.parameters(), lr=0.01, fused=True)
        each(torch.from_numpy(np.stack(clips()))).square().sum().backward()
        optimizer.step()
    for name, value in other.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name

    after = logits(monkeypatch, folded.PACKED, network)

    wanted = logits(monkeypatch, folded.PLAIN, other)
    np.testing.assert_allclose(after, wanted, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))
    assert np.abs(after - before).max() > 1e-3


def test_loaded_and_averaged_weights_are_seen(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    logits(monkeypatch, folded.PACKED, network)
    with torch.no_grad():
        network.get_buffer(next(name for name, _ in network.named_buffers() if "running_mean" in name)).add_(1.0)
    wanted = logits(monkeypatch, folded.PLAIN, network)
    np.testing.assert_allclose(logits(monkeypatch, folded.PACKED, network), wanted, atol=1e-5)


def test_a_copy_predicts_with_its_own_weights(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = logits(monkeypatch, folded.PACKED, network)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    assert np.abs(logits(monkeypatch, folded.PACKED, other) - before).max() > 1e-3
    np.testing.assert_array_equal(logits(monkeypatch, folded.PACKED, network), before)


def test_a_model_saved_after_a_prediction_is_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = made(SMALL)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    network.save_weights(tmp_path / "before")

    found = logits(monkeypatch, folded.PACKED, network)
    FittedNetwork(network, LABELS, "fp32").save(tmp_path / "after")

    for file in ("config.json", "model.safetensors", "preprocessor_config.json"):
        assert (tmp_path / "after" / file).read_bytes() == (tmp_path / "before" / file).read_bytes()
    loaded = from_folder(tmp_path / "after", SMALL, LABELS)
    np.testing.assert_allclose(logits(monkeypatch, folded.PACKED, loaded), found, atol=1e-6)


def test_gradients_and_exports_use_the_modules(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded, "fastest", lambda *_: pytest.fail("a way was chosen"))
    features = torch.from_numpy(np.stack(clips())).requires_grad_()
    network(features).sum().backward()
    assert features.grad is not None
    with torch.no_grad():
        program = torch.export.export(network, (features.detach(),))
    assert any("batch_norm" in str(node.target) for node in program.graph.nodes)


def test_the_trials_compute_the_same(network: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without oneDNN has two ways."""
    offered: list[list[str]] = []
    monkeypatch.setattr(folded, "fastest", lambda _, ways: offered.append([*ways()]) or folded.PLAIN)
    for fuses in (True, False):
        monkeypatch.setattr(folded, "fuses", lambda has=fuses: has)
        score(network, clips(1), "fp32")
    assert offered == [WAYS, WAYS[:2]]
