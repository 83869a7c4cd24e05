"""Populations for which intervals are less dependable, and what to say of them.

What intervals promise was measured for speakers with about as many clips each, of every label. These
rules name the populations that are different; docs/method.md shows what coverage was measured there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.influence import standard_error, training_variances
from serlab.evaluation.metrics import UAR, UAR_SPEAKERS, recall
from serlab.evaluation.resampling import FEWEST_SPEAKERS

LARGE_SHARE = 0.25
"""A speaker with more than this share of the clips is named."""
UNEVEN = 3.0
"""Clips per speaker vary if the upper decile is at least this many times the lower."""
VERY_FEW = 6
"""Below this many speakers for a label, intervals were measured to fall short of what they promise."""
_DOUBT = 0.01
_FAR, _AT_LEAST, _ERRORS = 3.0, 0.3, 4.0
"""A speaker is far from the others beyond three times the quartiles' distance (Tukey 1977, *Exploratory Data
Analysis*), by at least 30 points of recall and four standard errors of the speaker's own clips."""
_FEW_TRAININGS = 3.0
"""Below so many degrees of freedom, trainings show too little of how far others would scatter."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class Caution:
    """Why intervals of a table are less dependable.

    Attributes:
        code: of the rule.
        text: what this table is like, in a sentence.
        meaning: what that does to intervals, the same for all tables; empty if ``text`` says it.
    """

    code: Literal["rare-label", "large-speaker", "size-and-ease", "far-speakers", "training-scatter"]
    text: str
    meaning: str = ""


def cautions(counts: SpeakerCounts, *, people: str = "speakers") -> tuple[Caution, ...]:
    """What makes the intervals of a recipe less dependable than those of a balanced table; often nothing.

    Args:
        counts: its confusion counts.
        people: what the corpus calls its speakers.
    """
    if len(counts.speakers) < FEWEST_SPEAKERS:
        return ()
    found = (
        _rare_labels(counts, people),
        _large_speaker(counts, people),
        _size_and_ease(counts, people),
        _far_speakers(counts, people),
        _training_scatter(counts, people),
    )
    return tuple(each for each in found if each)


def _rare_labels(counts: SpeakerCounts, people: str) -> Caution | None:
    by_label = (counts.by_speaker.sum(axis=-1) > 0).any(axis=0).sum(axis=0)
    rare = [
        f"{label} ({number})"
        for label, number in zip(counts.labels, by_label, strict=True)
        if 0 < number < FEWEST_SPEAKERS
    ]
    found = standard_error([counts], UAR)
    if not rare or found is None:
        return None
    very_few = ((by_label > 0) & (by_label < VERY_FEW)).any()
    return Caution(
        "rare-label",
        f"Few of the {len(counts.speakers)} {people} spoke {', '.join(rare)}. The interval of UAR allows for that "
        f"with Student's t at {found.freedom:.1f} degrees of freedom in place of {len(counts.speakers) - 1}, but rests "
        f"on these few {people}.",
        f"With fewer than {VERY_FEW} for one of two labels, 95 % intervals held the true value in 93 % of simulated "
        "experiments."
        if very_few
        else "",
    )


def _large_speaker(counts: SpeakerCounts, people: str) -> Caution | None:
    clips = _clips(counts)
    share = clips / clips.sum()
    if share.max() <= LARGE_SHARE:
        return None
    return Caution(
        "large-speaker",
        f"{counts.speakers[int(share.argmax())]} alone has {100 * share.max():.0f} % of the clips: pooled scores are "
        f"mostly about one of the {people}.",
    )


def _size_and_ease(counts: SpeakerCounts, people: str) -> Caution | None:
    clips = _clips(counts)
    few, many = np.quantile(clips, (0.1, 0.9))
    if many < UNEVEN * few:
        return None
    # Imported late, for it takes half a second and most tables are even.
    from scipy.stats import spearmanr

    together = spearmanr(clips, _ease(counts))
    if not together.pvalue < _DOUBT:
        return None
    pooled, alike = (float(counts.scores(metric).mean()) for metric in (UAR, UAR_SPEAKERS))
    easier = "easier" if together.statistic > 0 else "harder"
    correlation = f"{together.statistic:.2f}".replace("-", "\N{MINUS SIGN}")
    return Caution(
        "size-and-ease",
        f"{people.capitalize()} with more clips are {easier} to recognise (rank correlation {correlation}), "
        f"so pooled scores depend on who has how many: UAR is {100 * pooled:.1f} % over clips and {100 * alike:.1f} % "
        f"with all {people} counted alike. Intervals of pooled scores hold the truth less often than they say here.",
    )


def _far_speakers(counts: SpeakerCounts, people: str) -> Caution | None:
    ease = _ease(counts)
    low, high = np.quantile(ease, (0.25, 0.75))
    share = float(counts.scores(UAR).mean())
    judged = (counts.by_speaker.sum(axis=(-2, -1)) > 0).mean(axis=0)
    errors = np.sqrt(share * (1 - share) * judged / _clips(counts))
    beyond = np.maximum(np.maximum(_FAR * (high - low), _AT_LEAST), _ERRORS * errors)
    far = np.flatnonzero((ease < low - beyond) | (ease > high + beyond))
    if not len(far):
        return None
    of_each = np.nanmean(recall(counts.by_speaker.sum(axis=0)), axis=1)
    names = [f"{counts.speakers[place]} ({100 * of_each[place]:.0f} %)" for place in far[:_MOST_NAMED]]
    more = [f"{len(far) - _MOST_NAMED} more"] if len(far) > _MOST_NAMED else []
    named = " and ".join([", ".join(names), *more])
    return Caution(
        "far-speakers",
        f"{len(far)} of the {len(counts.speakers)} {people} {'is' if len(far) == 1 else 'are'} recognised far worse or "
        f"better than the others: {named}.",
        f"A sample of {people} can miss such people. In simulations where 7 % are hardly recognised, 95 % intervals "
        "held the true value in 89 % of experiments with 20 speakers, and in 94 % with 50.",
    )


def _training_scatter(counts: SpeakerCounts, people: str) -> Caution | None:
    trainings = training_variances(counts)
    over_speakers = standard_error([counts], UAR)
    total = trainings.sum()
    if over_speakers is None or total <= over_speakers.error**2:
        return None
    freedom = (len(counts.seeds) - 1) * total**2 / (trainings**2).sum()
    if freedom >= _FEW_TRAININGS:
        return None
    spread = counts.scores(UAR).std(ddof=1)
    return Caution(
        "training-scatter",
        f"The {len(counts.seeds)} seeds vary by {100 * spread:.1f} points of UAR (standard deviation), and training "
        f"again adds more variance than other {people}.",
        "In simulations where seeds of a single fold vary by 4 points, 95 % intervals held the true value in 90 % of "
        "experiments with two seeds, and in 93 % with three; more seeds or folds help.",
    )


def _clips(counts: SpeakerCounts) -> NDArray[np.float64]:
    """Clips of each speaker, means over seeds, which need not judge the same."""
    clips: NDArray[np.float64] = counts.by_speaker.sum(axis=(-2, -1)).mean(axis=0)
    return clips


def _ease(counts: SpeakerCounts) -> NDArray[np.float64]:
    """Each speaker's recalls less those of all speakers, mean over the labels that the speaker spoke."""
    with np.errstate(invalid="ignore"):
        recalls = recall(counts.by_speaker.sum(axis=0)) - recall(counts.by_seed.sum(axis=0))
    ease: NDArray[np.float64] = np.nanmean(recalls, axis=1)
    return ease
