"""Numerical precision: bf16 where it is faster, asked of the machine and not assumed.

A processor that lists bf16 may still multiply it more slowly than fp32 (seen: a Xeon with AVX512-BF16 whose AMX unit is
hidden by its virtual machine, at half the speed), so ``auto`` times one matrix product of a transformer layer in both.
"""

from __future__ import annotations

import functools
import json
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Literal

import torch

from serlab.core import MachineError
from serlab.core.files import cache_folder, write_json

Precision = Literal["fp32", "bf16", "int8"]

_WORTH = 1.15
_ROUNDS = 7


def device() -> torch.device:
    """The device that networks run on: CUDA where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # fp32 means fp32: cuDNN would round the factors of convolutions to TF32's 10 bits.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def has_bf16() -> bool:
    """Whether bf16 pays on this machine: CUDA with bf16, or a processor that multiplies it faster than fp32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    if not any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        return False
    return bf16_gain() >= _WORTH


@functools.cache
def bf16_gain() -> float:
    """How many times faster the processor multiplies bf16 than fp32; measured once, then remembered on disk."""
    path = cache_folder() / "processor.json"
    capabilities = torch.cpu.get_capabilities()
    key = f"{json.dumps(capabilities, sort_keys=True, default=str)} torch {torch.__version__}"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["processor"] == key:
            return float(known["bf16_gain"])
    gain = _measure()
    with suppress(MachineError):  # Where it cannot be kept, it is measured anew the next time.
        write_json(path, {"processor": key, "bf16_gain": round(gain, 3)})
    return gain


def _measure() -> float:
    """Best of alternating rounds, so that a busy machine slows both sides alike."""
    operands = {dtype: (torch.ones(256, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)) for dtype in _DTYPES}
    best = dict.fromkeys(_DTYPES, float("inf"))
    for _ in range(_ROUNDS):
        for dtype, (left, right) in operands.items():
            start = time.perf_counter()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.float32] / best[torch.bfloat16]


_DTYPES = (torch.float32, torch.bfloat16)


def resolve(precision: str) -> Precision:
    """Turn ``auto``, ``fp32``, ``bf16`` or ``int8`` into the precision that is used.

    Raises:
        MachineError: ``bf16`` was asked for on a GPU that has none, or ``int8`` on a GPU.
    """
    if precision == "auto":
        return "bf16" if has_bf16() else "fp32"
    if precision == "bf16" and torch.cuda.is_available() and not has_bf16():
        raise MachineError("this GPU has no bf16; use --precision fp32.")
    if precision == "int8" and torch.cuda.is_available():
        raise MachineError("int8 is for prediction on a processor; use --precision bf16 on this GPU.")
    return "bf16" if precision == "bf16" else "int8" if precision == "int8" else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products run in ``precision``; under int8, those that stay floating are as ``auto``."""
    if precision == "fp32" or (precision == "int8" and not has_bf16()):
        return nullcontext()
    return torch.autocast(device().type, dtype=torch.bfloat16)
