"""The working folder of a run: a private folder of checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serlab.core.files import write_json
from serlab.core.progress import say
from serlab.experiments.layout import RunFiles


def workspace_of(files: RunFiles, identity: Mapping[str, Any]) -> Path:
    """The run's private folder for checkpoints; one of another configuration is cleared.

    Args:
        files: the run's files.
        identity: the run's identity.
    """
    folder = files.workspace
    mark = folder / "identity.json"
    try:
        if json.loads(mark.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(folder)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
    if mark.is_file():
        say(f"{folder.parent.name} {files.model.name}: resuming an interrupted run.")
    else:
        write_json(mark, dict(identity))
    return folder
