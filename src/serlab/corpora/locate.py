"""Find known corpora: in a given folder, below ``SERLAB_DATA``, or in the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

from serlab.core import UserError, argument
from serlab.core.files import user_folder

VARIABLE = "SERLAB_DATA"
"""Environment variable for a folder with one folder per corpus, by name."""


def locate(name: str, data: Path | None, how_to_get: str) -> Path:
    """Find the folder of a known corpus.

    Args:
        name: the corpus's name; its folder may have the name in capitals, like a cloned repository.
        data: the corpus's own folder; if it is given, no other place is searched.
        how_to_get: a phrase for the error: where the corpus comes from and under which licence.

    Returns:
        The folder.

    Raises:
        UserError: it is not in any of these places.
    """
    folders = [data] if data else _places(name)
    for folder in folders:
        if folder.is_dir():
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    raise UserError(
        f"the corpus {name} was not found (looked for the folder {looked}); get it from {how_to_get}, then give its "
        f"folder as {argument('data')} or set {VARIABLE} to the folder that contains {name}/."
    )


def place_for(name: str, data: Path | None) -> Path:
    """The folder for a corpus that is still to be fetched: ``data``, or the first place that is searched."""
    return data or _places(name)[0]


def _places(name: str) -> list[Path]:
    parents = [user_folder("data")]
    if named := os.environ.get(VARIABLE):
        parents.insert(0, Path(named).expanduser())
    return [parent / spelling for parent in parents for spelling in (name, name.upper())]
