"""How a model was fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class History:
    """How a model was fitted, for the run's signature.

    Attributes:
        selection: how the result was selected.
        epochs: number, loss and, with a dev subset, dev UAR of each epoch.
        best_epoch: the epoch whose weights were kept.
        chosen: settings that were searched for.
        earlier_seconds: training time of processes that were interrupted.
        pretraining: how the encoder was pretrained before; None if it was not.
    """

    selection: str
    epochs: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None
    chosen: Mapping[str, Any] | None = None
    earlier_seconds: float = 0.0
    pretraining: Mapping[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """The history as plain data, as in the signature."""
        found = {"epochs": list(self.epochs), "best_epoch": self.best_epoch, "selection": self.selection}
        more = {"chosen": self.chosen, "pretraining": self.pretraining}
        return {**found, **{name: dict(value) for name, value in more.items() if value is not None}}
