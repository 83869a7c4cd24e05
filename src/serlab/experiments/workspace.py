"""Where a run works until it is done: a private folder of checkpoints, and a lock against a second process."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.core.files import unwritable, write_json
from serlab.core.progress import say


def workspace_of(target: Path, identity: Mapping[str, Any]) -> Path:
    """The run's private folder for checkpoints; one of another configuration is cleared.

    Args:
        target: the run's model folder, whether it is kept or not.
        identity: what makes the run the same as another.
    """
    folder = target.with_name(f".{target.name}.work")
    mark = folder / "identity.json"
    try:
        if json.loads(mark.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(folder)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
    if mark.is_file():
        say(f"{target.parent.name} {target.name}: going on where an interrupted run stopped.")
    else:
        write_json(mark, dict(identity))
    return folder


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep a second process from doing the same run; the system drops the lock when a process dies."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = target.with_name(f".{target.name}.lock").open("w")
    except OSError as error:
        raise unwritable(target.parent, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is doing {target} right now; wait for it.") from None
        try:
            yield
        finally:
            Path(stream.name).unlink(missing_ok=True)
