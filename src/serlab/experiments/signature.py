"""The signature of a prediction table: the exact configuration, timings and machine of a run.

The dataclasses are the JSON: a field is a key, in this order. Signatures of older versions may lack
keys.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from serlab import __version__
from serlab.checkpoints.weights import public_name
from serlab.core import UserError, argument
from serlab.core.ranks import world
from serlab.experiments.context import RunContext, RunIdentity, RunSpec
from serlab.experiments.records import TeacherRecord
from serlab.experiments.run import Cost, RunResult, TrainingRecord
from serlab.protocols import Split
from serlab.recipes import teacher_of
from serlab.recipes.recipe import SELF
from serlab.tables import ledger
from serlab.training.speech import public

_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn", "soundfile", "soxr")


@dataclass(frozen=True)
class RecipeRecord:
    """The recipe of a run.

    Attributes:
        name: name of its results folder.
        title: its title.
        hash: its hash.
        pretrained: public name of its pretrained weights; None if it has none.
        config: all its settings.
    """

    name: str
    title: str
    hash: str
    pretrained: str | None
    config: dict[str, Any]

    @classmethod
    def of(cls, spec: RunSpec) -> RecipeRecord:
        """Describe the recipe of a run."""
        settings = spec.recipe.settings()
        checkpoint = settings["model"].get("checkpoint", "")
        if checkpoint:
            # The weights are known by their hash; their path on this disk is private.
            checkpoint = settings["model"]["checkpoint"] = public_name(checkpoint)
        if settings["training"]["pretraining"]:
            settings["training"]["pretraining"] = public(settings["training"]["pretraining"])
        if teacher := spec.recipe.training.teacher:
            # Likewise, the signature has the teacher's hash.
            taught_by = teacher_of(spec.recipe)
            name = taught_by.name if taught_by and teacher.recipe != SELF else teacher.recipe
            names = {"recipe": name, "checkpoint": public_name(teacher.checkpoint) if teacher.checkpoint else ""}
            settings["training"]["teacher"] |= names
            settings["training"]["unlabelled"] = [Path(name).name for name in settings["training"]["unlabelled"]]
        return cls(spec.folder, spec.recipe.title, spec.hash, checkpoint or None, settings)


@dataclass(frozen=True)
class ProtocolRecord:
    """The protocol of a run.

    Attributes:
        name, version, definition, speaker_disjoint, sentence_disjoint: as in
            :class:`serlab.protocols.Split`.
        folds: how many there are.
    """

    name: str
    version: str
    definition: str
    speaker_disjoint: bool | None
    sentence_disjoint: bool | None
    folds: int

    @classmethod
    def of(cls, split: Split) -> ProtocolRecord:
        """Describe a split."""
        return cls(
            split.name,
            split.version,
            split.definition,
            split.speaker_disjoint,
            split.sentence_disjoint,
            len(split.folds),
        )


@dataclass(frozen=True)
class ExclusionRecord:
    """A clip that was left out.

    Attributes:
        clip, path, reason: as in :class:`serlab.core.Exclusion`; the path is the file's name.
        fold: the run's fold.
        side: the subset that lacks it, or ``none`` if it is not a clip of the corpus.
    """

    clip: str
    path: str
    reason: str
    fold: int
    side: str


@dataclass(frozen=True)
class Machine:
    """The machine of a run.

    Attributes:
        processor: its name.
        threads: of torch.
        processes: that trained together.
        gpu: its name; None without one.
        system: the operating system.
    """

    processor: str
    threads: int
    processes: int
    gpu: str | None
    system: str

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        return cls(
            torch.cpu.get_capabilities().get("cpu_name") or platform.machine(),
            torch.get_num_threads(),
            world(),
            torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            platform.system(),
        )


@dataclass(frozen=True)
class Signature:
    """The signature of a run.

    Attributes:
        serlab: version of serlab.
        identity: identity of the run.
        recipe: the recipe.
        weights_sha256: identity of its pretrained weights; None if it has none.
        corpus: as :meth:`serlab.corpora.base.Corpus.described` gives it.
        protocol: the protocol.
        fold, seed, precision: of the run.
        sides: the subsets in the prediction table, sorted.
        training: history, selection and training UAR.
        cost: parameters, times and memory.
        teacher: the teachers; the JSON lacks the key without any.
        heard: what the model, its teachers and its pretrained weights have heard; see
            :mod:`serlab.tables.heard`.
        exclusions: clips and other entries of the corpus that were left out.
        versions: of Python and the libraries that matter.
        machine: where it was run.
        started, finished: when, in UTC.
    """

    serlab: str
    identity: RunIdentity
    recipe: RecipeRecord
    weights_sha256: str | None
    corpus: dict[str, Any]
    protocol: ProtocolRecord
    fold: int
    seed: int
    precision: str
    sides: list[str]
    training: TrainingRecord
    cost: Cost
    teacher: TeacherRecord | None
    heard: list[dict[str, Any]]
    exclusions: list[ExclusionRecord]
    versions: dict[str, str]
    machine: Machine
    started: str
    finished: str

    def data(self) -> dict[str, Any]:
        """As JSON holds it."""
        parts = {name: getattr(self, name).data() for name in ("identity", "training", "cost")}
        data = asdict(self) | parts
        return data if self.teacher else {name: value for name, value in data.items() if name != "teacher"}


def sign(
    spec: RunSpec, context: RunContext, result: RunResult, started: str, identity: RunIdentity | None = None
) -> Signature:
    """Create the signature of a run.

    Args:
        spec: the run.
        context: what it shares with other runs.
        result: its result.
        started: start time.
        identity: its identity; from ``spec`` and ``context`` if None.
    """
    identity = identity or context.identity(spec)
    return Signature(
        serlab=__version__,
        identity=identity,
        recipe=RecipeRecord.of(spec),
        weights_sha256=spec.weights_sha256,
        corpus=context.corpus.described(),
        protocol=ProtocolRecord.of(context.split),
        fold=spec.fold.number,
        seed=spec.seed,
        precision=identity.precision,
        sides=sorted(result.table["side"].unique()),
        training=result.training,
        cost=result.cost,
        teacher=result.teacher,
        heard=list(result.heard),
        exclusions=_exclusions(spec, context),
        versions={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        machine=Machine.here(),
        started=started,
        finished=ledger.now(),
    )


def _exclusions(spec: RunSpec, context: RunContext) -> list[ExclusionRecord]:
    fold = spec.fold
    subsets = {"train": fold.train, "dev": fold.dev, "test": fold.test}
    subset_of = {clip: name for name, ids in subsets.items() for clip in ids}
    clips = [
        ExclusionRecord(entry.clip, entry.path, entry.reason, fold.number, subset_of[entry.clip])
        for entry in context.exclusions
        if entry.clip in subset_of
    ]
    others = [
        ExclusionRecord(entry.clip, Path(entry.path).name, entry.reason, fold.number, "none")
        for entry in context.corpus.excluded
    ]
    return clips + others


@dataclass(frozen=True)
class StoredSignature:
    """The parts of a signature on disk that planning needs, from any version of serlab.

    Attributes:
        path: its file.
        identity: identity of the run.
        fingerprint: of the corpus.
        sides: the subsets in the prediction table.
        heard: what the model, its teachers and its pretrained weights have heard; empty if unknown.
    """

    path: Path
    identity: Mapping[str, Any]
    fingerprint: str
    sides: tuple[str, ...]
    heard: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, path: Path) -> StoredSignature:
        """Read a run's signature.

        Raises:
            UserError: the file is not one.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            corpus, heard = found["corpus"]["fingerprint"], tuple(found.get("heard") or ())
            return cls(path, dict(found["identity"]), corpus, tuple(found["sides"]), heard)
        except KeyError as error:
            why = f"it lacks {error}"
        except TypeError:
            why = "it is another kind of JSON"
        except (OSError, ValueError) as error:
            why = str(error)
        raise UserError(
            f"{path} is not the signature of a run: {why}; move it away, or choose another {argument('out')} folder."
        )

    @property
    def recipe(self) -> str:
        """The recipe's hash."""
        return str(self.identity["recipe"])

    @property
    def protocol_version(self) -> str:
        """The protocol's version."""
        return str(self.identity.get("protocol_version", "1"))

    def check_identity(self, wanted: Mapping[str, Any], *, free: Collection[str] = ()) -> None:
        """Raise a UserError if the run is of another configuration.

        Args:
            wanted: identity of the run that is planned.
            free: keys that may differ.
        """
        for key, value in wanted.items():
            if key not in free and self.identity.get(key) != value:
                raise self.of_another(key, value)

    def of_another(self, key: str, wanted: object) -> UserError:
        """The error for a run whose identity differs in ``key``."""
        return UserError(
            f"{self.path} is of another configuration ({key} {self.identity.get(key)}, not {wanted}); move it away, "
            f"or choose another {argument('out')} folder."
        )
