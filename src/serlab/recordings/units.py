"""Groups of clips that must stay in one subset of a split: clips of a speaker, and duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from serlab.core.files import sha256_json
from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class Units:
    """Speakers, or clips if speakers are unknown. Those that share a recording form one unit.

    Attributes:
        of: the unit of each clip, in the corpus's order.
        counts: clips per unit (rows) and label (columns).
        word: what the units are called.
        version: ``"1"`` if each speaker (or clip) is its own unit, else ``"2-"`` and a hash of
            those that are not.
    """

    of: pd.Series
    counts: pd.DataFrame
    word: str
    version: str


def units_of(corpus: Corpus, pairs: Iterable[tuple[str, str]]) -> Units:
    """Find the units of a corpus.

    Args:
        corpus: the corpus.
        pairs: pairs of clips that are the same recording.
    """
    clips = corpus.clips
    column, word = ("speaker", "speakers") if corpus.speakers_known else ("clip", "clips")
    unit_of = dict(zip(clips["clip"], clips[column].astype(str), strict=True))
    group_of = tied(unit_of, pairs)
    together = sorted((clip, group) for clip, group in group_of.items() if group != unit_of[clip])
    of = clips["clip"].map(group_of) if together else clips[column]
    return Units(
        of=of,
        counts=pd.crosstab(of, clips["label"]),
        word=f"{word}, or groups of {word} that share a recording," if together else word,
        version=f"2-{sha256_json(together)[:8]}" if together else "1",
    )


def tied(unit_of: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each clip: its unit, merged with the units that share a recording with it.

    Args:
        unit_of: the unit of each clip, such as its speaker.
        pairs: pairs of clips that are the same recording.

    Returns:
        For each clip the alphabetically first unit of its group.

    >>> tied({"a1": "ann", "b1": "bob", "c1": "cat"}, [("c1", "b1")])
    {'a1': 'ann', 'b1': 'bob', 'c1': 'bob'}
    """
    leader = {unit: unit for unit in unit_of.values()}

    def lead(unit: str) -> str:
        while leader[unit] != unit:
            unit = leader[unit]
        return unit

    for one, other in pairs:
        first, second = sorted((lead(unit_of[one]), lead(unit_of[other])))
        leader[second] = first
    return {clip: lead(unit) for clip, unit in unit_of.items()}
