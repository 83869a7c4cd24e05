"""Dropout keeps the share it should, independently, keyed by torch's generator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.approaches.test_encoder import ARCHITECTURES, build, clips
from torch import nn

from serlab.approaches.dropout import Dropout, drop, install
from serlab.approaches.encoder import Settings
from serlab.approaches.encoder.network import from_recipe


@given(p=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_the_share_dropped_is_the_probability_asked_for(p: float, seed: int) -> None:
    torch.manual_seed(seed)
    kept = drop(torch.ones(100_001), p)
    torch.testing.assert_close(kept[kept > 0], torch.full_like(kept[kept > 0], 1 / (1 - p)))
    # Six deviations of a binomial, and what 16 bits cannot resolve.
    assert abs((kept == 0).float().mean().item() - p) < 6 * (p * (1 - p) / 100_001) ** 0.5 + 2**-16


def test_values_are_dropped_independently_of_their_neighbours() -> None:
    torch.manual_seed(0)
    dropped = (drop(torch.ones(400_000), 0.5) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        correlation = (dropped[distance:] * dropped[:-distance]).mean() * 4
        assert abs(correlation) < 0.01


def test_the_seed_decides_and_each_call_draws_again() -> None:
    x = torch.randn(3, 7, 11)
    torch.manual_seed(1)
    first, second = drop(x, 0.3), drop(x, 0.3)
    torch.manual_seed(1)
    assert torch.equal(drop(x, 0.3), first)
    assert not torch.equal(first, second)


def test_the_gradient_passes_where_values_passed() -> None:
    x = torch.randn(64, requires_grad=True)
    out = drop(x, 0.25)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
    torch.testing.assert_close(x.grad[out != 0], torch.full_like(x.grad[out != 0], 1 / 0.75))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything_can_be_dropped(p: float) -> None:
    x = torch.randn(20)
    assert torch.equal(Dropout(p)(x), (1 - p) * x)
    assert torch.equal(Dropout(p).eval()(x), x)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_encoder_gets_it(architecture: str) -> None:
    network = build(*ARCHITECTURES[architecture])
    install(network.hf)
    assert not any(type(module) is nn.Dropout for module in network.hf.modules())


def test_an_encoder_trains_with_it_and_predicts_without() -> None:
    network = build(*ARCHITECTURES["wav2vec2, group norm"])
    install(network.hf)
    features = torch.from_numpy(network.frontend(clips(16000)[0]))[None]

    def scores(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return network(features)

    network.train()
    network.hf.config.apply_spec_augment = False
    network.base.encoder.config.layerdrop = 0.0
    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))
    network.eval()
    assert torch.equal(scores(1), scores(2))


@pytest.mark.parametrize("fast", [False, True])
def test_the_recipe_chooses(fast: bool) -> None:
    _, config = ARCHITECTURES["wav2vec2, group norm"]
    settings = Settings(architecture="wav2vec2", config=config, fast_dropout=fast)
    network = from_recipe(settings, ("calm", "sad"), "fp32", recipe="mine")
    assert any(isinstance(module, Dropout) for module in network.hf.modules()) == fast
