"""Populations for which intervals are less dependable, and what to say of them.

What intervals promise was measured for speakers with about as many clips each, of every label. These
rules name the populations that are different; docs/method.md shows what coverage was measured there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import standard_error
from serlab.evaluation.metrics import UAR, UAR_SPEAKERS, recall
from serlab.evaluation.resampling import FEWEST_SPEAKERS

LARGE_SHARE = 0.25
"""A speaker with more than this share of the clips is named."""
UNEVEN = 3.0
"""Clips per speaker vary if the upper decile is at least this many times the lower."""
_DOUBT = 0.01


@dataclass(frozen=True)
class Caution:
    """Why intervals of a table are less dependable.

    Attributes:
        code: of the rule.
        text: in a sentence.
    """

    code: Literal["rare-label", "large-speaker", "size-and-ease"]
    text: str


def cautions(counts: SpeakerCounts, *, people: str = "speakers") -> tuple[Caution, ...]:
    """What makes the intervals of a recipe less dependable than those of a balanced table; often nothing.

    Args:
        counts: its confusion counts.
        people: what the corpus calls its speakers.
    """
    if len(counts.speakers) < FEWEST_SPEAKERS:
        return ()
    found = (_rare_labels(counts, people), _large_speaker(counts, people), _size_and_ease(counts, people))
    return tuple(each for each in found if each)


def _rare_labels(counts: SpeakerCounts, people: str) -> Caution | None:
    by_label = (counts.by_speaker.sum(axis=-1) > 0).all(axis=0).sum(axis=0)
    rare = [
        f"{label} ({number})"
        for label, number in zip(counts.labels, by_label, strict=True)
        if 0 < number < FEWEST_SPEAKERS
    ]
    found = standard_error([counts], UAR)
    if not rare or found is None:
        return None
    return Caution(
        "rare-label",
        f"Few of the {len(counts.speakers)} {people} spoke {', '.join(rare)}. The interval of UAR allows for that "
        f"with Student's t at {found.freedom:.1f} degrees of freedom in place of {len(counts.speakers) - 1}, but rests "
        f"on these few {people}.",
    )


def _large_speaker(counts: SpeakerCounts, people: str) -> Caution | None:
    clips = counts.by_speaker[0].sum(axis=(-2, -1))
    share = clips / clips.sum()
    if share.max() <= LARGE_SHARE:
        return None
    return Caution(
        "large-speaker",
        f"{counts.speakers[int(share.argmax())]} alone has {100 * share.max():.0f} % of the clips: pooled scores are "
        f"mostly about one of the {people}.",
    )


def _size_and_ease(counts: SpeakerCounts, people: str) -> Caution | None:
    clips = counts.by_speaker[0].sum(axis=(-2, -1))
    few, many = np.quantile(clips, (0.1, 0.9))
    with np.errstate(invalid="ignore"):
        ease = recall(counts.by_speaker.sum(axis=0)) - recall(counts.by_seed.sum(axis=0))
    # Each speaker's recalls less those of all, over the labels that the speaker spoke.
    together = spearmanr(clips, np.nanmean(ease, axis=1)) if many >= UNEVEN * few else None
    if together is None or not together.pvalue < _DOUBT:
        return None
    pooled, alike = (float(counts.scores(metric).mean()) for metric in (UAR, UAR_SPEAKERS))
    easier = "easier" if together.statistic > 0 else "harder"
    return Caution(
        "size-and-ease",
        f"{people.capitalize()} with more clips are {easier} to recognise (rank correlation {together.statistic:.2f}), "
        f"so pooled scores depend on who has how many: UAR is {100 * pooled:.1f} % over clips and {100 * alike:.1f} % "
        f"with all {people} counted alike. Intervals of pooled scores hold the truth less often than they say here.",
    )
