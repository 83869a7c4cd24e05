"""What a run's signature says about its teachers. The dataclasses are the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serlab.training.lesson import Lesson


@dataclass(frozen=True)
class TeacherModel:
    """One model of a teacher.

    Attributes:
        seed: its seed.
        half: the half of the training speakers that it was trained on; None if on all.
        sha256: identity of its weights.
        precision: of its matrix products.
        speakers: the speakers that it was trained on; None if unknown.
        parameters: number of parameters.
        train_seconds: training time, its own teachers' included.
        training: its selected epoch, or the settings that were chosen.
    """

    seed: int
    half: int | None
    sha256: str
    precision: str
    speakers: list[str] | None
    parameters: int
    train_seconds: float
    training: Mapping[str, Any]


@dataclass(frozen=True)
class TeacherRecord:
    """The teachers of a run.

    Attributes:
        name: name of the recipe's results folder.
        title: its title.
        hash: its hash.
        models: its models.
        train_seconds: training time of all models.
        score_seconds: time to score the training clips.
    """

    name: str
    title: str
    hash: str
    models: list[TeacherModel]
    train_seconds: float
    score_seconds: float

    def data(self) -> dict[str, Any]:
        """As in the signature."""
        return asdict(self)


@dataclass(frozen=True)
class Taught:
    """What teachers say about the training clips of a run, and who they are."""

    lesson: Lesson
    record: TeacherRecord
