"""Where a known corpus lies: ``--data``, else ``SERLAB_DATA``, else the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from serlab.core import UserError

VARIABLE = "SERLAB_DATA"
"""Environment variable that names a folder which holds corpora by name."""


def locate(name: str, data: Path | None, how_to_get: str) -> Path:
    """Find the folder of a known corpus.

    Args:
        name: the corpus's name; the same name in capitals, as a cloned repository has it, is found too.
        data: the corpus's own folder, if the user named it; then nowhere else is looked.
        how_to_get: a phrase for the error: where the corpus comes from and under which licence.

    Returns:
        The folder.

    Raises:
        UserError: it is in none of the places.
    """
    folders = [data] if data else _places(name)
    for folder in folders:
        if folder.is_dir():
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    raise UserError(
        f"the corpus {name} was not found (looked for the folder {looked}); get it from {how_to_get}, then name its "
        f"folder with --data or set {VARIABLE} to the folder that holds {name}/."
    )


def _places(name: str) -> list[Path]:
    parents = [platformdirs.user_data_path("serlab")]
    if named := os.environ.get(VARIABLE):
        parents.insert(0, Path(named))
    return [parent / spelling for parent in parents for spelling in (name, name.upper())]
