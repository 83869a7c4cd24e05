"""Memory of this process: its peak, and the reuse of freed memory."""

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
# Once set, glibc no longer adjusts its thresholds; these are the values it reaches with large
# arrays.
_AFTERWARDS = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}


class PeakMemory:
    """Peak resident memory since construction (outside Linux: since the process started)."""

    def __init__(self) -> None:
        try:
            _RESET.write_text("5")
        except OSError:
            return

    def megabytes(self) -> int | None:
        """The peak so far in MB; None on systems that do not report it (Windows)."""
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
    """Keep freed memory until the block ends, if the C library is glibc.

    By default, glibc returns large arrays to the system immediately and gets the same memory back
    page by page, cleared. This takes 5 % of a training step, because all steps use arrays of the
    same size. Results do not depend on it, so it is not a setting of recipes.
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
