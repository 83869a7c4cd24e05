"""Peak memory is measured; memory that a block frees is kept until the block ends."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from serlab.training.memory import PeakMemory

MB = 2**20
_STATUS = Path("/proc/self/status")
linux = pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not _STATUS.is_file(), reason="glibc on Linux")


def test_the_peak_is_that_of_the_stretch() -> None:
    peak = PeakMemory()
    before = peak.megabytes()
    array = torch.ones(200 * MB // 4)
    del array
    assert peak.megabytes() > before + 150


# In a process of its own: in one that has allocated much before, a hole in the heap may serve where
# the system did.
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


@linux
def test_freed_memory_is_kept_while_the_block_lasts() -> None:
    ended = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    before, inside, after, later = map(int, ended.stdout.split())
    assert inside > 150
    assert max(before, after, later) < 100
