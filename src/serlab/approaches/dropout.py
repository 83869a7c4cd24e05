"""Fast dropout on a CPU.

torch draws a 32-bit number for each value on a single thread, which takes a sixth of a training
step of wav2vec2-base. Here, one 64-bit number is used for four values; the probability is exact to
2^-17. The draws are keyed by torch's generator, so seeding that one also seeds them. On a GPU
torch's own dropout is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_ATTENTION = "serlab"
_LEVELS = 2**16


def drop(x: Tensor, p: float) -> Tensor:
    """Set each value to 0 with probability ``p``, and divide the others by ``1 - p``.

    Args:
        x: any shape.
        p: within 0 to 1.
    """
    if x.device.type != "cpu" or p >= 1:
        return nn.functional.dropout(x, p)
    return x * _kept(x.shape, p).to(x.dtype).mul_(1 / (1 - p))


def _kept(shape: torch.Size, p: float) -> Tensor:
    generator = np.random.SFC64(int(torch.randint(2**62, ())))
    draws = generator.random_raw(-(-shape.numel() // 4)).view(np.int16)[: shape.numel()]
    return torch.from_numpy(draws).view(shape) >= round(p * _LEVELS) - _LEVELS // 2


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`drop`."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training; otherwise return the input."""
        return drop(x, self.p) if self.training and self.p else x


def install(hf: Any) -> None:
    """Replace the dropout in the modules and the attention of a transformers encoder, in place.

    Args:
        hf: a model of transformers that was loaded with sdpa attention.
    """
    for parent in list(hf.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
    if hf.config._attn_implementation == "sdpa":
        hf.set_attn_implementation(_ATTENTION)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Tensor, Tensor | None]:
    """Transformers' sdpa attention in explicit steps, the same that torch uses with dropout."""
    causal = given.get("is_causal", getattr(module, "is_causal", True))
    plain = attention_mask is None and given.get("position_bias") is None and not causal
    if not dropout or not plain or query.device.type != "cpu":
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **given
        )
        return result
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    weights = drop((query * scale @ key.transpose(2, 3)).softmax(dim=-1), dropout)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(_ATTENTION, _attention)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
