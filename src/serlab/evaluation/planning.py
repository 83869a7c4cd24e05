"""How many speakers would be needed to see a difference: a simulation from the tables at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from serlab.evaluation.bootstrap import LEVEL, check_paired
from serlab.evaluation.metrics import METRICS, Scores
from serlab.evaluation.outcomes import Outcomes

POWER = 0.8
_TRIALS = 2000
_FEWEST, _MOST = 10, 2000


def influences(first: Outcomes, second: Outcomes, metric: str = "uar") -> NDArray[np.float64]:
    """What each speaker adds to the paired difference, by the jackknife.

    Pseudo-values of leaving one speaker out (Tukey 1958): their mean is the difference up to a small bias, and their
    standard deviation over the root of the number of speakers is its standard error.

    Args:
        first: confusion counts.
        second: counts of the same clips.
        metric: name of a score of :data:`serlab.evaluation.metrics.METRICS`.

    Returns:
        Shape (speakers,).
    """
    check_paired(first, second)
    speakers = len(first.speakers)
    whole, without = (_with_and_without(first, metric), _with_and_without(second, metric))
    difference, left_out = whole[0] - without[0], whole[1] - without[1]
    values: NDArray[np.float64] = speakers * difference - (speakers - 1) * left_out
    return values


def speakers_needed(
    first: Outcomes, second: Outcomes, points: float, *, metric: str = "uar", power: float = POWER, seed: int = 0
) -> int | None:
    """The fewest speakers that would show a difference of ``points`` in at least ``power`` of comparisons.

    Speakers like those at hand are drawn with their influences, moved so that the true difference is ``points``; the
    difference is shown where Student's 95 % interval leaves out nought.

    Args:
        first: confusion counts.
        second: counts of the same clips.
        points: the true difference, as a share (.02 is two points).
        metric: name of a score.
        power: how often it should be shown.
        seed: of the simulation.

    Returns:
        The number, at least 10; None where 2,000 would not do.
    """
    values = influences(first, second, metric)
    moved = values - values.mean() + points

    def shown(speakers: int) -> float:
        drawn = np.random.default_rng([seed, speakers]).choice(moved, size=(_TRIALS, speakers))
        error = drawn.std(axis=1, ddof=1) / np.sqrt(speakers)
        return float((np.abs(drawn.mean(axis=1)) > -stdtrit(speakers - 1, (1 - LEVEL) / 2) * error).mean())

    if shown(_MOST) < power:
        return None
    low, high = _FEWEST - 1, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) >= power else (middle, high)
    return high


def _with_and_without(outcomes: Outcomes, metric: str) -> tuple[Scores, Scores]:
    """The score of all speakers, and with each one left out, shape (speakers,); means over seeds."""
    score = METRICS[metric]
    total = outcomes.by_speaker.sum(axis=1, keepdims=True)
    return score(total[:, 0]).mean(axis=0), score(total - outcomes.by_speaker).mean(axis=0)
