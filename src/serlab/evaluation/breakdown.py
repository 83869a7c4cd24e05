"""Where a paired difference of UAR comes from: speaker by speaker, and label by label.

Gains of single speakers describe the sample. What they say about other speakers is in the interval
of the difference. The intervals of the labels hold together: with K labels each has the level
1 - 0.05 / K (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serlab.evaluation.bootstrap import Difference, check_paired, differences
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import absent, partly_absent, recall_metrics, uar
from serlab.evaluation.resampling import FEWEST_SPEAKERS, LEVEL, STANDARD, Interval, Resampling

_EQUAL = 1e-9


@dataclass(frozen=True)
class Breakdown:
    """The first model less the second, in parts.

    Attributes:
        gains: difference of each speaker's UAR (mean over seeds), largest first; empty if speakers
            are unknown.
        ahead: speakers for whom the first model has the higher UAR.
        behind: speakers for whom it has the lower one.
        win_rate: share of speakers for whom the first model is ahead, equal ones counted half; None
            if speakers are unknown.
        effect_size: mean of the gains divided by their standard deviation (Cohen's d for pairs);
            None for few speakers and for equal gains.
        labels: difference of each label's recall, for the labels that have clips under all seeds.
        label_level: level of each label's interval; together they hold at 95 %.
    """

    gains: Mapping[str, float]
    ahead: int
    behind: int
    win_rate: float | None
    effect_size: float | None
    labels: Mapping[str, Difference]
    label_level: float


def breakdown(first: SpeakerCounts, second: SpeakerCounts, *, resampling: Resampling = STANDARD) -> Breakdown:
    """Break the difference of two models on the same clips down by speaker and by label.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels.
        resampling: how speakers are resampled; if they are unknown, there are no gains of speakers
            and no intervals.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    check_paired(first, second)
    apart = np.nanmean(uar(first.by_speaker) - uar(second.by_speaker), axis=0) if resampling.known else np.zeros(0)
    order = sorted(range(len(apart)), key=lambda place: (-apart[place], first.speakers[place]))
    ahead, behind = int((apart > _EQUAL).sum()), int((apart < -_EQUAL).sum())
    spread = float(apart.std(ddof=1)) if len(apart) >= FEWEST_SPEAKERS else 0.0
    without = [name for find in (absent, partly_absent) for name in find(first.by_seed, first.labels)]
    metrics = recall_metrics(first.labels, without)
    level = 1 - (1 - LEVEL) / max(1, len(metrics))
    return Breakdown(
        gains={first.speakers[place]: float(apart[place]) for place in order},
        ahead=ahead,
        behind=behind,
        win_rate=(ahead + (len(apart) - ahead - behind) / 2) / len(apart) if len(apart) else None,
        effect_size=float(apart.mean()) / spread if spread > _EQUAL else None,
        labels=differences(first, second, metrics=metrics, level=level, resampling=resampling),
        label_level=level,
    )


def excludes_zero(difference: Interval) -> bool:
    """Whether there is an interval and it lies on one side of zero."""
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high
