"""Execute a notebook and write it with its outputs: ``python tools/notebook.py SOURCE [TARGET]``."""

from __future__ import annotations

import os
import sys

import nbformat
from nbclient import NotebookClient


def main(source: str, target: str) -> None:
    """Execute ``source``; an error in a cell ends the program.

    Args:
        source: the notebook.
        target: where to write it with its outputs; may be ``source``.
    """
    # tqdm asks for widgets, which the stored outputs cannot have.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    notebook = nbformat.read(source, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False).execute()
    # Versions of the machine that executed it would change with each execution.
    notebook.metadata.pop("language_info", None)
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[-1])
