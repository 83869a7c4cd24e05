"""Where a run works until it is done: a private folder of checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serlab.core.files import write_json
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
