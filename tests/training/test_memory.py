"""Peak memory is measured; memory that a block frees is kept until the block ends."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")
linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not _STATUS.is_file(), reason="glibc on Linux")


# Both in processes of their own: in one that has allocated much before, a hole in the heap may serve
# where the system did.
PEAK = """
import torch
from serlab.training.memory import PeakMemory

torch.ones(300 * 2**18)
peak = PeakMemory()
before = peak.megabytes()
array = torch.ones(200 * 2**18)
del array
print(before, peak.megabytes())
"""
KEPT = """
import torch
from serlab.training.memory import freed_memory_kept

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

def work():
    arrays = [torch.ones(10 * 2**20) for _ in range(5)]
    arrays.clear()
    return resident()

before = resident()
print(work() - before)
with freed_memory_kept():
    print(work() - before)
print(resident() - before)
print(work() - before)
"""


def run(script: str) -> list[int]:
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [int(number) for number in ended.stdout.split()]


@linux
def test_the_peak_is_that_of_the_stretch() -> None:
    before, after = run(PEAK)
    assert before + 150 < after < before + 250


@linux
def test_freed_memory_is_kept_while_the_block_lasts() -> None:
    before, inside, after, later = run(KEPT)
    assert inside > 150
    assert max(before, after, later) < 100
