"""The model folder of a fitted estimator, which is pickled as the bytes of its files."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from serlab.model.model import Model


class KeptModel:
    """A model folder in a temporary place, and the model that is loaded from it.

    The folder is deleted with this object. A pickle contains the files of the folder, which hold no
    code, instead of the loaded model.

    Args:
        precision: of predictions.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._open()

    def _open(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="serlab-"))
        self.folder = home / "model"
        self._model: Model | None = None
        self._loading = threading.Lock()
        self._finalizer = weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)

    @property
    def model(self) -> Model:
        """The model, loaded at the first use."""
        with self._loading:
            if self._model is None:
                self._model = Model(self.folder, precision=self.precision)
            return self._model

    def __getstate__(self) -> dict[str, Any]:
        """The precision, and the content of each file by its path within the folder."""
        files = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
        return {"precision": self.precision, "files": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Write the files again."""
        self.precision = state["precision"]
        self._open()
        for name, content in state["files"].items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
