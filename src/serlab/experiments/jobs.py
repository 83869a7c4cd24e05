"""Several runs at once on one machine: worker processes, each on its own share of the cores.

A worker is a fresh Python: its numbers of threads are set before torch is loaded, and nothing of the caller's script
runs again in it. It gets one call after the other over a connection, and sends its lines of progress back over it, so
that live bars never meet on one terminal. When the connection closes, whatever has become of the caller, it ends.
"""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from serlab.core import MachineError, UserError
from serlab.core.progress import say
from serlab.core.ranks import world
from serlab.training.processes import portable

_START = "from serlab.experiments.jobs import work; work()"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_LAST_SECONDS = 3.0


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def check_jobs(jobs: int) -> None:
    """Refuse a number of runs at once that the machine has no cores for.

    Raises:
        UserError: it is not within 1 to the number of cores, or torchrun has started several processes already.
    """
    if jobs > 1 and world() > 1:
        raise UserError(f"--jobs {jobs} is for one process, and torchrun has started {world()}; leave one of them out.")
    if not 1 <= jobs <= len(cores()):
        raise UserError(
            f"--jobs {jobs} is not within 1 to {len(cores())}, the number of cores that serlab may use here."
        )


def spread(function: Callable[..., None], calls: Sequence[tuple[str, tuple[Any, ...]]], jobs: int) -> None:
    """Call a function many times, in ``jobs`` worker processes at once, each with its share of the cores.

    Args:
        function: a function of a module.
        calls: for each call, in order, the title that its lines get, and the arguments.
        jobs: how many calls at once.

    Raises:
        MachineError: a worker was ended by the system.
        Exception: what the first call that failed has raised; no further call is begun, and those running are ended.
    """
    usable = cores()
    threads = max(1, len(usable) // jobs)
    rest = deque(calls)
    workers: list[_Worker] = []
    try:
        while rest and len(workers) < jobs:
            start = len(workers) * threads
            workers.append(_Worker(usable[start : start + threads]))
            workers[-1].begin(function, *rest.popleft())
        busy: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
        while busy:
            for connection in wait(list(busy)):
                worker = busy[connection]
                if not worker.hear():
                    continue
                if rest:
                    worker.begin(function, *rest.popleft())
                else:
                    busy.pop(connection).connection.close()
    finally:
        _end(workers)


class _Worker:
    """A worker process as its caller sees it."""

    def __init__(self, share: Sequence[int]) -> None:
        self.title = ""
        self.connection, theirs = Pipe()
        environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, str(len(share))),
            "PYTHONPATH": os.pathsep.join(folder or "." for folder in sys.path),
        }
        with theirs:
            # A group of its own: Ctrl-C on the terminal reaches the caller alone, which ends the workers in order.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), *map(str, share)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def begin(self, function: Callable[..., None], title: str, arguments: tuple[Any, ...]) -> None:
        """Let the worker do a call."""
        self.title = title
        try:
            self.connection.send((function, title, arguments))
        except OSError:
            raise self._gone() from None

    def hear(self) -> bool:
        """Take one message; whether the call is done."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if kind == "failed":
            raise content
        if kind == "line":
            say(content if content.startswith(self.title) else f"{self.title}: {content}")
        return bool(kind == "done")

    def _gone(self) -> MachineError:
        code = self.process.wait()
        if code >= 0:
            return MachineError(f"{self.title}: its process ended with exit code {code}; try it with --jobs 1.")
        why = " (most often for want of memory: try fewer --jobs)" if code == -signal.SIGKILL else ""
        return MachineError(
            f"{self.title}: the system ended its process with {signal.Signals(-code).name}{why}; "
            "the same command goes on from here."
        )


def _end(workers: Sequence[_Worker]) -> None:
    """End the workers: they are told to, and have a moment to tidy up."""
    try:
        for worker in workers:
            worker.connection.close()
        until = time.monotonic() + _LAST_SECONDS
        with suppress(subprocess.TimeoutExpired):
            for worker in workers:
                worker.process.wait(max(0.0, until - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def work() -> None:
    """Be a worker: do call after call until the connection closes; its number and the cores are the arguments."""
    handle, *share = map(int, sys.argv[1:])
    if hasattr(os, "sched_setaffinity"):
        # Whatever a run starts, threads that know nothing of the variables too, stays on this worker's cores.
        os.sched_setaffinity(0, share)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = _Channel(Connection(handle))
    sys.stdout = sys.stderr = _Lines(channel)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with suppress(KeyboardInterrupt):
        threading.Thread(target=_receive, args=(channel.connection, calls), daemon=True).start()
        while True:
            _do(calls.get(), channel)


def _receive(connection: Connection, calls: queue.SimpleQueue[bytes]) -> None:
    """Take calls in; when there is nobody any more to send one, interrupt what is being done, and soon end it."""
    with suppress(EOFError, OSError):
        while True:
            calls.put(connection.recv_bytes())
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(_LAST_SECONDS)
    os._exit(1)


def _do(message: bytes, channel: _Channel) -> None:
    title = "a worker"
    try:
        function, title, arguments = pickle.loads(message)
        function(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        channel.send("failed", portable(error, f"the process of {title}"))
    else:
        channel.send("done")


class _Channel:
    """The way back to the caller, for all threads."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()

    def send(self, kind: str, content: Any = None) -> None:
        # Where nobody listens any more, this process is about to be interrupted.
        with self.lock, suppress(OSError):
            self.connection.send((kind, content))


class _Lines(io.TextIOBase):
    """Standard error of a worker: whole lines go to the caller."""

    def __init__(self, channel: _Channel) -> None:
        self.channel = channel
        self.rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in filter(str.strip, lines):
            self.channel.send("line", line)
        return len(text)
