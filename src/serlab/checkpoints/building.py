"""Checkpoints of other programs: read and checked as plain JSON and tensors before transformers builds them.

Code in a checkpoint is never run. Its ``model_type`` must be one of the installed transformers.
Fields that name code, another file or a way to compute (``auto_map``, kernels, quantisation,
adapters) are ignored or refused. Weights are read here too, so transformers only gets a
configuration and tensors and never reads the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING

from serlab.checkpoints import stored
from serlab.checkpoints.checks import check_labels, shown
from serlab.checkpoints.weights import loading, quiet
from serlab.core import UserError
from serlab.core.files import read_json

_REFUSED = {
    "quantization_config": "the weights are quantised; use the checkpoint in full precision",
    "transformers_weights": "it names another file for the weights; rename that to model.safetensors",
    "per_layer_config": "serlab does not support a configuration per layer",
}
"""Fields that change the computation in unsupported ways, and what to do."""

_LEFT_OUT = {
    "auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation",
    "fusion_config", "return_dict", "output_attentions", "output_hidden_states", "torchscript",
}  # fmt: skip
"""Fields that select how to compute, which serlab decides itself, or name code, which serlab never runs."""

_LARGEST = 10**9
_MOST = {
    "num_labels": 100_000, "num_hidden_layers": 1000, "encoder_layers": 1000, "decoder_layers": 1000,
    "num_feat_extract_layers": 1000, "num_adapter_layers": 1000, "num_hidden_groups": 1000,
}  # fmt: skip
_LEAST = {"num_hidden_layers": 1, "encoder_layers": 1, "hidden_size": 1, "d_model": 1}
_SPARE = 2**27
"""Maximum number of parameters that are not in the weight file: a fresh head, computed tables."""

_SHORTEST_STRIDE = 32
_LONGEST_STRIDE_S = 1.0
_GENERATED = ("num_batches_tracked", "position_ids", "masked_spec_embed")
"""Names of weights that may be missing, because they are not learned."""


def read_config(folder: Path, known: Collection[str], purpose: str) -> dict[str, Any]:
    """Read ``config.json`` and refuse what serlab does not support, before building anything.

    Args:
        folder: the checkpoint's folder.
        known: accepted values of ``model_type``.
        purpose: intended use of the folder, for errors.

    Returns:
        The fields, without those that name code.

    Raises:
        UserError: the file cannot be read, or a field is missing, unsupported or out of range.
    """
    path = folder / "config.json"
    data = read_json(path)
    kind = data.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        code = " and asks to run its own code (auto_map), which serlab never does" if data.get("auto_map") else ""
        said = f"has the model_type {shown(kind)}" if "model_type" in data else "has no model_type"
        raise UserError(f"{folder} cannot be loaded as {purpose}: config.json {said}{code}; expected {_listed(known)}.")
    for field, why in _REFUSED.items():
        if data.get(field):
            raise UserError(f"{path} sets {field}: {why}.")
    if (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} holds an adapter (adapter_config.json); merge it into the weights and save those.")
    fields = {name: value for name, value in data.items() if name not in _LEFT_OUT}
    _check_ranges(path, fields)
    _check_strides(path, fields)
    return fields


def labels_of(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of a finished classifier, in the order of its scores.

    Args:
        folder: its folder, for errors.
        config: from :func:`read_config`.

    Raises:
        UserError: the model does not assign one label to each clip, or its labels are not unique.
    """
    path = folder / "config.json"
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise UserError(
            f"{path} has the problem_type {shown(problem)}: its scores are not one distribution over labels; serlab "
            "takes single_label_classification."
        )
    names = config.get("id2label")
    if names is None:
        count = config.get("num_labels", 2)
        names = {str(index): f"LABEL_{index}" for index in range(count if isinstance(count, int) else 2)}
    if not isinstance(names, dict):
        raise UserError(f"{path}: id2label is {shown(names)}; expected a name for each number from 0.")
    by_number = {int(key) if key.isdecimal() else -1: name for key, name in names.items()}
    absent = next((number for number in range(len(names)) if number not in by_number), None)
    if absent is not None:
        raise UserError(f"{path}: id2label names no label {absent}; expected a name for each number from 0.")
    labels = tuple(by_number[number] for number in range(len(names)))
    check_labels(f"{path}: id2label", labels)
    return labels


