"""The model that serlab ships, under the reserved name ``box``."""

from __future__ import annotations

from pathlib import Path

from serlab.checkpoints.weights import BOX, BOX_FOLDER
from serlab.core import UserError
from serlab.model.schema import FILE

__all__ = ["BOX", "FOLDER", "folder_of"]

FOLDER = BOX_FOLDER


def folder_of(model: Path | str) -> Path:
    """The folder of a model: of the shipped one for the text ``box``, else the given one.

    Raises:
        UserError: this installation ships no model.
    """
    if model != BOX:
        return Path(model)
    if not (FOLDER / FILE).is_file():
        raise UserError(
            "this installation of serlab has no shipped model (box); name the folder of a model that you trained or "
            "downloaded. For a folder called box, write ./box."
        )
    return FOLDER
