"""Resampling speakers: what every interval in serlab is made with.

Clips of one speaker are not independent, so speakers are resampled, never clips. A replicate is how
often each speaker was drawn (multinomial); a statistic turns all replicates into values at once.

The ends are expanded percentiles (Hesterberg 2015, The American Statistician 69(4), section 4.5):
the plain percentile interval is too narrow for few speakers, by the missing n / (n - 1) of the
variance and by normal tails in place of Student's. Its tails of 2.5 % are replaced by those whose
normal quantile is sqrt(n / (n - 1)) t(n - 1). Compared with a studentised interval it needs no
second level of resampling, stays within the range of the score, and is steady where a label is
rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

REPLICATES = 10_000
LEVEL = 0.95
FEWEST_SPEAKERS = 10
MOST_INCOMPLETE = 0.05
"""The largest share of undefined replicates with which an interval is given."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A score with its interval.

    Attributes:
        value: the estimate.
        low: lower end of the 95 % interval, None if there is no interval.
        high: upper end.
        reason: why there is no interval, empty if there is one.
    """

    value: float
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Resampling:
    """How speakers are resampled; made once and passed to everything that gives an interval.

    The same seed, number of replicates and number of speakers draw the same speakers, so
    differences are paired and published intervals can be repeated.

    Attributes:
        known: False if the corpus does not say who speaks; then there are no intervals.
        replicates: number of bootstrap replicates.
        seed: of the draws.
    """

    known: bool = True
    replicates: int = REPLICATES
    seed: int = 0

    def reason_against(self, speakers: int) -> str:
        """Why this many speakers cannot be resampled; empty if they can."""
        if not self.known:
            return "the speakers are unknown"
        if speakers < FEWEST_SPEAKERS:
            return f"fewer than {FEWEST_SPEAKERS} speakers ({speakers})"
        return ""

    def draw(self, speakers: int) -> Floats:
        """How often each speaker is drawn, shape (replicates, speakers); read-only."""
        return draw_speakers(speakers, self.replicates, self.seed)

    def interval(self, value: float, statistic: Callable[[Floats], Floats], speakers: int) -> Interval:
        """The 95 % interval over speakers of any statistic.

        Args:
            value: the estimate.
            statistic: from how often each speaker was drawn, shape (replicates, speakers), to one
                value per replicate, shape (replicates,); NaN where it is undefined.
            speakers: number of speakers.
        """
        reason = self.reason_against(speakers)
        if reason:
            return Interval(value, None, None, reason)
        sample = statistic(self.draw(speakers))
        sample = sample[~np.isnan(sample)]
        if len(sample) < (1 - MOST_INCOMPLETE) * self.replicates:
            return Interval(value, None, None, "too few speakers define it to resample them")
        return Interval(value, *expanded_percentiles(sample, speakers, LEVEL))


STANDARD = Resampling()
"""10,000 replicates of known speakers: what every published interval is made with."""


@lru_cache(maxsize=4)
def draw_speakers(speakers: int, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """How often each speaker is drawn, shape (replicates, speakers); read-only."""
    drawn = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=replicates)
    weights = drawn.astype(np.float64)
    weights.flags.writeable = False
    return weights


def expanded_percentiles(sample: Floats, speakers: int, level: float) -> tuple[float, float]:
    """The ends of the interval of a resampled statistic, shape (replicates,)."""
    from scipy.special import ndtr, stdtrit

    tail = ndtr(np.sqrt(speakers / (speakers - 1)) * stdtrit(speakers - 1, (1 - level) / 2))
    low, high = np.quantile(sample, (tail, 1 - tail))
    return float(low), float(high)
