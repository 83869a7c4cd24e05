"""The layout of a results folder. Only this module builds paths below it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serlab.report.render import AUDIT

EVERYONE = "everyone"
"""Folder of models that were trained on all speakers, beside those of the protocols."""


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
