"""How many speakers are needed to see a difference: a simulation from the tables at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from serlab.evaluation.bootstrap import check_paired
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import UAR, Metric, Scores
from serlab.evaluation.resampling import LEVEL

POWER = 0.8
_TRIALS = 2000
_FEWEST, _MOST = 10, 2000


def influences(first: SpeakerCounts, second: SpeakerCounts, metric: Metric = UAR) -> NDArray[np.float64]:
    """What each speaker contributes to the paired difference, by the jackknife.

    Pseudo-values of leaving one speaker out (Tukey 1958): their mean is the difference up to a
    small bias, and their standard deviation over the root of the number of speakers is its standard
    error.

    Args:
        first: confusion counts.
        second: counts of the same clips.
        metric: the score whose difference it is.

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
    first: SpeakerCounts,
    second: SpeakerCounts,
    points: float,
    *,
    metric: Metric = UAR,
    power: float = POWER,
    seed: int = 0,
) -> int | None:
    """The fewest speakers that would show a difference of ``points`` in at least ``power`` of comparisons.

    Speakers like those at hand are drawn with their influences, moved so that the true difference
    is ``points``; the difference is shown if Student's 95 % interval excludes zero.

    Args:
        first: confusion counts.
        second: counts of the same clips.
        points: the true difference, in units of the score (.02 of UAR is two points).
        metric: the score.
        power: how often it should be shown.
        seed: of the simulation.

    Returns:
        The number, at least 10; None if 2,000 would not be enough.

    Raises:
        ValueError: the difference is larger than the range of the score, or not above zero.
    """
    if not 0 < points <= metric.width:
        raise ValueError(f"a difference of {metric.title} lies above 0 and is at most {metric.width:g}, not {points:g}")
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


def _with_and_without(counts: SpeakerCounts, metric: Metric) -> tuple[Scores, Scores]:
    """The score of all speakers, and with each one left out, shape (speakers,); means over seeds."""
    each = counts.of_speakers(metric)
    total = each.sum(axis=1, keepdims=True)
    return metric.score(total[:, 0]).mean(axis=0), metric.score(total - each).mean(axis=0)
