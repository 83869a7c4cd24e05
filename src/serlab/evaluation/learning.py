"""Whether a model has learned, and what its training score warns of.

A model has learned if the interval of its test UAR lies above chance, which guessing without
listening cannot reach. The training score does not decide it: a strongly regularised model gets few
of its training clips right and may still be the best on test. A low or very high training score is
a caution about what to try next.
"""

from __future__ import annotations

from fractions import Fraction
from statistics import mean

from serlab.evaluation.resampling import Interval

HALF = 0.5
"""Both cautions use the share of what lies between chance and a perfect score. Underfitted: training reaches less than
half of it. Overfitted: test keeps less than half of what training reached. Half is a convention, not a test: it is the
same for any number of labels, and beyond it most of what could be learned, or most of what was, is missing."""
NOT_SHOWN = "not shown to be above chance"
"""The words, everywhere, for a model whose interval does not lie above chance."""
_ROUNDING = 1e-9


def chance_of(*labels: int) -> float:
    """Expected UAR of the best guess without listening, if K labels have clips: 1/K; a mean over several K.

    Args:
        labels: number of labels that have clips, under each seed.

    >>> chance_of(4), chance_of(2, 4)
    (0.25, 0.375)
    """
    return float(mean(Fraction(1, count) for count in labels))


def has_learned(uar: Interval, chance: float, *, side: str = "test") -> bool | None:
    """Decide whether a model has learned; nothing else does.

    Args:
        uar: the UAR with its interval over speakers.
        chance: from :func:`chance_of`.
        side: subset of the clips. Dev was used to choose the model, so it shows nothing.

    Returns:
        True if the interval lies above chance, False if it does not, None if unknown: without an
            interval (few or unknown speakers), on another subset than test, or with fewer than two
            labels.

    >>> has_learned(Interval(0.3, 0.2, 0.4), 1 / 6), has_learned(Interval(0.2, 0.15, 0.25), 1 / 6)
    (True, False)
    >>> has_learned(Interval(0.9, None, None, "fewer than 10 speakers (4)"), 1 / 6)
    """
    if uar.low is None or side != "test" or chance == 1:
        return None
    return uar.low > chance + _ROUNDING


def fit_caution(train_uar: float | None, uar: float, chance: float) -> str | None:
    """Name what a training score points to: ``underfitted``, ``overfitted``, or None.

    Args:
        train_uar: the UAR on the training clips, None if it is not known.
        uar: the UAR on the clips that the model is judged on.
        chance: from :func:`chance_of`.

    >>> fit_caution(0.5, 0.48, 1 / 6), fit_caution(0.99, 0.4, 1 / 6), fit_caution(0.92, 0.73, 1 / 6)
    ('underfitted', 'overfitted', None)
    """
    if train_uar is None or chance == 1:
        return None
    reached = train_uar - chance
    if reached < HALF * (1 - chance) - _ROUNDING:
        return "underfitted"
    return "overfitted" if uar - chance < HALF * reached - _ROUNDING else None
