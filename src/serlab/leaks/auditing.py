"""The audit of a corpus and, optionally, of a split."""

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
    check_sizes,
    check_sound,
    check_speakers,
    check_subsets,
)
from serlab.leaks.confounders import check_confounders
from serlab.leaks.findings import Finding, most_severe_first
from serlab.leaks.voices import check_voices
from serlab.protocols import Split
from serlab.recordings.duplicates import find_duplicates


def audit(corpus: Corpus, split: Split | None = None) -> tuple[Finding, ...]:
    """Find problems that make scores on a corpus misleading.

    Args:
        corpus: the corpus. Each clip is decoded once, and its measures are cached.
        split: subsets to check too, if any.

    Returns:
        The findings, most severe first.

    Example:
        ``[finding.code for finding in audit(corpus, split(corpus, "seed-random")) if finding.severity == "error"]``
    """
    measures = measure(corpus)
    usable = {str(clip) for clip, each in measures.items() if not each.fault}
    names = corpus.clips["clip"].tolist()
    pairs = find_duplicates(corpus, measures)
    used = set(names) if split is None else {c for fold in split.folds for c in (*fold.train, *fold.dev, *fold.test)}
    judged = np.isin(names, sorted(used))
    findings = [
        *check_recordings(corpus, split, pairs),
        *check_sound(names, measures.tolist()),
        *check_confounders(replace(corpus, clips=corpus.clips[judged]), measures[judged].tolist()),
        *check_speakers(corpus),
        *check_voices(corpus, usable),
        *check_faults(corpus.faults, used),
    ]
    if split is not None:
        findings += [
            *check_apart(corpus, split, "speaker"),
            *check_apart(corpus, split, "sentence"),
            *check_sizes(corpus, split, usable),
            *check_subsets(corpus, split, usable),
        ]
    return most_severe_first(findings)


def left_out(corpus: Corpus) -> list[Exclusion]:
    """Clips and entries that an audit could not check, except for known faults of the corpus.

    Args:
        corpus: the corpus. Its measures come from the cache.

    Returns:
        Clips that cannot be used, and entries that are not clips, with the reason.
    """
    clips = [
        Exclusion(clip, path, each.fault)
        for clip, path, each in zip(corpus.clips["clip"], corpus.clips["path"], measure(corpus), strict=True)
        if each.fault and corpus.faults.get(clip) != each.fault
    ]
    return [*clips, *corpus.excluded]
