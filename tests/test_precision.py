from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from serlab import precision
from serlab.core import MachineError
from serlab.precision import autocast, device, has_bf16, resolve


def test_auto_follows_the_processor(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    assert resolve("auto") == "bf16"
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    assert resolve("auto") == "fp32"


def test_what_is_asked_for_is_what_one_gets():
    assert resolve("fp32") == "fp32"
    if not torch.cuda.is_available():
        assert resolve("bf16") == "bf16"


def test_bf16_on_a_gpu_without_it_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not has_bf16()
    assert resolve("auto") == "fp32"
    with pytest.raises(MachineError, match="--precision fp32"):
        resolve("bf16")


@pytest.mark.skipif(sys.platform != "linux" or torch.cuda.is_available(), reason="reads /proc/cpuinfo")
def test_the_processors_own_flags_agree():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert has_bf16() == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_matrix_products_run_in_the_precision(name, dtype):
    values = torch.ones(2, 2, device=device())
    with autocast(name):
        assert (values @ values).dtype == dtype
