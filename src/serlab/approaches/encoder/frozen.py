"""Speech encoders split in two: frozen lower layers, which a front end computes once, and trained upper layers.

transformers' forward pass still runs the upper part (masks, LayerDrop, heads): the frozen modules
return their input unchanged. The two steps together compute the same as plain transformers. Masks
over time and features, which transformers applies below its first layer, apply to the finished
features.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from serlab.approaches.encoder import layers, stem
from serlab.core.files import sha256_json

# Fields of a configuration that do not change what frozen layers compute.
_IRRELEVANT = re.compile(
    "dropout|drop_|mask_|layerdrop|label|classifier|spec_augment|weighted|name_or_path|architectures|version|dtype"
    "|token|ctc|codevector|tdnn|num_hidden_layers|encoder_layers|return|problem_type|finetuning|xvector|pad_"
)


def fingerprint(modules: Iterable[nn.Module], config: Any) -> str:
    """SHA-256 of frozen modules' values and of their configuration.

    Args:
        modules: the frozen modules, lowest first.
        config: transformers' configuration.
    """
    digest = hashlib.sha256()
    fields = {key: value for key, value in config.to_dict().items() if not _IRRELEVANT.search(key)}
    digest.update(sha256_json(_plain(fields)).encode())
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def pass_convolutions(base: Any) -> None:
    """Return finished convolutional features (batch, frames, channels) unchanged; encode waveforms (batch, samples)."""
    encoder = base.feature_extractor
    encoder.forward = lambda x: x.transpose(1, 2) if x.dim() == 3 else stem.forward(encoder, x)


def pass_layers(base: Any, count: int) -> None:
    """Make everything below layer ``count`` return its input: the states (batch, frames, dim) of that layer.

    Args:
        base: an encoder of the wav2vec2 family: wav2vec2, HuBERT, WavLM, data2vec-audio,
            wav2vec2-BERT.
        count: number of frozen layers, at least 1.
    """
    if hasattr(base, "feature_extractor"):
        base.feature_extractor.forward = lambda x: x.transpose(1, 2)
        base.encoder.pos_conv_embed.forward = torch.zeros_like
        if norm_comes_first(base):
            base.encoder.layer_norm.forward = lambda x: x
    alone = type(base).__name__.startswith("Hubert")
    base.feature_projection.forward = lambda x: x if alone else (x, x)
    for layer in base.encoder.layers[:count]:
        layer.forward = partial(_passing, layer)


def _passing(layer: Any, hidden_states: Tensor, **given: Any) -> Any:
    if not _has_position_bias(layer):
        return hidden_states
    bias = given["position_bias"]
    if bias is None:
        # WavLM's first layer computes the position bias that all layers share.
        batch, frames, _ = hidden_states.shape
        bias = layer.attention.compute_bias(frames, frames).repeat(batch, 1, 1)
    return hidden_states, bias


def states_below(base: Any, count: int, values: Tensor) -> list[Tensor]:
    """Input of the first layer and outputs of the lowest ``count``, as plain transformers computes them.

    Args:
        base: an encoder of the wav2vec2 family.
        count: number of layers.
        values: shape (1, samples), or (1, frames, bands) for wav2vec2-BERT.

    Returns:
        ``count + 1`` tensors of shape (1, frames, dim).
    """
    convolutional = hasattr(base, "feature_extractor")
    frames = stem.forward(base.feature_extractor, values).transpose(1, 2) if convolutional else values
    projected = _own(base.feature_projection)(frames)
    hidden: Tensor = projected[0] if isinstance(projected, tuple) else projected
    encoder, given = base.encoder, {}
    if convolutional:
        hidden = hidden + _own(encoder.pos_conv_embed)(hidden)
        if norm_comes_first(base):
            hidden = _own(encoder.layer_norm)(hidden)
    elif encoder.embed_positions is not None:
        given["relative_position_embeddings"] = encoder.embed_positions(hidden)
    states = [hidden]
    for index, layer in enumerate(encoder.layers[:count]):
        if _has_position_bias(layer):
            hidden, given["position_bias"] = layers.forward(layer, hidden, index=index, **given)
        else:
            hidden = layers.forward(layer, hidden, **given)
        states.append(hidden)
    return states


def _own(module: nn.Module) -> Callable[..., Any]:
    """The original forward of a module, even if it was replaced."""
    return partial(type(module).forward, module)


def norm_comes_first(base: Any) -> bool:
    """Whether the encoder's layer norm is before its layers (wav2vec2-base), not after them (large models)."""
    return not type(base.encoder).__name__.endswith("StableLayerNorm")


def _has_position_bias(layer: Any) -> bool:
    return type(layer).__name__.startswith("WavLM")