def build(
    folder: Path,
    config: Mapping[str, Any],
    models: Any,
    state: Mapping[str, Tensor],
    *,
    fields: Mapping[str, Any],
    fresh: tuple[str, ...] = (),
    spare: Callable[[str], bool] = lambda _: False,
) -> Any:
    """Build a transformers model with weights that were already read.

    Args:
        folder: the checkpoint's folder, for errors.
        config: from :func:`read_config`.
        models: transformers' mapping from configurations to classes.
        state: the weights.
        fields: replacements for fields of the configuration.
        fresh: prefixes of the names of weights that are initialised if they are missing or have
            another shape.
        spare: whether a weight with this name may be unused.

    Returns:
        The model in fp32, in evaluation mode.

    Raises:
        UserError: configuration and weights do not match.
        MachineError: there is not enough memory.
    """
    with loading(folder), quiet():
        settings = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config), **fields)
        kind = models[type(settings)]
        _check_size(folder, kind, settings, state)
        hf, info = kind.from_pretrained(
            None,
            config=settings,
            state_dict=dict(state),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        _check_loaded(folder, info, fresh, spare)
        stored.check_finite(folder, hf.state_dict())
    return hf


def _check_size(folder: Path, kind: Any, settings: Any, state: Mapping[str, Tensor]) -> None:
    """Refuse a configuration whose model is larger than the weights, before allocating memory."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        empty = kind(settings)
    asked = sum(tensor.numel() for tensor in (*empty.parameters(), *empty.buffers()))
    there = sum(tensor.numel() for tensor in state.values())
    if asked > 2 * there + _SPARE:
        raise UserError(
            f"{folder}: config.json describes a model of {asked:,} numbers, and its weights are {there:,}; one of the "
            "two is damaged or of another model."
        )


def _check_loaded(folder: Path, info: Mapping[str, Any], fresh: tuple[str, ...], spare: Callable[[str], bool]) -> None:
    def names(key: str) -> list[str]:
        found = sorted(item if isinstance(item, str) else item[0] for item in info[key])
        return [name for name in found if not name.startswith(fresh or ("/",)) and not name.endswith(_GENERATED)]

    if missing := names("missing_keys"):
        raise UserError(f"{folder} lacks the weight {missing[0]}; it is damaged or of another model.")
    if misfits := names("mismatched_keys"):
        raise UserError(f"the weight {misfits[0]} of {folder} has another shape than its configuration asks for.")
    if extra := [name for name in names("unexpected_keys") if not spare(name)]:
        raise UserError(
            f"{folder} has the weight {extra[0]}, which its configuration does not expect; one of the two belongs "
            "to another model."
        )


def _check_ranges(path: Path, fields: Mapping[str, Any]) -> None:
    pairs = list(fields.items())
    while pairs:
        name, value = pairs.pop()
        if isinstance(value, dict):
            pairs += [(f"{name}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            pairs += [(name, item) for item in value]
        elif isinstance(value, int) and not _LEAST.get(name, -_LARGEST) <= value <= _MOST.get(name, _LARGEST):
            raise UserError(f"{path}: {name} is {shown(value)}, beyond what any model has; restore it.")


def _check_strides(path: Path, fields: Mapping[str, Any]) -> None:
    """Refuse convolutions with thousands of frames per second or less than one; the weights would fit anyway."""
    strides = fields.get("conv_stride")
    if not isinstance(strides, list) or not all(type(stride) is int and stride > 0 for stride in strides):
        return
    stride = 1
    for step in strides:
        stride *= step
    if not _SHORTEST_STRIDE <= stride <= _LONGEST_STRIDE_S * 16000:
        raise UserError(
            f"{path}: conv_stride gives one frame for {stride:,} samples; expected {_SHORTEST_STRIDE} to "
            f"{_LONGEST_STRIDE_S * 16000:,.0f}."
        )


def _listed(known: Collection[str]) -> str:
    return ", ".join(sorted(known))
