from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from serlab.core import MachineError, precision
from serlab.core.precision import autocast, bf16_gain, device, has_bf16, resolve

ON_CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="asks the processor")
FLAGS = {"avx512_bf16": True}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path))
    bf16_gain.cache_clear()
    yield tmp_path
    bf16_gain.cache_clear()


def test_auto_follows_the_machine(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    assert resolve("auto") == "bf16"
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    assert resolve("auto") == "fp32"


@ON_CPU
@pytest.mark.parametrize("name", ["fp32", "bf16", "int8"])
def test_what_is_asked_for_is_what_one_gets(name):
    assert resolve(name) == name


def test_what_a_gpu_lacks_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not has_bf16()
    assert resolve("auto") == "fp32"
    with pytest.raises(MachineError, match="--precision fp32"):
        resolve("bf16")
    with pytest.raises(MachineError, match="--precision bf16"):
        resolve("int8")


@ON_CPU
@pytest.mark.parametrize(("gain", "wanted"), [(0.5, False), (1.0, False), (2.0, True)])
def test_a_processor_that_lists_bf16_has_it_only_where_it_is_faster(monkeypatch, gain, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FLAGS)
    monkeypatch.setattr(precision, "bf16_gain", lambda: gain)
    assert has_bf16() == wanted


@ON_CPU
def test_a_processor_without_bf16_is_not_even_asked(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr(precision, "bf16_gain", lambda: pytest.fail("measured"))
    assert not has_bf16()


def test_the_gain_is_measured_once_and_remembered(home, monkeypatch):
    first = bf16_gain()
    assert first > 0
    assert json.loads((home / "processor.json").read_text())["bf16_gain"] == pytest.approx(first, abs=1e-3)
    bf16_gain.cache_clear()
    monkeypatch.setattr(precision, "_measure", lambda: pytest.fail("measured again"))
    assert bf16_gain() == pytest.approx(first, abs=1e-3)


@pytest.mark.parametrize("text", ["{", "[]", '{"processor": "another", "bf16_gain": 9}'])
def test_a_damaged_or_foreign_memory_counts_for_nothing(home, monkeypatch, text):
    (home / "processor.json").write_text(text)
    monkeypatch.setattr(precision, "_measure", lambda: 1.25)
    assert bf16_gain() == 1.25


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_matrix_products_run_in_the_precision(name, dtype):
    values = torch.ones(2, 2, device=device())
    with autocast(name):
        assert (values @ values).dtype == dtype


@ON_CPU
def test_under_int8_what_stays_floating_is_as_auto(monkeypatch):
    values = torch.ones(2, 2)
    for there, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "has_bf16", lambda there=there: there)
        with autocast("int8"):
            assert (values @ values).dtype == dtype
