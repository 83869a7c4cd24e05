"""An input that exceeds a limit or crashes is stopped, and the cause is reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches processes through /proc")

_PROGRAM = """
import os, sys, time
from pathlib import Path
from fuzz import process
from fuzz.process import forked

process.MEGABYTES = 150.0
log, later = Path(sys.argv[1]), time.monotonic() + 60

def held():
    held = bytearray(200 * 2**20)
    time.sleep(60)

def answered():
    assert input() == "y" and process.asked()
    print("printed")

def slept():
    time.sleep(60)

for work in (slept, held, os.abort, answered, log.mkdir):
    ended = forked(work, log, until=later, seconds=0.2 if work is slept else 20)
    print(ended.stopped or ended.code)
    if work is answered:
        print(log.read_text().strip(), flush=True)
print(forked(slept, log, until=time.monotonic() + 0.2).stopped)
"""


def test_each_end_is_distinguished(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    line = [sys.executable, "-c", _PROGRAM, str(tmp_path / "log")]
    run = subprocess.run(line, capture_output=True, text=True, check=True, cwd=root)
    # A process that raises ends with a code of its own.
    assert run.stdout.split() == ["hang", "memory", "-6", "0", "printed", "70", "time"]
