"""The whole audit of a corpus and, where there is one, of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.audio import decode, resample
from serlab.core import Exclusion
from serlab.corpora.base import Corpus
from serlab.corpora.remembered import home_of, recall, remember
from serlab.leaks.checks import (
    check_apart,
    check_faults,
    check_recordings,
    check_sides,
    check_sizes,
    check_sound,
    check_speakers,
)
from serlab.leaks.duplicates import same_recordings
from serlab.leaks.findings import Finding, gravest_first
from serlab.leaks.fingerprints import RATE
from serlab.leaks.listening import listen
from serlab.leaks.nuisances import check_nuisances
from serlab.leaks.voices import check_voices
from serlab.protocols import Split

_CLIPS_AT_HAND = 64
_MOST_PAIRED = 100
_VERSION = 3
_KIND = "copies"


def audit(corpus: Corpus, split: Split | None = None) -> tuple[Finding, ...]:
    """Find what would make figures of a corpus unbelievable.

    Args:
        corpus: the corpus; each clip is decoded once, and remembered.
        split: the sides that are to be checked too, if any.

    Returns:
        The findings, gravest first.

    Example:
        ``[finding.code for finding in audit(corpus, split(corpus, "seed-random")) if finding.severity == "error"]``
    """
    heard = listen(corpus)
    usable = {clip for clip, what in heard.items() if not what.fault}
    names = corpus.clips["clip"].tolist()
    pairs = copies(corpus, heard)
    used = set(names) if split is None else {c for fold in split.folds for c in (*fold.train, *fold.dev, *fold.test)}
    judged = np.isin(names, sorted(used))
    findings = [
        *check_recordings(corpus, split, pairs),
        *check_sound(names, heard.tolist()),
        *check_nuisances(replace(corpus, clips=corpus.clips[judged]), heard[judged].tolist()),
        *check_speakers(corpus),
        *check_voices(corpus, usable),
        *check_faults(corpus.faults, used),
    ]
    if split is not None:
        findings += [
            *check_apart(corpus, split, "speaker"),
            *check_apart(corpus, split, "sentence"),
            *check_sizes(corpus, split, usable),
            *check_sides(corpus, split, usable),
        ]
    return gravest_first(findings)


def left_out(corpus: Corpus) -> list[Exclusion]:
    """What an audit could not look at, but for faults that the corpus is known for.

    Args:
        corpus: the corpus; what was heard in it is recalled.

    Returns:
        Clips that cannot be used, and entries that are no clips, with the reason.
    """
    heard = listen(corpus)
    clips = [
        Exclusion(clip, path, what.fault)
        for clip, path, what in zip(corpus.clips["clip"], corpus.clips["path"], heard, strict=True)
        if what.fault and corpus.faults.get(clip) != what.fault
    ]
    return [*clips, *corpus.excluded]


def copies(corpus: Corpus, heard: pd.Series | None = None) -> list[tuple[str, str]]:
    """Pairs of clips that are the same recording, by their ids; remembered for as long as the same is heard.

    Files of the same bytes are one recording, however short; so many of them that pairs would be too many are paired
    with their neighbours alone.

    Args:
        corpus: the corpus.
        heard: what :func:`serlab.leaks.listening.listen` gives, where that is known already.
    """
    heard = listen(corpus) if heard is None else heard
    names, paths = corpus.clips["clip"].tolist(), corpus.clips["path"].tolist()

    @lru_cache(maxsize=_CLIPS_AT_HAND)
    def samples_of(place: int) -> NDArray[np.float32]:
        return resample(*decode(Path(paths[place])), RATE)

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
