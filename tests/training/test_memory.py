"""Peak memory is seen; what a block frees is kept while it lasts and given back after."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from serlab.training.memory import PeakMemory, freed_memory_kept

MB = 2**20
_STATUS = Path("/proc/self/status")
linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not _STATUS.is_file(), reason="glibc on Linux")


def resident() -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def test_the_peak_is_that_of_the_stretch() -> None:
    peak = PeakMemory()
    before = peak.megabytes()
    array = torch.ones(200 * MB // 4)
    del array
    assert peak.megabytes() > before + 150


@linux
def test_freed_memory_is_kept_while_the_block_lasts() -> None:
    def work() -> None:
        arrays = [torch.ones(40 * MB // 4) for _ in range(5)]
        arrays.clear()

    before = resident()
    work()
    assert resident() < before + 100
    with freed_memory_kept():
        work()
        assert resident() > before + 150
    assert resident() < before + 100
    work()
    assert resident() < before + 100
