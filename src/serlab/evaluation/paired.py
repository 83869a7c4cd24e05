"""Two models on the same clips: the difference, how sure it is, and what it lets one say.

Several pairs are a family: the more pairs, the likelier that one looks different by chance. Their
answers therefore come from p adjusted after Holm, for differences and for equivalences apart, so that
each of both kinds of false claim is made anywhere in the family with 5 % probability at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serlab.core import UserError, argument
from serlab.evaluation.bootstrap import Difference, differences
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.planning import Plan, plan
from serlab.evaluation.resampling import STANDARD, Resampling
from serlab.evaluation.significance import (
    MARGIN,
    Answer,
    ClusteredMcNemar,
    answer_of,
    holm,
    mcnemar,
    p_equivalent,
    swap_test,
    within,
)


@dataclass(frozen=True)
class PairedComparison:
    """The first model less the second on the same clips; None for what cannot be had.

    Attributes:
        differences: by metric.
        answer: what the difference of UAR lets one say among all pairs of the family.
        margin: differences of UAR up to this are called equivalent.
        within_margin: whether the 90 % interval of UAR lies within the margin.
        p: of UAR, by inverting the 95 % interval: it includes training again if there are several seeds.
        mcnemar: of accuracy, clustered by speaker.
        speakers_needed: to see a difference of UAR as large as the margin four times in five; None also if 2,000
            are too few.
        speakers_needed_low: lower end of its 80 % interval, None also if 2,000 are too few.
        speakers_needed_high: upper end, likewise.
        seeds_needed: of each recipe, for that number of speakers; None for one seed, or if 1,000 are too few.
        p_swap: of UAR, by swapping within speakers: about the trained models at hand.
        p_equivalent: of a difference of UAR beyond the margin, by inverting the 90 % interval.
        p_holm: ``p``, adjusted for the number of pairs.
        p_equivalent_holm: ``p_equivalent``, likewise.
        p_wa_holm: Obuchowski's p of accuracy, likewise.
        family: number of pairs that the adjustment and ``answer`` are about.
        answer_alone: what the pair's own intervals let one say.
    """

    differences: dict[str, Difference]
    answer: Answer
    margin: float
    within_margin: bool
    p: float | None
    mcnemar: ClusteredMcNemar | None
    speakers_needed: int | None
    speakers_needed_low: int | None
    speakers_needed_high: int | None
    seeds_needed: int | None
    p_swap: float | None
    p_equivalent: float | None
    p_holm: float | None
    p_equivalent_holm: float | None
    p_wa_holm: float | None
    family: int
    answer_alone: Answer


def compare(
    first: SpeakerCounts, second: SpeakerCounts, *, resampling: Resampling = STANDARD, margin: float = MARGIN
) -> PairedComparison:
    """Compare two models on the same clips, as a family of one pair; see :func:`as_family` for more.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels.
        resampling: how speakers are resampled; if they are unknown, there is only the difference.
        margin: differences of UAR up to this are called equivalent.

    Raises:
        ValueError: the two do not judge the same clips.
        UserError: the margin is not a share.
    """
    if not 0 < margin < 1:
        raise UserError(f"{argument('margin', margin)} must lie between 0 and 1; 0.02 is 2 points of UAR.")
    found = differences(first, second, resampling=resampling)
    uar = found["uar"]
    known = uar.low is not None
    planned = plan(first, second, margin) if known else Plan(None, None, None, None)
    beyond = p_equivalent(uar, margin)
    answer = answer_of(uar.p, beyond, uar.value)
    of_accuracy = mcnemar(first, second) if known else None
    return PairedComparison(
        differences=found,
        answer=answer,
        margin=margin,
        within_margin=within(uar, margin),
        p=uar.p,
        mcnemar=of_accuracy,
        speakers_needed=planned.speakers,
        speakers_needed_low=planned.low,
        speakers_needed_high=planned.high,
        seeds_needed=planned.seeds,
        p_swap=swap_test(first, second) if known else None,
        p_equivalent=beyond,
        p_holm=uar.p,
        p_equivalent_holm=beyond,
        p_wa_holm=of_accuracy.obuchowski_p if of_accuracy else None,
        family=1,
        answer_alone=answer,
    )


def as_family(pairs: Sequence[PairedComparison | None]) -> list[PairedComparison | None]:
    """The same pairs with the answers that all of them together allow: the one place that decides it.

    Args:
        pairs: all pairs that a reader sees beside each other; None for one that cannot be compared.
    """
    tested = [pair for pair in pairs if pair is not None and pair.p is not None]
    adjusted = _adjusted([pair.p if pair else None for pair in pairs])
    equivalent = _adjusted([pair.p_equivalent if pair else None for pair in pairs])
    of_accuracy = _adjusted([pair.mcnemar.obuchowski_p if pair and pair.mcnemar else None for pair in pairs])
    return [
        pair
        and replace(
            pair,
            p_holm=p,
            p_equivalent_holm=beyond,
            p_wa_holm=of_wa,
            family=len(tested),
            answer=answer_of(p, beyond, pair.differences["uar"].value),
        )
        for pair, p, beyond, of_wa in zip(pairs, adjusted, equivalent, of_accuracy, strict=True)
    ]


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p adjusted after Holm for the number of pairs that have one; None stays None."""
    of_tested = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(of_tested) for p in p_values]
