"""How sure a model must be to give a label, and the temperature of its scores, both fitted on its dev subset."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from serlab.evaluation.reliance import Reliance
from serlab.model import folder as folders
from serlab.model.segments import Answered


class Certainty:
    """What a model folder says about abstaining and calibration; read at the first use.

    Args:
        folder: the model folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: Reliance | None = None

    def answered(self, abstain: float | None, *, calibrated: bool) -> Answered:
        """Which scores get a label.

        Args:
            abstain: as for :meth:`serlab.Model.predict`.
            calibrated: whether the scores are divided by the temperature already.

        Raises:
            UserError: the model cannot abstain at this level.
        """
        if abstain is None:
            return lambda _: True
        found = self._reliance("abstain")
        threshold = found.threshold(abstain)
        return partial((replace(found, temperature=1.0) if calibrated else found).answers, threshold=threshold)

    def temperature(self, *, calibrated: bool) -> float | None:
        """What scores are divided by; None if they are not.

        Raises:
            UserError: the model has no temperature.
        """
        return self._reliance("calibrated").temperature if calibrated else None

    def _reliance(self, wanted: str) -> Reliance:
        if self._known is None:
            self._known = folders.load_reliance(self._folder, wanted)
        return self._known
