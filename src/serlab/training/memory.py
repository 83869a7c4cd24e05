"""Peak memory of a stretch of work, in this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak resident memory since construction (Linux; elsewhere since the process began)."""

    def __init__(self) -> None:
        try:
            _RESET.write_text("5")
        except OSError:
            return

    def megabytes(self) -> int:
        """The peak so far, in MB."""
        try:
            lines = _STATUS.read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
        except (OSError, StopIteration):
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
