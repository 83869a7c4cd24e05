"""Apply a function to items in threads, ahead of the loop that needs the results."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

_THREADS = min(8, os.cpu_count() or 1)
_MOST = 512
_MOST_BYTES = 64 * 2**20


class Sized(Protocol):
    """A result that occupies ``nbytes`` bytes of memory."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


Item = TypeVar("Item")
Result = TypeVar("Result", bound=Sized)


def ahead(items: Iterable[Item], work: Callable[[Item], Result]) -> Generator[Result, None, None]:
    """Apply ``work`` to items in threads, ahead of the iteration over the results.

    A thread only takes an item while the limits on number and size leave room, and never waits. So
    memory is limited to these limits plus one result per thread, and the process can end even if
    the generator was never closed.

    Args:
        items: read by several threads, one at a time.
        work: thread-safe; its exceptions are raised in the iteration.

    Yields:
        The results, in the order of ``items``.
    """
    rest = iter(items)
    line: deque[Future[Result]] = deque()
    lock = threading.Lock()
    busy, held, over = 0, 0, False
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="serlab-reader")

    def take() -> None:
        nonlocal busy
        while not over and busy < _THREADS and len(line) < _MOST and held < _MOST_BYTES:
            try:
                item = next(rest)
            except StopIteration:
                return
            line.append(pool.submit(do, item))
            busy += 1

    def do(item: Item) -> Result:
        nonlocal busy, held
        size = 0
        try:
            result = work(item)
            size = result.nbytes
            return result
        finally:
            with lock:
                busy -= 1
                held += size
                take()

    try:
        with lock:
            take()
        while line:
            result = line.popleft().result()
            with lock:
                held -= result.nbytes
                take()
            yield result
    finally:
        with lock:
            over = True
        pool.shutdown(cancel_futures=True)
