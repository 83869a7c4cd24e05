"""Memory of a stretch of work, in this process: its peak, and what becomes of what is freed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

# Names and values of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER, _NONE = -1, 0
# Once set, glibc no longer adjusts its thresholds by itself; these are what it ends at where arrays are large.
_AFTERWARDS = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}


class PeakMemory:
    """Peak resident memory since construction (Linux; elsewhere since the process began)."""

    def __init__(self) -> None:
        try:
            _RESET.write_text("5")
        except OSError:
            return

    def megabytes(self) -> int | None:
        """The peak so far, in MB; None where the system does not tell (Windows)."""
        with suppress(OSError, StopIteration):
            lines = _STATUS.read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
        try:
            import resource
        except ImportError:
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what the block frees until it ends, where the C library is glibc.

    Left to itself, glibc gives large arrays back at once, and the system hands the same memory out again page by page,
    cleared: a twentieth of a training step, in which every array is as large as in the step before.
    """
    try:
        library = ctypes.CDLL(None)
        adjust, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield
        return
    adjust(_MMAP_MAX, _NONE)
    adjust(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        for name, value in _AFTERWARDS.items():
            adjust(name, value)
        trim(0)
