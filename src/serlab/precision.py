"""Numerical precision: bf16 where the processor has it, asked of the processor and not assumed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from serlab.core import MachineError

Precision = Literal["fp32", "bf16"]


def device() -> torch.device:
    """The device that networks run on: CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 natively (AVX512-BF16, AMX, or CUDA with bf16)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def resolve(precision: str) -> Precision:
    """Turn ``auto``, ``fp32`` or ``bf16`` into the precision that is used.

    Raises:
        MachineError: ``bf16`` was asked for on a GPU that has none.
    """
    if precision == "auto":
        return "bf16" if has_bf16() else "fp32"
    if precision == "bf16" and torch.cuda.is_available() and not has_bf16():
        raise MachineError("this GPU has no bf16; use --precision fp32.")
    return "bf16" if precision == "bf16" else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products run in ``precision``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device().type, dtype=torch.bfloat16)
