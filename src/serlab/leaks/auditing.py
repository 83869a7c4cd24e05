"""The whole audit of a corpus and, where there is one, of a split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serlab.core import Exclusion
from serlab.corpora.base import Corpus
from serlab.corpora.measures import measure
from serlab.leaks.checks import (
    check_apart,
    check_faults,
    check_recordings,
    check_sides,
    check_sizes,
    check_sound,
    check_speakers,
)
from serlab.leaks.confounders import check_confounders
from serlab.leaks.findings import Finding, gravest_first
from serlab.leaks.voices import check_voices
from serlab.protocols import Split
from serlab.recordings.duplicates import find_duplicates


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
    heard = measure(corpus)
    usable = {str(clip) for clip, what in heard.items() if not what.fault}
    names = corpus.clips["clip"].tolist()
    pairs = find_duplicates(corpus, heard)
    used = set(names) if split is None else {c for fold in split.folds for c in (*fold.train, *fold.dev, *fold.test)}
    judged = np.isin(names, sorted(used))
    findings = [
        *check_recordings(corpus, split, pairs),
        *check_sound(names, heard.tolist()),
        *check_confounders(replace(corpus, clips=corpus.clips[judged]), heard[judged].tolist()),
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
    heard = measure(corpus)
    clips = [
        Exclusion(clip, path, what.fault)
        for clip, path, what in zip(corpus.clips["clip"], corpus.clips["path"], heard, strict=True)
        if what.fault and corpus.faults.get(clip) != what.fault
    ]
    return [*clips, *corpus.excluded]
