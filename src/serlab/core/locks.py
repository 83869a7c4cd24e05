"""Locks between processes, by a lock file. The system releases a lock when its process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serlab.core import UserError
from serlab.core.files import unwritable, whole
from serlab.core.progress import say

_SILENT_S = 2.0


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Prevent other processes from working on ``path`` during the block.

    Args:
        path: a file or folder, which need not exist; missing parent folders are made.
        wait: wait until no other process has the lock; a message says so. The lock file then stays,
            because processes wait on it.

    Raises:
        UserError: another process has the lock, and ``wait`` is False.
        MachineError: the lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    place = whole(path)
    file = place.with_name(f".{place.name}.lock")
    lock = FileLock(file)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_SILENT_S if wait else 0)
    except Timeout:
        if not wait:
            raise UserError(f"another process is working on {path}; wait until it has finished.") from None
        say(f"waiting for another process, which is working on {path}")
        lock.acquire()
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        if not wait:
            # Before the release: afterwards it may be another process's lock. Windows refuses, and
            # removes it later.
            with suppress(OSError):
                file.unlink()
        lock.release()
