"""Run an input in its own process with limits on time and memory, and capture its output.

The process is forked from one that has imported everything, so an input takes milliseconds and
cannot affect others.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0
"""Time limit of one input, in seconds."""

MEGABYTES = 2048.0
"""Memory limit of the process of one input, including imported libraries, in MiB."""

_LOOK_EVERY = 0.005
_LOOK_SELDOM = 0.03
_FAILED = 70


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: a signal), why it was stopped, if it was, and its cost."""

    code: int
    stopped: str
    seconds: float
    megabytes: float


def forked(work: Callable[[], None], log: Path, *, until: float, seconds: float = SECONDS) -> Ended:
    """Call ``work`` in a forked process, and kill it with its children if it exceeds a limit.

    Args:
        work: the function; its standard input is an endless ``y``, so that prompts are answered and
            detected.
        log: file for its standard output and error.
        until: deadline on the monotonic clock.
        seconds: time limit.

    Returns:
        How it ended; ``stopped`` is empty, ``hang``, ``memory`` or ``time``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    start = time.monotonic()
    child = os.fork()
    if not child:
        _be_child(work, log)
    stopped, peak = "", 0.0
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        spent = time.monotonic() - start
        if ended:
            break
        peak = max(peak, _megabytes(child))
        stopped = (
            "memory" if peak > MEGABYTES else "time" if time.monotonic() > until else "hang" if spent > seconds else ""
        )
        if stopped:
            _end(child)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(_LOOK_EVERY if spent < 1 else _LOOK_SELDOM)
    _end(child)
    peak = max(peak, usage.ru_maxrss / 1024)
    if not stopped and peak > MEGABYTES:
        stopped = "memory"
    return Ended(os.waitstatus_to_exitcode(status), stopped, time.monotonic() - start, peak)


def _be_child(work: Callable[[], None], log: Path) -> None:
    """Run the forked process; never returns."""
    code = _FAILED
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        answers = log.with_suffix(".answers")
        answers.write_bytes(b"y\n" * 64)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(answers, os.O_RDONLY), 0)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
        work()
        sys.stdout.flush()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def asked() -> bool:
    """Return whether this process's standard input was read."""
    return os.lseek(0, 0, os.SEEK_CUR) > 0


def _end(child: int) -> None:
    """Kill a process and its descendants."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _megabytes(process: int) -> float:
    """Return the resident memory of a process and its descendants in MiB."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(_megabytes(int(each)) for each in below)
