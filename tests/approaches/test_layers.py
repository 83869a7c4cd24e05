"""Layers with held weights and the positional convolution by Fourier transforms, against transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.approaches.test_encoder import ARCHITECTURES, LABELS, TINY, build, clips
from tests.approaches.ways import force
from torch import Tensor, nn

from serlab.approaches.encoder import convolution, layers, positions
from serlab.approaches.encoder.network import SpeechEncoder
from serlab.approaches.int8 import quantise
from serlab.approaches.made import Made
from serlab.approaches.network import FittedNetwork, score

FAST = ("packed", "fourier", "convolutions", "products")
WIDE = {"num_conv_pos_embeddings": 32}
LARGE_WAVLM = {**TINY, **WIDE, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
LARGE_HUBERT = {**LARGE_WAVLM, "hidden_act": "relu"}
CASES = {
    **ARCHITECTURES,
    "wav2vec2, group norm": ("wav2vec2", {**TINY, **WIDE}),
    "hubert": ("hubert", {**TINY, **WIDE}),
    "wavlm": ("wavlm", {**TINY, **WIDE}),
    "wavlm, norms first": ("wavlm", LARGE_WAVLM),
    "hubert, norms first, relu": ("hubert", LARGE_HUBERT),
}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[SpeechEncoder, Tensor], tuple[Tensor, ...]]:
    """Compute hidden states as transformers alone does."""

    def states(network: SpeechEncoder, features: Tensor) -> tuple[Tensor, ...]:
        with monkeypatch.context() as patch:
            for module in (layers, positions, convolution):
                patch.setattr(module, "on_processor", lambda _: False)
            force(patch, "plain")
            with torch.inference_mode():
                return network.hidden_states(features)

    return states


def features_of(network: SpeechEncoder, count: int = 3) -> Tensor:
    return torch.from_numpy(np.stack([network.frontend(clip) for clip in clips(*[16000] * count)]))


@pytest.mark.parametrize("way", ["held", "packed"])
@pytest.mark.parametrize("case", CASES)
def test_hidden_states_are_those_of_transformers(
    case: str, way: str, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, way, *FAST)
    network = build(*CASES[case], freeze_conv=False).eval()
    features = features_of(network)
    with torch.inference_mode():
        found = network.hidden_states(features)
        alone = network.hidden_states(features[1:2])
    for ours, single, theirs in zip(found, alone, own(network, features), strict=True):
        largest = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours, theirs, atol=1e-5 * largest, rtol=0)
        torch.testing.assert_close(ours[1:2], single, atol=1e-5 * largest, rtol=0)


@pytest.mark.parametrize("case", ["wav2vec2, group norm", "wav2vec2, layer norm", "wavlm", "whisper"])
def test_bf16_is_as_close_to_fp32_as_autocast(case: str, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, "packed", *FAST)
    network = build(*CASES[case], freeze_conv=False).eval()
    features = features_of(network, 8)
    exact = own(network, features)
    with torch.autocast("cpu", torch.bfloat16):
        usual = own(network, features)
        with torch.inference_mode():
            found = network.hidden_states(features)
    for ours, theirs, wanted in zip(found, usual, exact, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours - wanted).abs().mean() <= 1.1 * (theirs - wanted).abs().mean()


def test_known_layers_do_not_use_their_own_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons above would pass if nothing was held."""
    for case in ("wav2vec2, group norm", "wavlm", "hubert", "data2vec-audio", "whisper"):
        network = build(*CASES[case], freeze_conv=False).eval()
        with monkeypatch.context() as patch:
            patch.setattr(type(network.layers[0]), "forward", lambda *_, **__: pytest.fail("transformers' own"))
            with torch.inference_mode():
                network.hidden_states(features_of(network))


