"""Attention in training: torch's fused product, or explicit steps where they are faster.

Fused attention keeps no scores, so that long inputs need little memory. A clip of speech has few
frames, and on some processors the fused backward pass takes longer in bf16 than in fp32, and three
times as long as the steps by themselves: two batched products and a softmax. Predictions use fused
attention, because scores in bf16 would cost accuracy for little time.

With dropout, the steps are the only way on a processor. They draw by :func:`serlab.approaches.dropout.drop`
if the recipe asks for fast dropout; otherwise attention with dropout is transformers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from serlab.approaches.dropout import drop
from serlab.approaches.made import on_processor
from serlab.core.precision import fastest

FUSED, STEPS = "fused", "steps"
"""Ways to compute attention."""
LONGEST = 256
"""Frames (5 s of wav2vec2's) above which attention is fused, because scores need the square of their number."""

_USUAL, _FAST_DROPOUT = "serlab", "serlab-fast-dropout"
_TRIAL = 4, 12, 125, 64


def install(hf: Any, *, fast_dropout: bool = False) -> None:
    """Let an encoder of transformers attend in the faster way, in place.

    Args:
        hf: a model of transformers; nothing changes if it was loaded without sdpa attention.
        fast_dropout: whether dropout of attention is drawn by :func:`serlab.approaches.dropout.drop`.
    """
    if hf.config._attn_implementation in {"sdpa", _USUAL}:
        hf.set_attn_implementation(_FAST_DROPOUT if fast_dropout else _USUAL)


def steps(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention of each frame to all frames (Vaswani et al. 2017, equation 1).

    Args:
        query: shape (batch, heads, frames, width).
        key: the same shape.
        value: the same shape.
        scale: of the scores.
        dropout: probability with which :func:`serlab.approaches.dropout.drop` drops a weight.

    Returns:
        The same shape.
    """
    weights = (query * scale @ key.transpose(2, 3)).softmax(dim=-1)
    return (drop(weights, dropout) if dropout else weights) @ value


def _forward(
    fast_dropout: bool,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention with the arguments that transformers passes; returns (batch, frames, heads, width)."""
    causal = given.get("is_causal", getattr(module, "is_causal", True))
    plain = attention_mask is None and given.get("position_bias") is None and not causal
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if plain and dropout and fast_dropout and query.device.type == "cpu":
        attended = steps(query, key, value, scale, dropout)
    elif plain and not dropout and _faster_in_steps(query):
        with torch.autocast("cpu", enabled=False):
            attended = steps(query, key, value, scale)
    else:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **given
        )
        return result
    return attended.transpose(1, 2).contiguous(), None


def _faster_in_steps(query: Tensor) -> bool:
    trained = torch.is_grad_enabled() and query.requires_grad
    return trained and query.shape[2] <= LONGEST and on_processor(query) and fastest_way(query.dtype) == STEPS


def fastest_way(dtype: torch.dtype) -> str:
    """The faster way to attend and to compute gradients, by timing 2.5 s of speech in a base model."""
    return fastest(f"attention, {dtype}, trained", partial(_trials, dtype))


def _trials(dtype: torch.dtype) -> Mapping[str, Callable[[], object]]:
    batch, heads, frames, width = _TRIAL
    # As layers pass them: the heads of a frame beside each other.
    shown = [torch.randn(batch, frames, heads, width).to(dtype) for _ in range(3)]

    def compute(way: Callable[..., Tensor]) -> None:
        given = [part.transpose(1, 2).requires_grad_() for part in shown]
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            torch.autograd.grad(way(*given).sum(), given)

    fused = nn.functional.scaled_dot_product_attention
    return {FUSED: partial(compute, fused), STEPS: partial(compute, partial(steps, scale=width**-0.5))}


for _name, _fast in ((_USUAL, False), (_FAST_DROPOUT, True)):
    AttentionInterface.register(_name, partial(_forward, _fast))
    AttentionMaskInterface.register(_name, sdpa_mask)
