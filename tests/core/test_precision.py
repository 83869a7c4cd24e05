from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from serlab.core import MachineError, UserError, precision
from serlab.core.errors import as_options
from serlab.core.precision import autocast, bf16_gain, device, fastest, has_bf16, on_device, resolve, without_tf32
from serlab.recipes import load_recipe

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
def test_an_explicit_precision_is_used(name):
    assert resolve(name) == name


def test_what_a_gpu_lacks_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not has_bf16()
    assert resolve("auto") == "fp32"
    with pytest.raises(MachineError, match="precision=fp32"):
        resolve("bf16")
    with pytest.raises(MachineError, match="precision=bf16"):
        resolve("int8")
    with on_device("cpu"):
        assert resolve("int8") == "int8"


@pytest.mark.parametrize("name", ["fp8", "FP32", "", None, 32])
def test_an_unknown_precision_is_an_error(name):
    with pytest.raises(UserError, match="is not one of auto, fp32, bf16, int8") as caught:
        resolve(name)
    assert as_options(caught.value).startswith("--precision ")


def test_a_device_holds_for_its_block_and_thread(monkeypatch):
    usual = device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device().type == "cuda"
    with on_device("cuda:1"):
        assert device() == torch.device("cuda", 1)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(device).result() == torch.device("cuda")
        with on_device("cpu"):
            assert device().type == "cpu"
        assert device() == torch.device("cuda", 1)
    monkeypatch.undo()
    assert device() == usual


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "", "CPU", 0])
def test_an_unknown_device_is_an_error(name):
    with pytest.raises(UserError, match=f"device={name} is unknown; use cpu, cuda or cuda:N"), on_device(name):
        pass


@pytest.mark.parametrize("name", ["cuda:99", pytest.param("cuda", marks=ON_CPU)])
def test_a_device_that_is_not_there_is_the_machines_fault(name):
    with pytest.raises(MachineError, match=f"device={name} is not available"), on_device(name):
        pass


def test_convolutions_are_exact_for_a_block_only():
    before = torch.backends.cudnn.allow_tf32
    with without_tf32():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_torch_is_loaded_late():
    code = "import sys, serlab.core.precision as p; p.resolve('fp32'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@ON_CPU
@pytest.mark.parametrize(("gain", "wanted"), [(0.5, False), (1.0, False), (2.0, True)])
def test_a_processor_that_lists_bf16_uses_it_only_if_it_is_faster(monkeypatch, gain, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FLAGS)
    monkeypatch.setattr(precision, "bf16_gain", lambda: gain)
    assert has_bf16() == wanted


@ON_CPU
def test_a_processor_without_bf16_is_not_measured(monkeypatch):
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
def test_a_damaged_or_foreign_measurement_is_ignored(home, monkeypatch, text):
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


@pytest.mark.parametrize("name", ["resnet18", "mfcc-svm", "whisper-base-probe"])
@pytest.mark.parametrize("asked", ["fp8", "int8"])
def test_no_recipe_is_trained_in_an_unknown_precision(name, asked):
    with pytest.raises(UserError, match=f"precision={asked} is not one of auto, fp32, bf16"):
        load_recipe(name, precision=asked)


@pytest.fixture
def untimed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(precision, "_choices", {})
    return home


def ways(**seconds: float):
    """Ways that take so long, in multiples of 2 ms; the first is the usual one."""

    def work(share: float) -> None:
        end = time.thread_time() + share * 2e-3
        while time.thread_time() < end:
            pass

    return lambda: {name: partial(work, share) for name, share in seconds.items()}


def test_the_fastest_way_is_chosen_only_if_it_is_clearly_faster(untimed):
    assert fastest("a", ways(usual=2, better=1, best=0.3)) == "best"
    assert fastest("b", ways(usual=1, equal=1.02, slower=2)) == "usual"


def test_a_way_is_timed_once_on_a_processor_and_remembered(untimed, monkeypatch):
    bf16_gain()
    assert fastest("a", ways(usual=2, other=0.5)) == "other"
    fastest("b", ways(usual=1))
    monkeypatch.setattr(precision, "_best_times", lambda *_: pytest.fail("timed again"))
    assert fastest("a", ways(usual=1, other=9)) == "other"
    monkeypatch.setattr(precision, "_choices", {})
    assert fastest("a", ways(usual=1, other=9)) == "other"
    bf16_gain.cache_clear()
    assert bf16_gain() > 0
    assert set(json.loads((untimed / "processor.json").read_text())) == {"processor", "bf16_gain", "ways"}


def test_timing_does_not_change_what_the_caller_draws(untimed):
    def drawing():
        torch.randn(3)
        return {"usual": lambda: torch.randn(5), "other": lambda: torch.randn(7)}

    torch.manual_seed(0)
    fastest("drawing", drawing)
    found = torch.randn(4)
    torch.manual_seed(0)
    assert torch.equal(found, torch.randn(4))


def test_processes_that_measure_at_once_use_one_way_and_lose_none(untimed, monkeypatch):
    def meanwhile(*_) -> str:
        precision._remember(ways={"a": "other", "b": "usual"})
        return "usual"

    monkeypatch.setattr(precision, "_fastest", meanwhile)
    assert fastest("a", ways(usual=1, other=1)) == "other"
    assert fastest("c", ways(usual=1, other=1)) == "usual"
    assert json.loads((untimed / "processor.json").read_text())["ways"] == {"a": "other", "b": "usual", "c": "usual"}


def test_a_way_that_no_longer_exists_or_of_another_processor_is_timed_again(untimed, monkeypatch):
    fastest("a", ways(usual=2, gone=0.1))
    monkeypatch.setattr(precision, "_choices", {})
    assert fastest("a", ways(usual=2, other=0.1)) == "other"
    monkeypatch.setattr(precision, "_choices", {})
    monkeypatch.setattr(precision, "_processor", lambda: "another")
    assert fastest("a", ways(usual=1, other=2)) == "usual"
    (untimed / "processor.json").write_text('{"processor": "another", "ways": 3}')
    monkeypatch.setattr(precision, "_choices", {})
    assert fastest("a", ways(usual=1, other=2)) == "usual"


def test_without_a_cache_folder_a_way_is_chosen_all_the_same(untimed, monkeypatch):
    (untimed / "file").write_text("")
    monkeypatch.setenv("SERLAB_CACHE", str(untimed / "file"))
    assert fastest("a", ways(usual=2, other=0.5)) == "other"
