"""The weight files of a folder and their tensors, checked before a model is built from them.

Safetensors are mapped into memory, so names, types and shapes are known before any value is read.
Only tensors are read from a PyTorch file; other pickled objects are refused, not run.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from serlab.checkpoints.weights import FILES, read_safetensors, refuse_pointer
from serlab.core import UserError
from serlab.core.files import read_json

_WEIGHTS, _INDEX, _PICKLED = FILES
_COUNTS = ("num_batches_tracked", "position_ids")


def read(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a folder.

    Args:
        folder: holds ``model.safetensors``, its shards and their index, or ``pytorch_model.bin``.

    Raises:
        UserError: (inside :func:`serlab.checkpoints.weights.loading`) there are none, or a file is
            damaged, not fetched, quantised, or holds more than tensors.
    """
    if (folder / _WEIGHTS).is_file():
        tensors = read_safetensors(folder / _WEIGHTS, load_file)
    elif (folder / _INDEX).is_file():
        tensors = _shards(folder)
    elif (folder / _PICKLED).is_file():
        tensors = _pickled(folder / _PICKLED)
    else:
        raise UserError(f"{folder} has no weights: expected {' or '.join(FILES)}.")
    for name, tensor in tensors.items():
        exact = name.endswith(_COUNTS)
        if not (tensor.element_size() > 1 if tensor.is_floating_point() else exact and not tensor.is_complex()):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"the weight {name} of {folder} is of type {kind}; expected floating point of 16 bits or more."
            )
    return tensors


def check_like(folder: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, prefix: str = "") -> None:
    """Refuse tensors whose names and shapes are not exactly those of a model.

    Args:
        folder: their folder, for errors.
        tensors: what was read.
        wanted: the model's state; may be on torch's ``meta`` device.
        prefix: prefix of the names in the file.
    """
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise UserError(f"{folder} lacks the weight {prefix}{missing[0]}; it is damaged, copy or train it again.")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise UserError(
            f"{folder} has the weight {prefix}{extra[0]}, which its recipe does not expect; copy or train it again."
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"the weight {prefix}{name} of {folder} has the shape {tuple(tensor.shape)}, its recipe asks for "
                f"{tuple(wanted[name].shape)}; copy or train it again."
            )


def check_finite(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that hold NaN or infinite values."""
    for name, tensor in tensors.items():
        # If the sum is finite, all values are.
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise UserError(f"the weight {name} of {folder} holds values that are not finite; the model is damaged.")


def _shards(folder: Path) -> dict[str, Tensor]:
    path = folder / _INDEX
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{path} needs a weight_map that names a file for each weight; copy or download it again.")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{path} names the file {name!r}; expected safetensors files of the same folder.")
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks the file {name} that {_INDEX} names; copy or download it again.")
        tensors |= read_safetensors(folder / name, load_file)
    if absent := sorted(places.keys() - tensors.keys()):
        raise UserError(f"{folder} lacks the weight {absent[0]} that {_INDEX} names; copy or download it again.")
    return tensors


def _pickled(path: Path) -> dict[str, Tensor]:
    refuse_pointer(path)
    try:
        with warnings.catch_warnings():
            # torch warns about old files in several lines; the error below is one sentence.
            warnings.simplefilter("ignore")
            found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds more than tensors, and serlab never runs pickled code; use a checkpoint "
            "in safetensors."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UserError(f"{path} does not hold a plain table of tensors; use a checkpoint in safetensors.")
    return {str(name): tensor for name, tensor in found.items()}
