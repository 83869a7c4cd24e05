"""Which clips of a corpus are one recording."""

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
_KIND = "find_duplicates"


def find_duplicates(corpus: Corpus, heard: pd.Series | None = None) -> list[tuple[str, str]]:
    """Pairs of clips that are the same recording, by their ids; remembered for as long as the same is heard.

    Files of the same bytes are one recording, however short; so many of them that pairs would be too many are paired
    with their neighbours alone.

    Args:
        corpus: the corpus.
        heard: what :func:`serlab.recordings.listening.listen` gives, where that is known already.
    """
    if not {"path", "sha256"} <= set(corpus.clips):
        return []  # A list of clips without files, from which folds alone are wanted.
    heard = measure(corpus) if heard is None else heard
    names, paths = corpus.clips["clip"].tolist(), corpus.clips["path"].tolist()

    @lru_cache(maxsize=_CLIPS_AT_HAND)
    def samples_of(place: int) -> NDArray[np.float32]:
        return Audio.from_file(paths[place]).at(RATE)

    home = home_of(paths)
    among = hashlib.sha256("\n".join([str(_VERSION), *(what.print for what in heard)]).encode()).hexdigest()
    known, found = recall(_KIND, home).get(home, ["", []])
    if known != among:
        found = [
            (pair.first, pair.second) for pair in same_recordings([what.fingerprint for what in heard], samples_of)
        ]
        remember(_KIND, home, {home: [among, found]})
    found = {(first, second) for first, second in found} | set(_same_bytes(corpus.clips["sha256"], heard))
    return sorted((names[first], names[second]) for first, second in found)


def _same_bytes(hashes: pd.Series, heard: pd.Series) -> Iterator[tuple[int, int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, (sha256, what) in enumerate(zip(hashes, heard, strict=True)):
        if sha256 and not what.fault:
            places[sha256].append(place)
    for same in places.values():
        yield from combinations(same, 2) if len(same) <= _MOST_PAIRED else pairwise(same)
