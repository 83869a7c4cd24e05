"""Protocols for any corpus: ``speaker-<k>`` and ``holdout``.

If speakers are unknown, clips replace them. Duplicates of a recording stay in one subset.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from serlab.corpora.base import Corpus
from serlab.protocols.base import Fold, MisfitError, by_unit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from serlab.recordings.units import Units

GENERIC: dict[str, str] = {
    "speaker-<k>": "Any corpus: k folds of speakers, balanced by label where possible; a fifth of the other speakers is"
    " for development.",
    "holdout": "Any corpus: 60 % of the speakers for training, 20 % for development, 20 % for the test.",
}
"""Definition of each protocol in one sentence."""

_SPEAKERS_UNKNOWN: dict[str, str] = {
    "speaker-<k>": "k folds of clips, since speakers are unknown, balanced by label; a fifth of the other clips is for"
    " development.",
    "holdout": "60 % of the clips for training, 20 % for development, 20 % for the test, balanced by label, since"
    " speakers are unknown.",
}
_TOGETHER = "Duplicates of a recording stay in one subset, and so do all clips of their speakers."


def definition(corpus: Corpus, key: str) -> tuple[str, str]:
    """Definition of a protocol for a corpus, and its version.

    Args:
        corpus: the corpus.
        key: a key of :data:`GENERIC`.
    """
    version = _units(corpus).version
    text = GENERIC[key] if corpus.speakers_known else _SPEAKERS_UNKNOWN[key]
    return (text if version == "1" else f"{text} {_TOGETHER}"), version


def speaker_k(corpus: Corpus, k: int) -> tuple[Fold, ...]:
    """Divide the speakers into k test parts of similar size and labels; a fifth of the others is for development.

    Raises:
        MisfitError: k is below 2, or there are too few speakers.
    """
    units = _units(corpus)
    counts = units.counts
    if k < 2:
        raise MisfitError("k must be 2 or more")
    needed = 4 if k == 2 else k
    if len(counts) < needed:
        raise MisfitError(f"it needs at least {needed} {units.word} and this has {len(counts)}")
    held_out = [(hold_out(counts.drop(index=test), 5), test) for test in _deal(counts, k)]
    return by_unit(corpus.clips, units.of, held_out)


def holdout(corpus: Corpus) -> tuple[Fold, ...]:
    """Keep a fifth of the speakers for the test and a fifth for development.

    Raises:
        MisfitError: there are too few speakers.
    """
    units = _units(corpus)
    counts = units.counts
    if len(counts) < 3:
        raise MisfitError(f"it needs at least 3 {units.word} and this has {len(counts)}")
    test = hold_out(counts, 5)
    return by_unit(corpus.clips, units.of, [(hold_out(counts.drop(index=test), 4), test)])


_known: weakref.WeakKeyDictionary[Corpus, Units] = weakref.WeakKeyDictionary()


def _units(corpus: Corpus) -> Units:
    if corpus not in _known:
        from serlab.recordings.duplicates import find_duplicates
        from serlab.recordings.units import units_of

        _known[corpus] = units_of(corpus, find_duplicates(corpus))
    return _known[corpus]


def _deal(counts: pd.DataFrame, parts: int) -> list[list[str]]:
    """Divide units into parts whose sizes differ by at most one, balanced by label as far as possible.

    Units go from the largest to the smallest, similar ones together. Each goes to the part with the
    fewest clips of the unit's labels, among the parts with the fewest units; rare labels weigh
    more.

    Args:
        counts: clips per unit (rows) and label (columns).
        parts: how many parts.
    """
    import numpy as np

    values = counts.to_numpy()
    shares: NDArray[np.float64] = values / np.maximum(values.sum(axis=0), 1)
    order = sorted(range(len(counts)), key=lambda unit: (-values[unit].sum(), (-values[unit]).tolist(), unit))
    held = np.zeros((parts, values.shape[1]))
    dealt: list[list[str]] = [[] for _ in range(parts)]
    for place, unit in enumerate(order):
        full = np.array([len(part) for part in dealt]) > place // parts
        # Rounded, so that ties are the same on every machine; the first part wins.
        part = int(np.where(full, np.inf, (held @ shares[unit]).round(12)).argmin())
        dealt[part].append(counts.index[unit])
        held[part] += shares[unit]
    return dealt


def hold_out(counts: pd.DataFrame, parts: int) -> list[str]:
    """Choose one of ``parts`` equal parts of the units; leave a clip of every label if possible.

    Args:
        counts: clips per unit (rows) and label (columns).
        parts: e.g. 5 for a fifth.
    """

    def cost(part: list[str]) -> tuple[int, int, float]:
        inside = counts.loc[part].sum()
        left = counts.sum() - inside
        return int((left == 0).sum()), int((inside == 0).sum()), abs(len(part) - len(counts) / parts)

    return min(_deal(counts, min(parts, len(counts))), key=cost)
