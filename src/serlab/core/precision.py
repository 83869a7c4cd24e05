"""Where and how networks compute: device and numerical precision.

``auto`` is bf16 if it is faster. A processor that lists bf16 may still multiply it more slowly than
fp32 (a Xeon with AVX512-BF16 whose virtual machine hides its AMX unit runs at half the speed), so
``auto`` times one matrix product of a transformer layer in both.

Functions that need torch import it themselves, because classical approaches run without it.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, get_args

from serlab.core.errors import MachineError, UserError, argument
from serlab.core.files import cache_folder, write_json

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS = ("auto", *get_args(Precision))
"""The values of ``precision`` in prediction."""

_WORTH = 1.15
_ROUNDS = 7
_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")

_chosen: ContextVar[str | None] = ContextVar("device", default=None)


def device() -> torch.device:
    """The device that networks run on: that of the enclosing :func:`on_device`, else CUDA if available."""
    import torch

    return torch.device(_chosen.get() or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Let :func:`device` be ``name`` in this thread while the block runs.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``; None for CUDA if available, else ``cpu``.

    Raises:
        UserError: the name is unknown.
        MachineError: this machine does not have the device.
    """
    if name is not None:
        _check_device(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def _check_device(name: str) -> None:
    if not isinstance(name, str) or not _DEVICE.fullmatch(name):
        raise UserError(f"{argument('device', name)} is unknown; use cpu, cuda or cuda:N.")
    if name == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= count:
        raise MachineError(f"{argument('device', name)} is not available: this machine has {count} CUDA devices.")


def has_bf16() -> bool:
    """Whether bf16 is faster: on CUDA with bf16, or on a processor that multiplies it faster than fp32."""
    import torch

    if device().type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    if not any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        return False
    return bf16_gain() >= _WORTH


@functools.cache
def bf16_gain() -> float:
    """How many times faster the processor multiplies bf16 than fp32; measured once, then cached on disk."""
    import torch

    path = cache_folder() / "processor.json"
    capabilities = torch.cpu.get_capabilities()
    key = f"{json.dumps(capabilities, sort_keys=True, default=str)} torch {torch.__version__}"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["processor"] == key:
            return float(known["bf16_gain"])
    gain = _measure()
    with suppress(MachineError):  # If it cannot be cached, the next process measures it again.
        write_json(path, {"processor": key, "bf16_gain": round(gain, 3)})
    return gain


def _measure() -> float:
    """Best time of alternating rounds, so that a busy machine slows both precisions equally."""
    import torch

    dtypes = (torch.float32, torch.bfloat16)
    operands = {dtype: (torch.ones(256, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)) for dtype in dtypes}
    best = dict.fromkeys(dtypes, float("inf"))
    for _ in range(_ROUNDS):
        for dtype, (left, right) in operands.items():
            start = time.perf_counter()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.float32] / best[torch.bfloat16]


def check_precision(precision: str) -> None:
    """Raise a UserError if the precision is unknown."""
    if precision not in PRECISIONS:
        raise UserError(f"{argument('precision', precision)} is not one of {', '.join(PRECISIONS)}.")


def resolve(precision: str) -> Precision:
    """Turn ``auto``, ``fp32``, ``bf16`` or ``int8`` into the precision to compute in on :func:`device`.

    Raises:
        UserError: the precision is unknown.
        MachineError: ``bf16`` on a GPU without it, or ``int8`` on a GPU.
    """
    check_precision(precision)
    on_gpu = precision != "fp32" and device().type == "cuda"
    if precision == "bf16" and on_gpu and not has_bf16():
        raise MachineError(f"this GPU has no bf16; use {argument('precision', 'fp32')}.")
    if precision == "int8" and on_gpu:
        raise MachineError(f"int8 predicts on a processor only; use {argument('precision', 'bf16')} on this GPU.")
    if precision == "auto":
        return "bf16" if has_bf16() else "fp32"
    return precision  # type: ignore[return-value]


@contextmanager
def autocast(precision: Precision) -> Iterator[None]:
    """Run matrix products in ``precision`` while the block runs; with int8, the floating ones run as with ``auto``."""
    import torch

    with ExitStack() as stack:
        if device().type == "cuda":
            stack.enter_context(without_tf32())
        if precision == "bf16" or (precision == "int8" and has_bf16()):
            stack.enter_context(torch.autocast(device().type, dtype=torch.bfloat16))
        yield


@contextmanager
def without_tf32() -> Iterator[None]:
    """Keep fp32 convolutions exact while the block runs: cuDNN rounds their factors to 10 bits (TF32) by default."""
    from torch.backends import cudnn

    before, cudnn.allow_tf32 = cudnn.allow_tf32, False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
