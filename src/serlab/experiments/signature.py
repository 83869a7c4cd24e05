"""What identifies a run, and the signature that lies beside its prediction table."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from serlab import __version__
from serlab.checkpoints.weights import public_name
from serlab.core import Exclusion, UserError
from serlab.core.ranks import world
from serlab.corpora.base import Corpus
from serlab.experiments.run import Outcome
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe, precision_of
from serlab.tables import ledger

_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn", "soundfile", "soxr")


@dataclass(frozen=True)
class Cell:
    """One cell of a comparison: a recipe on a fold with a seed.

    Attributes:
        recipe: the recipe.
        hash: its hash.
        weights_sha256: identity of its pretrained weights, None where it has none.
        corpus: the corpus.
        split: the protocol applied to it.
        fold: the fold.
        seed: the seed.
    """

    recipe: Recipe
    hash: str
    weights_sha256: str | None
    corpus: Corpus
    split: Split
    fold: Fold
    seed: int

    @property
    def folder(self) -> str:
        """Name of the recipe's results folder."""
        return self.recipe.folder(self.hash)

    @property
    def stem(self) -> str:
        """Name of the run's files, without their endings."""
        return f"fold{self.fold.number}-seed{self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this run the same as another."""
        return {
            "recipe": self.hash,
            "corpus": self.corpus.fingerprint,
            "protocol": self.split.name,
            **({} if self.split.version == "1" else {"protocol_version": self.split.version}),
            "fold": self.fold.number,
            "seed": self.seed,
            "precision": precision_of(self.recipe),
        }

    def ledger_entry(self) -> dict[str, Any]:
        """The line that says that this run reads its test side."""
        names = {"corpus": self.corpus.name, "fingerprint": self.corpus.fingerprint, "recipe": self.folder}
        entry = {**self.identity, **names, "hash": self.hash, "side": "test"}
        return entry | ({"smoke": True} if self.corpus.smoke else {})


def sign(cell: Cell, outcome: Outcome, exclusions: Sequence[Exclusion], started: str) -> dict[str, Any]:
    """Write down what exactly was run, as plain data.

    Args:
        cell: the run.
        outcome: what it gave.
        exclusions: clips of the corpus that were left out.
        started: when it began.
    """
    sides = {"train": cell.fold.train, "dev": cell.fold.dev, "test": cell.fold.test}
    side_of = {clip: name for name, clips in sides.items() for clip in clips}
    corpus, chosen = cell.corpus, cell.split
    settings = cell.recipe.settings()
    checkpoint = settings["model"].get("checkpoint", "")
    if checkpoint:
        # The weights are known by their hash; where they lay on this disk is nobody's business.
        checkpoint = settings["model"]["checkpoint"] = public_name(checkpoint)
    return {
        "serlab": __version__,
        "identity": cell.identity,
        "recipe": {
            "name": cell.folder,
            "title": cell.recipe.title,
            "hash": cell.hash,
            "pretrained": checkpoint or None,
            "config": settings,
        },
        "weights_sha256": cell.weights_sha256,
        "corpus": corpus.described(),
        "protocol": {
            "name": chosen.name,
            "version": chosen.version,
            "definition": chosen.definition,
            "speaker_disjoint": chosen.speaker_disjoint,
            "sentence_disjoint": chosen.sentence_disjoint,
            "folds": len(chosen.folds),
        },
        "fold": cell.fold.number,
        "seed": cell.seed,
        "precision": cell.identity["precision"],
        "sides": sorted(outcome.table["side"].unique()),
        "training": outcome.training,
        "cost": outcome.cost,
        "exclusions": [
            {**vars(entry), "fold": cell.fold.number, "side": side_of[entry.clip]}
            for entry in exclusions
            if entry.clip in side_of
        ]
        + [
            {**vars(entry), "path": Path(entry.path).name, "fold": cell.fold.number, "side": "none"}
            for entry in corpus.excluded
        ],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "machine": {
            "processor": torch.cpu.get_capabilities().get("cpu_name") or platform.machine(),
            "threads": torch.get_num_threads(),
            "processes": world(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": platform.system(),
        },
        "started": started,
        "finished": ledger.now(),
    }


def read_signature(path: Path) -> dict[str, Any]:
    """Read a run's signature.

    Raises:
        UserError: the file is none.
    """
    try:
        signature: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if all(key in signature for key in ("identity", "corpus", "sides")):
            return signature
        why = "it lacks keys"
    except (OSError, ValueError) as error:
        why = str(error)
    raise UserError(f"{path} is not a signature of a run: {why}; move it away, or choose another --out.")
