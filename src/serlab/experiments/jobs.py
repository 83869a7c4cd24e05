"""Parallel runs on one machine: loky's worker processes, each with its share of the cores.

Every worker has its own executor: its thread counts are set before torch is imported, the caller's
script does not run again in it, and if the system ends it, its run is known. A worker's log
messages go to the caller's logger. A worker always ends with its caller.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import suppress
from typing import Any

from serlab.core import MachineError, UserError, argument
from serlab.core.progress import LOGGER, say
from serlab.core.ranks import world
from serlab.training.processes import portable

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_RELAY_EVERY_S = 0.1
_EXIT_CODE = re.compile(r"(\w+)\((-?\d+)\)")


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def check_jobs(jobs: int) -> None:
    """Check that the machine has a core for each of ``jobs`` runs at once.

    Raises:
        UserError: it does not, or torchrun has already started several processes.
    """
    if jobs > 1 and world() > 1:
        raise UserError(
            f"{argument('jobs', jobs)} needs a single process, but torchrun has started {world()}; use one of the two."
        )
    if not 1 <= jobs <= len(cores()):
        raise UserError(
            f"{argument('jobs', jobs)} is not within 1 to {len(cores())}, the number of cores that serlab may use here."
        )


def spread(function: Callable[..., None], calls: Sequence[tuple[str, tuple[Any, ...]]], jobs: int) -> None:
    """Call a function many times, in ``jobs`` worker processes at once, each with its share of the cores.

    Args:
        function: a module-level function.
        calls: title, which prefixes the call's log messages, and arguments of each call, in order.
        jobs: number of calls at once.

    Raises:
        MachineError: the system ended a worker.
        Exception: the error of the first call that failed. No further call begins, and running
            calls are ended.
    """
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend import get_context

    usable, rest = cores(), deque(calls)
    threads = max(1, len(usable) // jobs)
    context = get_context("loky")
    lines = context.SimpleQueue()
    caller, held = context.Pipe(duplex=False)
    pools = [
        ProcessPoolExecutor(
            1,
            context=context,
            env=dict.fromkeys(_THREADS, str(threads)),
            initializer=_prepare,
            initargs=(usable[start : start + threads], lines, caller),
        )
        for start in range(0, threads * min(jobs, len(calls)), threads)
    ]
    busy: dict[Future[None], tuple[Executor, str]] = {}

    def begin(pool: Executor) -> None:
        if rest:
            title, arguments = rest.popleft()
            busy[pool.submit(_call, function, title, arguments)] = pool, title

    try:
        for pool in pools:
            begin(pool)
        while busy:
            done, _ = wait(busy, _RELAY_EVERY_S, FIRST_COMPLETED)
            while not lines.empty():
                say(lines.get())
            for future in done:
                pool, title = busy.pop(future)
                try:
                    future.result()
                except BrokenExecutor as error:
                    raise _gone(title, error) from None
                begin(pool)
    finally:
        for pool in pools:
            pool.shutdown(kill_workers=True)
        caller.close()
        held.close()


def _gone(title: str, error: BrokenExecutor) -> MachineError:
    name, code = found.groups() if (found := _EXIT_CODE.search(str(error))) else ("UNKNOWN", "unknown")
    if not code.startswith("-"):
        return MachineError(f"{title}: its process ended with exit code {code}; try it with {argument('jobs', 1)}.")
    why = f" (usually out of memory: use fewer {argument('jobs')})" if name == "SIGKILL" else ""
    return MachineError(f"{title}: the system ended its process with {name}{why}; the same command resumes from here.")


def _prepare(share: Sequence[int], lines: Any, caller: Any) -> None:
    """Set up a worker: its cores, its logging, and its end."""
    # Ctrl-C on a terminal reaches all processes; the caller handles it and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        # Threads that ignore the environment variables also stay on this worker's cores.
        os.sched_setaffinity(0, share)
    # Standard output is for the caller's result.
    os.dup2(2, 1)
    LOGGER.addHandler(_Relay(lines))
    LOGGER.setLevel(logging.INFO)
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()


def _end_with(caller: Any) -> None:
    """End this process with the caller; the caller's end closes the pipe."""
    with suppress(EOFError, OSError):
        caller.recv()
    os._exit(1)


def _call(function: Callable[..., None], title: str, arguments: tuple[Any, ...]) -> None:
    _Relay.title = title
    try:
        function(*arguments)
    except BaseException as error:
        raise portable(error, f"the process of {title}") from None


class _Relay(logging.Handler):
    """Sends a worker's log messages to the caller, with the title of the current call."""

    title = ""

    def __init__(self, lines: Any) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.put(text if text.startswith(self.title) else f"{self.title}: {text}")
