"""Transformer layers in prediction: weights held in the computing precision, one product for queries, keys and values.

Under autocast, every call converts a layer's weights to bf16 again. Here they are converted once.
Norms, softmax and the sums of the residual stream stay in the types that autocast gives them, so
that bf16 is as close to fp32 as under autocast.

A product is computed by torch, or by the linear layer of torch's compiler: oneDNN with weights that
are packed once, with GELU or the sum with the residual in the same pass over the output. Which one
is faster depends on the processor and is timed (:func:`serlab.core.precision.fastest`): on AMD
processors torch's own fp32 products do not use AVX-512, and oneDNN's do.

Layers of other kinds, layers whose modules were replaced (int8), masks and training use
transformers' own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serlab.approaches.encoder.convolution import gelu_
from serlab.approaches.encoder.stem import is_gelu
from serlab.approaches.made import Made, computed_in, fuses, on_processor, type_of
from serlab.core.precision import Precision, device, fastest

_KINDS = ("Wav2Vec2", "Hubert", "Data2VecAudio", "UniSpeech", "UniSpeechSat", "WavLM")
_NORM_LAST = {f"{kind}EncoderLayer" for kind in _KINDS}
_NORM_FIRST = {f"{kind}EncoderLayerStableLayerNorm" for kind in _KINDS}
_WHISPER = "WhisperEncoderLayer"
HELD, PACKED = "held", "packed"
"""Ways to multiply: by torch; by oneDNN with packed weights."""

_TRIAL = 128, 768, 3072


@dataclass(frozen=True)
class Linear:
    """A linear layer whose weights are held in the type of its input.

    Attributes:
        weight: shape (outputs, inputs), or packed by oneDNN.
        bias: shape (outputs,), or None.
        packed: whether oneDNN computes.
    """

    weight: Tensor
    bias: Tensor | None
    packed: bool

    @classmethod
    def of(cls, parts: Iterable[nn.Linear], dtype: torch.dtype, way: str) -> Linear:
        """Hold one or several layers of the same input as one; missing biases are 0."""
        weights, biases = [part.weight for part in parts], [part.bias for part in parts]
        weight = (weights[0] if len(weights) == 1 else torch.cat([*weights])).detach().to(dtype)
        filled: list[Tensor] = [w.new_zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)]
        bias = None if all(each is None for each in biases) else torch.cat(filled).detach().to(dtype)
        if way == PACKED:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TRIAL[0])
        return cls(weight, bias, way == PACKED)

    def __call__(self, x: Tensor, *, gelu: bool = False, plus: Tensor | None = None) -> Tensor:
        """Multiply (batch, frames, inputs); then apply GELU, or add ``plus``."""
        if not self.packed:
            product = F.linear(x, self.weight, self.bias)
            product = gelu_(product) if gelu else product
            return product if plus is None else _sum(product, plus)
        multiply: Any = torch.ops.mkldnn._linear_pointwise
        if plus is not None and plus.dtype == x.dtype:
            summed: Tensor = multiply.binary(x, plus, self.weight, self.bias, "add")
            return summed
        out: Tensor = multiply(x, self.weight, self.bias, "gelu" if gelu else "none", [], "none" if gelu else "")
        return out if plus is None else _sum(out, plus)


def _sum(out: Tensor, plus: Tensor) -> Tensor:
    """Add in the type of the residual stream, which is fp32 in Whisper and above cached states."""
    return out.add_(plus) if out.dtype == plus.dtype else plus + out


class Products(NamedTuple):
    """The four products of a layer."""

    heard: Linear
    attended: Linear
    wider: Linear
    narrower: Linear


_PRODUCTS: Made[Products] = Made()
_LINEARS: Made[Linear] = Made()


def install(layers: Iterable[Any], linears: Iterable[nn.Linear] = ()) -> None:
    """Let transformer layers that are known compute by :func:`forward`, and linear layers by :func:`linear`."""
    for layer in layers:
        if _known(layer):
            layer.forward = partial(forward, layer)
    for part in linears:
        part.forward = partial(linear, part)  # type: ignore[method-assign]


def forward(layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **given: Any) -> Any:
    """The forward pass of a layer of transformers: (batch, frames, dim) to the same shape."""
    if attention_mask is None and can_hold(layer, hidden_states):
        return held(layer, hidden_states, given.get("position_bias"))
    _PRODUCTS.drop(layer)
    return type(layer).forward(layer, hidden_states, attention_mask=attention_mask, **given)


def linear(part: nn.Linear, x: Tensor) -> Tensor:
    """The forward pass of a linear layer."""
    if not _in_prediction(part, x) or type(part) is not nn.Linear or part.weight.dtype != torch.float32:
        _LINEARS.drop(part)
        return type(part).forward(part, x)
    dtype = computed_in(x)
    return _LINEARS.of(part, dtype, _tensors([part]), lambda: _held([part], dtype))(x.to(dtype))


def can_hold(layer: Any, x: Tensor) -> bool:
    """Whether :func:`held` computes what the layer computes."""
    if not _in_prediction(layer, x) or not _known(layer):
        return False
    return getattr(layer, "adapter_layer", None) is None and all(
        type(part) is nn.Linear and part.weight.dtype == torch.float32 for part in _parts(layer)
    )


def _known(layer: Any) -> bool:
    return type(layer).__name__ in _NORM_LAST | _NORM_FIRST | {_WHISPER}


def _in_prediction(module: nn.Module, x: Tensor) -> bool:
    return not torch.is_grad_enabled() and not module.training and on_processor(x)


def _parts(layer: Any) -> list[nn.Linear]:
    """Queries, keys, values, output; the two of the feed-forward part."""
    if type(layer).__name__ == _WHISPER:
        attention, wider, narrower = layer.self_attn, layer.fc1, layer.fc2
    else:
        feed = layer.feed_forward
        attention, wider, narrower = layer.attention, feed.intermediate_dense, feed.output_dense
    return [attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, wider, narrower]


def held(layer: Any, x: Tensor, position_bias: Tensor | None = None) -> Any:
    """A layer with held weights.

    Args:
        layer: one of transformers' layers.
        x: shape (batch, frames, dim).
        position_bias: of WavLM, shape (batch x heads, frames, frames).

    Returns:
        The same shape; for WavLM with the position bias.
    """
    dtype = computed_in(x)
    parts = _parts(layer)
    products = _PRODUCTS.of(layer, dtype, _tensors(parts), lambda: _made(parts, dtype))
    whisper = type(layer).__name__ == _WHISPER
    attention, first_norm = (
        (layer.self_attn, layer.self_attn_layer_norm) if whisper else (layer.attention, layer.layer_norm)
    )
    activation = layer.activation_fn if whisper else layer.feed_forward.intermediate_act_fn
    with torch.autocast("cpu", enabled=False):
        norm_first = whisper or type(layer).__name__ in _NORM_FIRST
        heard = _norm(first_norm, x) if norm_first else x
        bias = None
        if hasattr(attention, "gru_rel_pos_linear"):
            position_bias = _positions(attention, heard, position_bias)
            bias = _gated(attention, heard.to(dtype), position_bias)
        x = products.attended(_attention(products.heard(heard.to(dtype)), attention.num_heads, bias), plus=x)
        x = x if norm_first else _norm(first_norm, x)
        heard = _norm(layer.final_layer_norm, x) if norm_first else x
        gelu = is_gelu(activation)
        wide = products.wider(heard.to(dtype), gelu=gelu)
        x = products.narrower(wide if gelu else activation(wide), plus=x)
        x = x if norm_first else _norm(layer.final_layer_norm, x)
    return x if position_bias is None else (x, position_bias)


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    normed: Tensor = norm(x)
    return normed


def _attention(heard: Tensor, heads: int, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention of (batch, frames, 3 dim) to (batch, frames, dim)."""
    batch, frames, width = heard.shape
    query, key, value = heard.view(batch, frames, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attended.transpose(1, 2).reshape(batch, frames, width // 3)


def _positions(attention: Any, x: Tensor, known: Tensor | None) -> Tensor:
    """WavLM's position bias, which the first layer computes for all."""
    if known is not None:
        return known
    bias: Tensor = attention.compute_bias(x.shape[1], x.shape[1])
    return bias.repeat(len(x), 1, 1)


def _gated(attention: Any, x: Tensor, positions: Tensor) -> Tensor:
    """WavLM's position bias, gated by the states (Chen et al. 2022, section 3.1), as (batch, heads, frames, frames)."""
    batch, frames, _ = x.shape
    states = x.view(batch, frames, attention.num_heads, -1).transpose(1, 2)
    projection = attention.gru_rel_pos_linear
    projected = F.linear(states, projection.weight.to(x.dtype), projection.bias.to(x.dtype))
    summed = projected.view(*states.shape[:-1], 2, 4).sum(dim=-1)
    reset, update = torch.sigmoid(summed).chunk(2, dim=-1)
    gate: Tensor = reset * (update * attention.gru_rel_pos_const - 1.0) + 2.0
    return (gate * positions.view(batch, attention.num_heads, frames, frames)).to(x.dtype)


def _made(parts: list[nn.Linear], dtype: torch.dtype) -> Products:
    *heard, attended, wider, narrower = parts
    return Products(*(_held(each, dtype) for each in (heard, [attended], [wider], [narrower])))


def _held(parts: list[nn.Linear], dtype: torch.dtype) -> Linear:
    return Linear.of(parts, dtype, fastest_way(dtype))


def fastest_way(dtype: torch.dtype) -> str:
    """The faster way to multiply, by timing the largest product of a base model on 2.5 s of speech."""
    return fastest(f"linear layers, {dtype}", partial(_trials, dtype)) if fuses() else HELD


def way_of(precision: Precision) -> str:
    """The way of layers in a front end in ``precision``; their own forward pass on other devices."""
    return fastest_way(type_of(precision)) if device().type == "cpu" else "plain"


def _trials(dtype: torch.dtype) -> Mapping[str, Callable[[], object]]:
    shown, part = torch.randn(1, *_TRIAL[:2]).to(dtype), nn.Linear(*_TRIAL[1:])
    return {way: partial(Linear.of([part], dtype, way), shown) for way in (HELD, PACKED)}


def _tensors(parts: Iterable[nn.Linear]) -> list[Tensor]:
    return [tensor for part in parts for tensor in (part.weight, part.bias) if tensor is not None]
