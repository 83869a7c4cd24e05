"""How many speakers and seeds would be needed to see a difference, from the tables at hand.

The variance of a difference is that of speakers, which falls with their number, and that of
training, which falls with the number of seeds. A difference is seen with 80 % power if it is as
large as (t(.975) + t(.80)) standard errors, with the degrees of freedom that the interval has
then. The variances are estimates, so the number of speakers is one too, and has an interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, stdtrit

from serlab.evaluation.bootstrap import check_paired
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import StandardError, freedom_together, standard_error, training_variances
from serlab.evaluation.metrics import UAR, Metric, Scores
from serlab.evaluation.resampling import LEVEL

POWER = 0.8
_FEWEST, MOST = 10, 2000
_MOST_SEEDS = 1000
_ENDS = 0.8  # level of the interval of the number of speakers


@dataclass(frozen=True)
class Plan:
    """What would show a difference in four of five comparisons.

    Attributes:
        speakers: their number, at least 10, with as many seeds as ``seeds`` says; None if 2,000 are too few.
        low: lower end of its 80 % interval, None if 2,000 are too few.
        high: upper end, likewise.
        seeds: of each recipe: as many as there are, or, if their scatter alone hides the difference, as many as
            bring it down to half of the variance that may be. None for one seed, which says nothing about others,
            or if 1,000 are too few.
    """

    speakers: int | None
    low: int | None
    high: int | None
    seeds: int | None


def plan(first: SpeakerCounts, second: SpeakerCounts, points: float, *, metric: Metric = UAR) -> Plan:
    """The fewest speakers and seeds that would show a difference of ``points`` in four of five comparisons.

    Args:
        first: confusion counts.
        second: counts of the same clips.
        points: the true difference, in units of the score (.02 of UAR is two points).
        metric: the score.

    Raises:
        ValueError: the difference is larger than the range of the score, or not above zero; the two do not judge the
            same clips; or a label was spoken by one speaker alone.
    """
    check_paired(first, second)
    if not 0 < points <= metric.width:
        raise ValueError(f"a difference of {metric.title} lies above 0 and is at most {metric.width:g}, not {points:g}")
    of_speakers = standard_error([first, second], metric)
    if of_speakers is None:
        raise ValueError("a label is spoken by one speaker alone")
    trainings = np.concatenate([training_variances(term, metric) for term in (first, second)])
    at_hand = _Design(of_speakers, trainings, len(first.speakers), len(first.seeds))
    seeds: int | None = at_hand.seeds
    if at_hand.speakers_for(points) is None and trainings.any():
        seeds = at_hand.seeds_for(points)
    design = at_hand.with_seeds(seeds) if seeds else at_hand
    freedom = freedom_together(of_speakers, trainings, at_hand.seeds)
    tail = (1 - _ENDS) / 2
    low, high = (
        design.scaled(freedom / float(chdtri(freedom, upper))).speakers_for(points) for upper in (tail, 1 - tail)
    )
    return Plan(design.speakers_for(points), low, high, seeds if trainings.any() else None)


@dataclass(frozen=True)
class _Design:
    """The variances of a difference, and the numbers of speakers and seeds that they come from."""

    of_speakers: StandardError
    trainings: Scores
    speakers: int
    seeds: int

    def scaled(self, factor: float) -> _Design:
        """The same with other variances, as another sample might have shown them."""
        error = StandardError(self.of_speakers.error * factor**0.5, self.of_speakers.freedom)
        return _Design(error, self.trainings * factor, self.speakers, self.seeds)

    def with_seeds(self, seeds: int) -> _Design:
        """What more seeds would give."""
        return _Design(self.of_speakers, self.trainings * self.seeds / seeds, self.speakers, seeds)

    def with_speakers(self, speakers: int) -> _Design:
        """What other numbers of speakers would give; the degrees of freedom grow with them."""
        error = self.of_speakers.error * (self.speakers / speakers) ** 0.5
        freedom = self.of_speakers.freedom * (speakers - 1) / (self.speakers - 1)
        return _Design(StandardError(error, freedom), self.trainings, speakers, self.seeds)

    def shows(self, points: float) -> bool:
        """Whether a difference is as large as the interval and the power ask for."""
        freedom = freedom_together(self.of_speakers, self.trainings, self.seeds)
        quantiles = stdtrit(freedom, (1 + LEVEL) / 2) + stdtrit(freedom, POWER)
        return bool(quantiles * np.hypot(self.of_speakers.error, self.trainings.sum() ** 0.5) <= points)

    def speakers_for(self, points: float) -> int | None:
        """The fewest speakers that show it, None if 2,000 are too few."""
        return _fewest(_FEWEST, MOST, lambda speakers: self.with_speakers(speakers).shows(points))

    def seeds_for(self, points: float) -> int | None:
        """The fewest seeds whose scatter takes half of the variance that may be, None if 1,000 are too few."""
        none = StandardError(0.0, self.of_speakers.freedom)

        def shows(seeds: int) -> bool:
            more = self.with_seeds(seeds)
            return _Design(none, more.trainings, more.speakers, seeds).shows(points / 2**0.5)

        return _fewest(self.seeds, _MOST_SEEDS, shows)


def _fewest(low: int, high: int, enough: Callable[[int], bool]) -> int | None:
    """The least number from ``low`` to ``high`` that is enough, where all larger ones are; None if none is."""
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
