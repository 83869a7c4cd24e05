"""Smoothing of segments over time, by a median or by a hidden Markov model, in memory that does not grow.

Both look a fixed number of segments ahead, so a live stream and a file give the same segments; live, each segment
comes later by that number of hops.

Median: each probability becomes its median over neighbours.

Hidden Markov model: the emotion of a segment is the hidden state. From a segment to the next it stays the same with
probability ``stay``, and otherwise changes to any other with equal probability. The model's probabilities p are the
observation: with equal priors of the labels, the likelihood of a state is proportional to p. Overlapping windows repeat
the same sound, so it is p ** (hop / window): each second counts once. A segment without speech observes nothing. The
result is the probability of each state given all segments before and :data:`AHEAD` after (the forward-backward
algorithm with a fixed lag; Rabiner 1989, "A tutorial on hidden Markov models", section III). Its most probable state
keeps the expected number of wrong segments lowest, which the single most probable path (Viterbi) does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HMM = "hmm"
AHEAD = 10
"""Segments after its own that the hidden Markov model uses."""
STAY_PER_SECOND = 0.9
"""Default probability that an emotion still lasts a second later: ten seconds on average."""


class Average(Protocol):
    """Replaces the probabilities of one segment after the other."""

    ahead: int
    """Segments after its own that it uses."""

    def __call__(self, rows: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
        """Smooth the probabilities of the next segment.

        Args:
            rows: probabilities, shape (labels,), of that segment and of at most ``ahead`` after it.

        Returns:
            Shape (labels,); None if the segment has none.
        """


class Median:
    """The median over ``size`` segments, of those with speech, with the segment in the middle."""

    def __init__(self, size: int) -> None:
        self.ahead = size // 2
        self._before: deque[NDArray[np.float64] | None] = deque(maxlen=self.ahead)

    def __call__(self, rows: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
        """See :class:`Average`."""
        near = [*self._before, *rows]
        self._before.append(rows[0])
        if rows[0] is None:
            return None
        shares = np.median([row for row in near if row is not None], axis=0)
        # Where neighbours have nothing in common, every median may be 0.
        return np.asarray(shares / shares.sum() if shares.any() else rows[0])


class HiddenMarkov:
    """The hidden Markov model of this module.

    Args:
        stay: probability that the next segment has the same emotion.
        weight: exponent of the probabilities, hop / window.
    """

    ahead = AHEAD

    def __init__(self, stay: float, weight: float) -> None:
        self._stay, self._weight = stay, weight
        self._forward: NDArray[np.float64] | None = None

    def __call__(self, rows: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
        """See :class:`Average`."""
        labels = next((len(row) for row in rows if row is not None), 0)
        if self._forward is None:
            if not labels:
                return None
            self._forward = np.full(labels, 1 / labels)
        own, *later = [self._likelihood(row) for row in rows]
        self._forward = _shares(self._moved(self._forward) * own)
        if rows[0] is None:
            return None
        backward = np.ones(len(own))
        for likelihood in reversed(later):
            backward = _shares(self._moved(likelihood * backward))
        return _shares(self._forward * backward)

    def _likelihood(self, row: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if row is None:
            assert self._forward is not None
            return np.ones_like(self._forward)
        return np.asarray(np.maximum(row, 1e-12) ** self._weight)

    def _moved(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """One step of the chain; its matrix is symmetric, so this is a step in either direction."""
        change = (1 - self._stay) / max(1, len(shares) - 1)
        return np.asarray(change * shares.sum() + (self._stay - change) * shares)


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / values.sum())


def default_stay(hop: float, labels: int) -> float:
    """Probability that an emotion lasts from a segment to the next, ``hop`` seconds later.

    >>> round(default_stay(0.5, 6), 3), round(default_stay(60, 6), 3)
    (0.949, 0.167)
    """
    return float(max(STAY_PER_SECOND**hop, 1 / max(1, labels)))
