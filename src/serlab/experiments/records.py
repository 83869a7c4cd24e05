"""What a run's signature says about its teachers. The dataclasses are the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from serlab.training.lesson import Lesson


@dataclass(frozen=True)
class TeacherModel:
    """One model of a teacher.

    Attributes:
        seed: its seed; None for a checkpoint.
        half: the half of the training speakers that it was trained on; None if on all.
        sha256: identity of its weights.
        precision: of its matrix products.
        speakers: the speakers that it was trained on; None if unknown.
        parameters: number of parameters; None for a checkpoint of another program.
        train_seconds: training time, its own teachers' included.
        training: its selected epoch, or the settings that were chosen.
    """

    seed: int | None
    half: int | None
    sha256: str
    precision: str
    speakers: list[str] | None
    parameters: int | None
    train_seconds: float
    training: Mapping[str, Any]


@dataclass(frozen=True)
class TeacherRecord:
    """The teachers of a run.

    Attributes:
        name: name of the recipe's results folder, or of the checkpoint.
        title: its title.
        hash: its hash, or the SHA-256 of the checkpoint's weights.
        models: its models.
        train_seconds: training time of all models.
        score_seconds: time to score the training clips.
        dev_used: whether one of them chose its settings or epoch by the run's dev subset.
    """

    name: str
    title: str
    hash: str
    models: list[TeacherModel]
    train_seconds: float
    score_seconds: float
    dev_used: bool

    def data(self) -> dict[str, Any]:
        """As in the signature."""
        return asdict(self)


@dataclass(frozen=True)
class Taught:
    """What teachers say about the training clips of a run, who they are, and what they have heard.

    Attributes:
        lesson: for training.
        record: for the signature.
        heard: corpora and speakers, for the signature.
        speech: recordings without labels, for the model folder.
    """

    lesson: Lesson
    record: TeacherRecord
    heard: list[dict[str, Any]]
    speech: list[dict[str, Any]] = field(default_factory=list)
