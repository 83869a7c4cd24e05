"""Where and how networks compute: device and numerical precision.

``auto`` is bf16 if it is faster. A processor that lists bf16 may still multiply it more slowly than
fp32 (a Xeon with AVX512-BF16 whose virtual machine hides its AMX unit runs at half the speed), so
``auto`` times one matrix product of a transformer layer in both. :func:`fastest` chooses in the same
way between several ways to compute the same. What was measured is kept in the cache folder, in
``processor.json``.

Functions that need torch import it themselves, because classical approaches run without it.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, get_args

from serlab.core.errors import MachineError, UserError, argument
from serlab.core.files import cache_folder, write_json

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS = ("auto", *get_args(Precision))
"""The values of ``precision`` in prediction."""

_WORTH = 1.15
_CLEARLY = 1.1
_ROUNDS, _TRIES = 7, 4
_FINE_SECONDS = 1e-6
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
    with suppress(KeyError, TypeError, ValueError):
        return float(_measured()["bf16_gain"])
    gain = _measure()
    _remember(bf16_gain=round(gain, 3))
    return gain


def fastest(work: str, ways: Callable[[], Mapping[str, Callable[[], object]]]) -> str:
    """The fastest of several ways to compute the same on the processor; measured once, then cached on disk.

    Args:
        work: what is computed, with its precision and its sizes.
        ways: returns the computation of each way; the first is the usual one, and another one is
            chosen only if it is 1.1 times as fast.
    """
    with _choosing:
        if work not in _choices:
            _choices[work] = _remembered_or_timed(work, ways)
        return _choices[work]


def _remembered_or_timed(work: str, ways: Callable[[], Mapping[str, Callable[[], object]]]) -> str:
    import torch

    # Ways draw random inputs. The caller's draws must not depend on whether anything is timed.
    with torch.random.fork_rng(devices=[]):
        candidates = ways()
        found = _stored().get(work)
        if found not in candidates:
            measured = _fastest(candidates)
            # Other processes may have measured it meanwhile, and all of a run's should use one way.
            stored = _stored()
            found = stored[work] if stored.get(work) in candidates else measured
            _remember(ways={**stored, work: found})
    return str(found)


def _stored() -> dict[str, str]:
    """The ways that were chosen before."""
    stored = _measured().get("ways")
    return {work: way for work, way in stored.items() if isinstance(way, str)} if isinstance(stored, dict) else {}


_choosing = threading.Lock()
_choices: dict[str, str] = {}


def _fastest(ways: Mapping[str, Callable[[], object]]) -> str:
    import torch

    with torch.inference_mode(False):
        times = _best_times(ways, _TRIES)
    usual = next(iter(ways))
    best = min(times, key=times.__getitem__)
    return best if times[best] * _CLEARLY <= times[usual] else usual


def _measured() -> dict[str, Any]:
    """What was measured before on this processor; empty if nothing was, or if the file is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads((cache_folder() / "processor.json").read_text(encoding="utf-8"))
        if known["processor"] == _processor():
            return dict(known)
    return {}


def _remember(**values: object) -> None:
    with suppress(MachineError):  # If it cannot be cached, the next process measures it again.
        write_json(cache_folder() / "processor.json", {**_measured(), "processor": _processor(), **values})


def _processor() -> str:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return f"{json.dumps(capabilities, sort_keys=True, default=str)} torch {torch.__version__}"


def _measure() -> float:
    import torch

    products: dict[str, Callable[[], object]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(256, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
        products[str(dtype)] = functools.partial(torch.mm, left, right)
    times = _best_times(products, _ROUNDS)
    return times[str(torch.float32)] / times[str(torch.bfloat16)]


def _best_times(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best time of alternating rounds, so that a busy machine slows all ways equally.

    The clock of this thread stands still while other processes have its core; some systems advance
    it too rarely.
    """
    fine = time.get_clock_info("thread_time").resolution <= _FINE_SECONDS
    clock = time.thread_time if fine else time.perf_counter
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, compute in ways.items():
            start = clock()
            compute()
            best[way] = min(best[way], clock() - start)
    return best


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
