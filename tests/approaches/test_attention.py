"""Attention in explicit steps equals torch's, with its gradients, and is used where it may be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.approaches.test_encoder import ARCHITECTURES, build, clips
from tests.approaches.ways import force
from torch import Tensor, nn
from transformers import AttentionInterface

from serlab.approaches.encoder import attention

HEADS, FRAMES, WIDTH = 4, 50, 16
FAST, USUAL = "serlab-fast-dropout", "serlab"
Attend = Callable[..., Tensor]


def inputs(dtype: torch.dtype = torch.float32, frames: int = FRAMES) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, HEADS, frames, WIDTH).to(dtype).requires_grad_() for _ in range(3)]


def attend(name: str, given: list[Tensor], **settings: float) -> Tensor:
    module = nn.Module()
    module.is_causal = False
    found, _ = AttentionInterface()[name](module, *given, None, scaling=0.3, **settings)
    return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prefer the steps; returns a list that gets an entry per call of them."""
    force(monkeypatch, "steps")
    calls: list[int] = []

    def count(*given: Tensor, **settings: float) -> Tensor:
        calls.append(1)
        return steps(*given, **settings)

    steps = attention.steps
    monkeypatch.setattr(attention, "steps", lambda *given, **settings: count(*given, **settings))
    return calls


@pytest.mark.parametrize("name", [FAST, USUAL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_and_their_gradients_are_those_of_fused_attention(
    name: str, dtype: torch.dtype, counted: list[int]
) -> None:
    given = inputs(dtype)
    fused = nn.functional.scaled_dot_product_attention(*given, scale=0.3).transpose(1, 2)
    weights = torch.randn(fused.shape).to(dtype)

    found = attend(name, given)

    assert counted == [1]
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, fused, atol=tolerance, rtol=tolerance)
    own = torch.autograd.grad((found * weights).sum(), given)
    for gradient, expected in zip(own, torch.autograd.grad((fused * weights).sum(), given), strict=True):
        torch.testing.assert_close(gradient, expected, atol=3 * tolerance, rtol=3 * tolerance)


def test_predictions_and_long_inputs_use_fused_attention(counted: list[int]) -> None:
    with torch.no_grad():
        attend(USUAL, inputs())
    attend(USUAL, [part.detach() for part in inputs()])
    attend(USUAL, inputs(frames=attention.LONGEST + 1))
    assert not counted
    attend(USUAL, inputs(frames=attention.LONGEST))
    assert counted == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_with_vanishing_dropout_is_that_without(dtype: torch.dtype) -> None:
    given = inputs(dtype)

    exact = attend(FAST, given)
    # 16 bits resolve nothing so small: all is kept, but the path is that of dropout.
    almost = attend(FAST, given, dropout=1e-9)
    dropped = attend(FAST, given, dropout=0.5)

    assert almost.dtype == dtype
    torch.testing.assert_close(almost, exact, atol=1e-6 if dtype == torch.float32 else 2e-2, rtol=0)
    assert (dropped.float() - exact.float()).abs().max() > 0.05


def test_without_fast_dropout_the_draws_are_those_of_torch(counted: list[int]) -> None:
    given = inputs()
    torch.manual_seed(7)
    expected = nn.functional.scaled_dot_product_attention(*given, scale=0.3, dropout_p=0.5).transpose(1, 2)

    torch.manual_seed(7)
    found = attend(USUAL, given, dropout=0.5)

    assert torch.equal(found, expected)
    assert not counted


@pytest.mark.parametrize("architecture", ["wav2vec2, group norm", "hubert", "whisper"])
def test_training_an_encoder_takes_the_steps_and_gives_the_same_gradients(
    architecture: str, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(*ARCHITECTURES[architecture])
    network.eval()
    features = torch.from_numpy(network.frontend(clips(16000)[0]))[None]

    def gradients() -> list[Tensor]:
        parameters = [p for p in network.parameters() if p.requires_grad]
        found = torch.autograd.grad(network(features).logsumexp(dim=1).sum(), parameters, allow_unused=True)
        return [gradient for gradient in found if gradient is not None]

    stepwise = gradients()
    assert len(counted) == len(network.layers)
    force(monkeypatch, "fused")
    for own, fused in zip(stepwise, gradients(), strict=True):
        torch.testing.assert_close(own, fused, atol=1e-5, rtol=1e-4)
    assert len(counted) == len(network.layers)
