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
from serlab.experiments.layout import RunFiles


def workspace_of(files: RunFiles, identity: Mapping[str, Any]) -> Path:
    """The run's private folder for checkpoints; one of another configuration is cleared.

    Args:
        files: the run's files.
        identity: what makes the run the same as another.
    """
    folder = files.workspace
    mark = folder / "identity.json"
    try:
        if json.loads(mark.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(folder)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
    if mark.is_file():
        say(f"{folder.parent.name} {files.model.name}: going on where an interrupted run stopped.")
    else:
        write_json(mark, dict(identity))
    return folder


@contextmanager
def locked(files: RunFiles) -> Iterator[None]:
    """Keep a second process from doing the same run; the system drops the lock when a process dies."""
    try:
        files.lock.parent.mkdir(parents=True, exist_ok=True)
        stream = files.lock.open("w")
    except OSError as error:
        raise unwritable(files.lock.parent, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is doing {files.model} right now; wait for it.") from None
        try:
            yield
        finally:
            Path(stream.name).unlink(missing_ok=True)
