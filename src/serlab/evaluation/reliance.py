"""Abstention thresholds of a trained model, fitted on dev and kept in the model folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.core import UserError, argument
from serlab.evaluation.abstention import threshold_for
from serlab.evaluation.calibration import at_temperature, fit_temperature

RISKS = tuple(number / 100 for number in range(1, 51))
"""Shares of wrong answers that have a threshold."""


@dataclass(frozen=True)
class Reliance:
    """A temperature, and abstention thresholds for the confidence after it.

    Attributes:
        temperature: fitted on dev.
        thresholds: for each of :data:`RISKS`, the lowest confidence at which at most this share of
            the dev answers is wrong; None if there is none.
    """

    temperature: float
    thresholds: tuple[float | None, ...]

    @classmethod
    def fit(cls, logits: NDArray[np.float64], truth: NDArray[np.integer[Any]]) -> Reliance:
        """Fit on dev: logits of shape (clips, K), indices of the true labels of shape (clips,)."""
        temperature = fit_temperature(logits, truth)
        probabilities = at_temperature(logits, temperature)
        return cls(temperature, tuple(threshold_for(probabilities, truth, risk) for risk in RISKS))

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Reliance:
        """From what :func:`dataclasses.asdict` gave, as a signature holds it.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        found = cls(float(content["temperature"]), tuple(content["thresholds"]))
        if not 0 < found.temperature < math.inf or len(found.thresholds) != len(RISKS):
            raise ValueError("the temperature is not above 0, or the number of thresholds is wrong")
        if not all(threshold is None or isinstance(threshold, float) for threshold in found.thresholds):
            raise ValueError("a threshold is not a number")
        return found

    def threshold(self, risk: float) -> float:
        """The lowest confidence to answer at.

        Args:
            risk: largest share of wrong answers, as on dev; rounded down to a whole per cent.

        Raises:
            UserError: the risk is outside .01 to .5, or even the surest dev answers are wrong more
                often.
        """
        if not RISKS[0] <= risk <= RISKS[-1]:
            raise UserError(
                f"{argument('abstain', f'{risk:g}')} is not a share of errors from {RISKS[0]:g} to {RISKS[-1]:g}."
            )
        found = self.thresholds[int(round(100 * risk, 6)) - 1]
        if found is None:
            raise UserError(
                f"this model's surest dev answers are wrong more often than {argument('abstain', f'{risk:g}')} allows; "
                "allow a larger share."
            )
        return found

    def answers(self, logits: NDArray[np.float64], threshold: float) -> bool:
        """Whether a clip of these logits, shape (K,), is answered."""
        return bool(at_temperature(logits[None], self.temperature).max() >= threshold)