def test_training_uses_transformers_layers_and_its_steps_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused optimiser steps do not mark the weights as changed."""
    force(monkeypatch, "packed", *FAST)
    network = build("wav2vec2", TINY)
    features = [network.frontend(clip) for clip in clips(16000)]
    before = score(network, features, "fp32")
    network.train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01, fused=True)
    network(torch.from_numpy(features[0])[None]).sum().backward()
    optimizer.step()
    after = score(network, features, "fp32")
    fresh = build("wav2vec2", TINY)
    fresh.load_state_dict(network.state_dict())
    np.testing.assert_allclose(after, score(fresh, features, "fp32"), atol=1e-6)
    assert np.abs(after - before).max() > 1e-4


def test_state_and_saved_weights_stay_those_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, "packed", *FAST)
    network = build("wav2vec2", TINY)
    names, values = zip(*network.state_dict().items(), strict=True)
    kept = [value.clone() for value in values]
    FittedNetwork(network, LABELS, "bf16").logits([network.frontend(clip) for clip in clips(16000)])
    assert tuple(network.state_dict()) == names
    assert all(torch.equal(a, b) for a, b in zip(kept, network.state_dict().values(), strict=True))


def test_int8_layers_are_not_held() -> None:
    network = build("wav2vec2", TINY).eval()
    features = features_of(network)
    with torch.inference_mode():
        network(features)
        quantise(network.layers)
        assert not any(layers.can_hold(layer, features) for layer in network.layers)
        network(features)


def test_gradients_in_evaluation_mode_are_those_of_transformers() -> None:
    network = build("wav2vec2", TINY, freeze_conv=False).eval()
    features = features_of(network).requires_grad_()
    network(features).sum().backward()
    assert features.grad is not None
    assert float(features.grad.abs().max()) > 0


@settings(max_examples=40)
@given(
    width=st.integers(1, 40),
    frames=st.integers(1, 150),
    batch=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    padded=st.booleans(),
)
def test_a_convolution_by_fourier_transforms(
    width: int, frames: int, batch: int, groups: int, bias: bool, padded: bool
) -> None:
    padding = width // 2 if padded else 0
    frames = max(frames, width)
    torch.manual_seed(width)
    conv = nn.Conv1d(8, 8, width, padding=padding, groups=groups, bias=bias).eval()
    x = torch.randn(batch, 8, frames)
    with torch.no_grad():
        found = positions.convolved(positions.spectrum_of(conv), x.transpose(1, 2), width, padding).transpose(1, 2)
        torch.testing.assert_close(found, conv(x), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("way", ["plain", "products", "convolutions"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_padded_convolution_with_its_activation(way: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, way)
    torch.manual_seed(0)
    conv = nn.Conv1d(8, 6, 3, stride=stride, padding=1).eval()
    frames = torch.randn(2, 31, 8)
    with torch.no_grad():
        expected = nn.functional.gelu(conv(frames.transpose(1, 2))).transpose(1, 2)
        torch.testing.assert_close(convolution.activated(conv, frames), expected, atol=1e-6, rtol=1e-5)
    assert convolution.way_of(conv, "fp32") == way
    frames.requires_grad_()
    convolution.activated(conv, frames).sum().backward()
    assert frames.grad is not None


def test_what_is_made_of_weights_is_made_again_when_they_change() -> None:
    made: Made[Tensor] = Made()
    part = nn.Linear(2, 2)
    calls = []

    def make() -> Tensor:
        calls.append(1)
        return part.weight.detach() * 2

    for _ in range(2):
        made.of(part, "x", [part.weight], make)
    assert len(calls) == 1
    with torch.no_grad():
        part.weight.add_(1)
    assert torch.equal(made.of(part, "x", [part.weight], make), part.weight.detach() * 2)
    part.weight = nn.Parameter(torch.ones(2, 2))
    assert torch.equal(made.of(part, "x", [part.weight], make), torch.full((2, 2), 2.0))
    made.of(part, "y", [part.weight], make)
    assert len(calls) == 4
    made.drop(part)
    made.of(part, "y", [part.weight], make)
    assert len(calls) == 5


def test_new_weights_at_the_address_of_old_ones_are_noticed() -> None:
    made: Made[Tensor] = Made()
    part = nn.Linear(64, 64)
    part.weight = nn.Parameter(torch.randn(64, 64))
    made.of(part, "x", [part.weight], lambda: part.weight.detach() * 2)
    address = part.weight.data_ptr()
    for _ in range(50):
        part.weight = nn.Parameter(torch.randn(64, 64))
        if part.weight.data_ptr() == address:
            break
    assert torch.equal(made.of(part, "x", [part.weight], lambda: part.weight.detach() * 2), part.weight.detach() * 2)


def test_on_another_device_and_in_an_export_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("wav2vec2", TINY).eval()
    layer = network.layers[0]
    with torch.no_grad():
        assert layers.can_hold(layer, torch.randn(1, 4, 32))
        assert not layers.can_hold(layer, torch.empty(1, 4, 32, device="meta"))
        assert not layers.can_hold(layer, torch.randn(1, 4, 32).double())
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        assert not layers.can_hold(layer, torch.randn(1, 4, 32))
