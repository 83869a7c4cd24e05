"""The layout of a results folder. Only this module builds paths below it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serlab.core.files import write_json
from serlab.core.progress import say
from serlab.report.render import AUDIT

EVERYONE = "everyone"
"""Folder of models that were trained on all speakers, beside those of the protocols."""
AS_IS = "as-is"
"""Protocol of finished models, which are tested on a corpus as they are."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, with a common name.

    Attributes:
        model: the model folder, ``<out>/<corpus>/<protocol>/<recipe>/fold<k>-seed<s>``.
    """

    model: Path

    @property
    def table(self) -> Path:
        """The prediction table."""
        return self.model.with_name(f"{self.model.name}.parquet")

    @property
    def signature(self) -> Path:
        """The signature of the prediction table."""
        return self.model.with_name(f"{self.model.name}.json")

    @property
    def workspace(self) -> Path:
        """The private folder for checkpoints during the run."""
        return self.model.with_name(f".{self.model.name}.work")

    def open_workspace(self, identity: Mapping[str, Any]) -> Path:
        """The workspace, emptied if a run of another configuration left it.

        Args:
            identity: what makes the run the same as another.
        """
        mark = self.workspace / "identity.json"
        try:
            if json.loads(mark.read_text(encoding="utf-8")) != identity:
                shutil.rmtree(self.workspace)
        except (OSError, ValueError):
            shutil.rmtree(self.workspace, ignore_errors=True)
        if mark.is_file():
            say(f"{self.model.parent.name} {self.model.name}: resuming an interrupted run.")
        else:
            write_json(mark, dict(identity))
        return self.workspace


@dataclass(frozen=True)
class Results:
    """The results of one corpus and protocol.

    Attributes:
        out: the results folder; the ledger lies directly in it.
        corpus: name of the corpus.
        protocol: name of the protocol.
    """

    out: Path
    corpus: str
    protocol: str

    @property
    def folder(self) -> Path:
        """``<out>/<corpus>/<protocol>``."""
        return self.out / self.corpus / self.protocol

    @property
    def audit(self) -> Path:
        """The findings of the leak audit."""
        return self.folder / AUDIT

    def files(self, recipe: str, stem: str) -> RunFiles:
        """The files of a run, from its recipe's folder name and its own name."""
        return RunFiles(self.folder / recipe / stem)

    def signatures(self) -> list[Path]:
        """The signatures of all finished runs, sorted."""
        return sorted(self.folder.glob("*/fold*-seed*.json"))


def marks(*, balanced: bool, normalised: bool) -> str:
    """The end of a protocol's name that says how a model across corpora was trained."""
    return f"{'-balanced' if balanced else ''}{'-normalised' if normalised else ''}"


def protocol_from(source: str, *, balanced: bool = False, normalised: bool = False) -> str:
    """The protocol of models that were trained on other corpora.

    Args:
        source: name of the corpora.
        balanced: whether clips of smaller corpora were repeated in training.
        normalised: whether features were normalised per corpus.

    >>> protocol_from("tess", normalised=True)
    'from-tess-normalised'
    """
    return f"from-{source}{marks(balanced=balanced, normalised=normalised)}"
