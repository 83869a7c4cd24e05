"""Find clips of a corpus that are the same recording."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.audio import Audio
from serlab.audio.fingerprints import RATE
from serlab.corpora.base import Corpus
from serlab.corpora.measures import measure
from serlab.corpora.remembered import home_of, recall, remember
from serlab.recordings.matching import same_recordings

_CLIPS_AT_HAND = 64
_MOST_PAIRED = 100
_VERSION = 3
_KIND = "duplicates"


def find_duplicates(corpus: Corpus, measures: pd.Series | None = None) -> list[tuple[str, str]]:
    """Find pairs of clips that are the same recording. The result is cached until a fingerprint changes.

    Files with the same bytes are the same recording, however short. Of more than 100 such files,
    each is paired with its neighbours only.

    Args:
        corpus: the corpus.
        measures: from :func:`serlab.corpora.measures.measure`, if they are known already.

    Returns:
        Pairs of clip ids, sorted.
    """
    if not {"path", "sha256"} <= set(corpus.clips):
        return []  # A list of clips without files, used only for its folds.
    measures = measure(corpus) if measures is None else measures
    names, paths = corpus.clips["clip"].tolist(), corpus.clips["path"].tolist()

    @lru_cache(maxsize=_CLIPS_AT_HAND)
    def samples_of(place: int) -> NDArray[np.float32]:
        return Audio.from_file(paths[place]).at(RATE)

    home = home_of(paths)
    among = hashlib.sha256("\n".join([str(_VERSION), *(each.print for each in measures)]).encode()).hexdigest()
    known, found = recall(_KIND, home).get(home, ["", []])
    if known != among:
        found = [
            (pair.first, pair.second) for pair in same_recordings([each.fingerprint for each in measures], samples_of)
        ]
        remember(_KIND, home, {home: [among, found]})
    found = {(first, second) for first, second in found} | set(_same_bytes(corpus.clips["sha256"], measures))
    return sorted((names[first], names[second]) for first, second in found)


def _same_bytes(hashes: pd.Series, measures: pd.Series) -> Iterator[tuple[int, int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, (sha256, each) in enumerate(zip(hashes, measures, strict=True)):
        if sha256 and not each.fault:
            places[sha256].append(place)
    for same in places.values():
        yield from combinations(same, 2) if len(same) <= _MOST_PAIRED else pairwise(same)
