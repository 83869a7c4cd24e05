"""The context that the runs of a comparison share, and the identity of each run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serlab.core import Exclusion
from serlab.corpora.base import Corpus
from serlab.corpora.screening import screen
from serlab.experiments.layout import Results, RunFiles
from serlab.frontends.store import FeatureStores
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe, identify, precision_of


@dataclass(frozen=True)
class RunSpec:
    """One run of a comparison: a recipe on a fold with a seed.

    Attributes:
        recipe: the recipe.
        hash: its hash.
        weights_sha256: identity of its pretrained weights; None if it has none.
        fold: the fold.
        seed: the seed.
    """

    recipe: Recipe
    hash: str
    weights_sha256: str | None
    fold: Fold
    seed: int

    @classmethod
    def of(cls, recipe: Recipe, fold: Fold, seed: int) -> RunSpec:
        """Identify the recipe.

        Raises:
            UserError, MachineError: its weights cannot be found.
        """
        return cls(recipe, *identify(recipe), fold, seed)

    @property
    def folder(self) -> str:
        """Name of the recipe's results folder."""
        return self.recipe.folder(self.hash)

    @property
    def stem(self) -> str:
        """Name of the run's files, without their endings."""
        return f"fold{self.fold.number}-seed{self.seed}"

    @property
    def title(self) -> str:
        """Name of the run in messages and progress bars."""
        return f"{self.recipe.name} fold {self.fold.number} seed {self.seed}"


@dataclass(frozen=True)
class RunIdentity:
    """The identity of a run.

    Attributes:
        recipe: hash of the recipe.
        corpus: fingerprint of the corpus.
        protocol: name of the protocol.
        protocol_version: its version; omitted from JSON if 1.
        fold: number of the fold.
        seed: the seed.
        precision: of the recipe on this machine.
    """

    recipe: str
    corpus: str
    protocol: str
    protocol_version: str
    fold: int
    seed: int
    precision: str

    def data(self) -> dict[str, Any]:
        """As in the signature's JSON."""
        data = asdict(self)
        if self.protocol_version == "1":
            del data["protocol_version"]
        return data


@dataclass(frozen=True)
class RunContext:
    """The context that all runs of a comparison share.

    Attributes:
        corpus: the corpus.
        split: the protocol applied to it.
        out: the results folder.
        stores: features computed so far.
        dev_only: never predict the test subset.
        keep_models: keep each run's model folder.
    """

    corpus: Corpus
    split: Split
    out: Path
    stores: FeatureStores = field(default_factory=FeatureStores)
    dev_only: bool = False
    keep_models: bool = False

    @cached_property
    def exclusions(self) -> tuple[Exclusion, ...]:
        """Clips that cannot be used, as in signatures. The first access reads every new file."""
        # Signatures and reports are shared, so they contain the file's name, not its path.
        return tuple(replace(exclusion, path=Path(exclusion.path).name) for exclusion in screen(self.corpus))

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """The corpora of the runs: one, unless a model is trained on several."""
        return (self.corpus,)

    @property
    def excluded(self) -> frozenset[str]:
        """Ids of the clips that cannot be used."""
        return frozenset(exclusion.clip for exclusion in self.exclusions)

    @property
    def results(self) -> Results:
        """The folder of the results."""
        return Results(self.out, self.corpus.name, self.split.name)

    def files(self, spec: RunSpec) -> RunFiles:
        """The files of a run."""
        return self.results.files(spec.folder, spec.stem)

    def identity(self, spec: RunSpec) -> RunIdentity:
        """The identity of a run."""
        return RunIdentity(
            spec.hash,
            self.corpus.fingerprint,
            self.split.name,
            self.split.version,
            spec.fold.number,
            spec.seed,
            precision_of(spec.recipe),
        )

    def ledger_entry(self, spec: RunSpec) -> dict[str, Any]:
        """The ledger entry for this run's use of its test subset."""
        names = {"corpus": self.corpus.name, "fingerprint": self.corpus.fingerprint, "recipe": spec.folder}
        entry = {**self.identity(spec).data(), **names, "hash": spec.hash, "side": "test"}
        return entry | ({"smoke": True} if self.corpus.smoke else {})
