"""Two models on the same clips: the difference, how sure it is, and what it lets one say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serlab.evaluation.bootstrap import Difference, differences
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.planning import speakers_needed
from serlab.evaluation.resampling import STANDARD, Resampling
from serlab.evaluation.significance import (
    MARGIN,
    Answer,
    ClusteredMcNemar,
    answer_of,
    holm,
    mcnemar,
    swap_test,
    within,
)


@dataclass(frozen=True)
class PairedComparison:
    """The first model less the second on the same clips; None for what cannot be had.

    Attributes:
        differences: by metric.
        answer: what the difference of UAR lets one say.
        margin: differences of UAR up to this are called equivalent.
        within_margin: whether the 90 % interval of UAR lies within the margin.
        p: of UAR, by swapping within speakers.
        mcnemar: of accuracy, clustered by speaker.
        speakers_needed: to see a difference of UAR as large as the margin; None also if 2,000 would
            not do.
    """

    differences: dict[str, Difference]
    answer: Answer
    margin: float
    within_margin: bool
    p: float | None
    mcnemar: ClusteredMcNemar | None
    speakers_needed: int | None


def compare(first: SpeakerCounts, second: SpeakerCounts, *, resampling: Resampling = STANDARD) -> PairedComparison:
    """Compare two models on the same clips.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels.
        resampling: how speakers are resampled; if they are unknown, there is only the difference.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    found = differences(first, second, resampling=resampling)
    known = found["uar"].low is not None
    return PairedComparison(
        differences=found,
        answer=answer_of(found["uar"]),
        margin=MARGIN,
        within_margin=within(found["uar"]),
        p=swap_test(first, second) if known else None,
        mcnemar=mcnemar(first, second) if known else None,
        speakers_needed=speakers_needed(first, second, MARGIN) if known else None,
    )


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p adjusted after Holm for the number of pairs that have one; None stays None."""
    of_tested = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(of_tested) for p in p_values]
