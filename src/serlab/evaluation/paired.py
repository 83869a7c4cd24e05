"""Two models on the same clips: the difference, how sure it is, and what it lets one say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from serlab.evaluation.bootstrap import differences
from serlab.evaluation.outcomes import Outcomes
from serlab.evaluation.planning import speakers_needed
from serlab.evaluation.significance import MARGIN, answer_of, holm, mcnemar, swap_test, within


def compare(first: Outcomes, second: Outcomes, *, speakers_known: bool = True) -> dict[str, Any]:
    """Compare two models on the same clips.

    Args:
        first: confusion counts.
        second: counts of the same speakers, seeds and true labels.
        speakers_known: False where the corpus does not say who speaks; then there is only the difference.

    Returns:
        Plain data: ``differences`` (first less second, by score), ``answer`` (``better``, ``worse``, ``equivalent``
        or ``not shown``; of UAR), ``margin`` and ``within_margin``, ``p`` (of UAR, by swapping within speakers),
        ``mcnemar`` (of accuracy, clustered) and ``speakers_needed`` (to see a difference as large as the margin);
        None where it cannot be had.

    Raises:
        ValueError: the two do not judge the same clips.
    """
    found = differences(first, second, speakers_known=speakers_known)
    known = found["uar"].low is not None
    return {
        "differences": {metric: asdict(difference) for metric, difference in found.items()},
        "answer": answer_of(found["uar"]),
        "margin": MARGIN,
        "within_margin": within(found["uar"]),
        "p": swap_test(first, second) if known else None,
        "mcnemar": asdict(mcnemar(first, second)) if known else None,
        "speakers_needed": speakers_needed(first, second, MARGIN) if known else None,
    }


def adjust(pairs: Sequence[dict[str, Any]]) -> None:
    """Add ``p_holm`` to each pair: its ``p`` adjusted for the number of pairs that have one."""
    tested = [pair for pair in pairs if pair.get("p") is not None]
    adjusted = dict(zip(map(id, tested), holm([pair["p"] for pair in tested]), strict=True))
    for pair in pairs:
        pair["p_holm"] = adjusted.get(id(pair))
