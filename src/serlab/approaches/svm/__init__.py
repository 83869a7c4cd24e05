"""Support vector machines on functionals: scikit-learn fits them, numpy predicts; torch is never imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Approach, FitContext, Identity, Saved, Scored, Subset, Supports
from serlab.approaches.history import History
from serlab.core import UserError
from serlab.core.settings import added

if TYPE_CHECKING:
    from serlab.approaches.svm.machine import SupportVectors
    from serlab.frontends.base import Features
    from serlab.frontends.functionals import Egemaps, MfccStatistics


@dataclass(frozen=True)
class Settings:
    """Support vector machine with an RBF kernel on functionals; C and gamma are searched inside the train subset.

    Attributes:
        features: ``mfcc`` statistics or ``egemaps`` functionals (extra ``opensmile``).
        C: inverse regularisation strengths to choose from.
        gamma: widths of the kernel to choose from, for standardised features.
        calibration: ``temperature`` keeps the SVM's own decision; ``regression``, used by the first
            version, decides by a logistic regression over the pairs' decision values.
    """

    kind: Literal["svm"] = "svm"
    features: Literal["mfcc", "egemaps"] = "mfcc"
    C: tuple[float, ...] = added(tuple(2.0**power for power in (-2, 0, 2, 4)))
    gamma: tuple[float, ...] = added(tuple(2.0**power for power in (-12, -10, -8, -6)))
    calibration: Literal["temperature", "regression"] = added("temperature", before="regression")

    def __post_init__(self) -> None:
        """Refuse empty grids and values that are not above 0."""
        for name in ("C", "gamma"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise UserError(f"model.{name} is {list(values)}; it must list numbers above 0.")


class FittedMachine:
    """A support vector machine on functionals."""

    needs_serlab = True
    precision = "fp64"

    def __init__(
        self,
        machine: SupportVectors,
        frontend: MfccStatistics | Egemaps,
        labels: tuple[str, ...],
        history: History | None = None,
    ) -> None:
        self.machine, self.frontend, self.labels, self.history = machine, frontend, labels, history
        count = sum(array.size for array in machine.arrays().values())
        self.parameters = count, count

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score functionals."""
        return self.scored(features).logits

    def scored(self, features: Sequence[Features]) -> Scored:
        """Score functionals, which are the embeddings."""
        stacked = np.stack(features)
        return Scored(self.machine.logits(stacked).astype(np.float32), stacked.astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write the machine's arrays."""
        self.machine.save(folder)


class SupportVectorMachine:
    """The approach."""

    settings = Settings
    titles = ("a support vector machine", "support vector machines")
    supports = Supports(used=frozenset())

    def identity(self, settings: Settings) -> Identity:
        """The front end and the grids; the grids keep the identity from before they were settings."""
        grids = {"C": list(settings.C), "gamma": list(settings.gamma)}
        return Identity(fixed={"frontend": _frontend(settings).config, **grids})

    def precision(self, asked: str) -> str:
        """Always fp64."""
        return "fp64"

    def fit(self, settings: Settings, train: Subset, dev: Subset | None, context: FitContext) -> FittedMachine:
        """Fit; the dev subset is not used."""
        from serlab.core.progress import say

        # Two: one for the inner folds' train parts, one for the held-out parts.
        train.check_labels(context.labels, at_least=2)
        store = context.stores.of(_frontend(settings))
        inputs = np.stack(store.many(train.files, f"{context.title}: features"))
        say(f"{context.title}: choosing C and gamma on training speakers")
        machine = _machine(settings).fit(
            inputs,
            train.targets,
            train.clips["speaker"].tolist(),
            n_labels=len(context.labels),
            seed=context.seed,
            penalties=settings.C,
            gammas=settings.gamma,
        )
        history = History("search", chosen=machine.chosen)
        return FittedMachine(machine, _frontend(settings), context.labels, history)

    def load(self, settings: Settings, saved: Saved) -> FittedMachine:
        """Load the machine's arrays."""
        machine = _machine(settings).load(saved.folder, len(saved.labels))
        return FittedMachine(machine, _frontend(settings), saved.labels)


def _machine(settings: Settings) -> type[SupportVectors]:
    from serlab.approaches.svm.machine import RegressedSupportVectorClassifier, SupportVectorClassifier

    return SupportVectorClassifier if settings.calibration == "temperature" else RegressedSupportVectorClassifier


def _frontend(settings: Settings) -> MfccStatistics | Egemaps:
    from serlab.frontends.functionals import Egemaps, MfccStatistics

    return MfccStatistics() if settings.features == "mfcc" else Egemaps()


APPROACH: Approach[Settings] = SupportVectorMachine()
