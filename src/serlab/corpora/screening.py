"""Which clips cannot be used, found before any training: every file is decoded once, and every failure has a reason.

A sound clip is remembered by path and SHA-256; one that failed is decoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from serlab.audio import DEFAULT_LIMITS, Audio, AudioError, Limits
from serlab.core import Exclusion, FindingsError, UserError
from serlab.corpora.base import Corpus
from serlab.corpora.remembered import home_of, recall, remember
from serlab.corpora.scan import in_threads

MAX_SHARE = 0.05
"""Share of a corpus that may be unusable before work on it is stopped."""

MISSING = "missing"
"""Reason of a clip which is in the official list and not in this copy."""


def screen(corpus: Corpus, limits: Limits = DEFAULT_LIMITS) -> list[Exclusion]:
    """Decode every clip that is not remembered as sound, and list those that cannot be used.

    Args:
        corpus: the corpus.
        limits: how short and how long a clip may be.

    Returns:
        One exclusion an unusable clip, in order of clip, its reason a phrase such as ``"missing"`` or ``"silent"``.
    """
    table = corpus.clips
    home = home_of(table["path"])
    known = recall("screening", home)
    marks = {
        path: [sha256, limits.min_seconds, limits.max_seconds]
        for path, sha256 in zip(table["path"], table["sha256"], strict=True)
    }
    clips = [clip for clip in zip(table["clip"], table["path"], strict=True) if known.get(clip[1]) != marks[clip[1]]]
    found = in_threads(partial(_screen_clip, limits=limits), clips, f"screening {corpus.name}")
    sound = {
        path: marks[path]
        for (_, path), exclusion in zip(clips, found, strict=True)
        if exclusion is None and marks[path][0]
    }
    if sound:
        remember("screening", home, known | sound)
    return [exclusion for exclusion in found if exclusion is not None]


def _screen_clip(clip: tuple[str, str], limits: Limits) -> Exclusion | None:
    name, path = clip
    if not path:
        return Exclusion(name, "", MISSING)
    try:
        Audio.from_file(path, limits=limits)
    except AudioError as error:
        return Exclusion(name, path, error.reason)
    return None


def check_labels(corpus: Corpus, exclusions: Sequence[Exclusion]) -> None:
    """Stop where a label would be lost.

    Args:
        corpus: the corpus.
        exclusions: its clips that cannot be used.

    Raises:
        UserError: none of a label's clips can be used, or it has a folder and no clip.
    """
    reasons = {exclusion.clip: exclusion.reason for exclusion in exclusions}
    lost = dict(corpus.lost)
    for label, clips in corpus.clips.groupby("label")["clip"]:
        if all(clip in reasons for clip in clips):
            lost[str(label)] = f"{clips.iloc[0]}: {reasons[clips.iloc[0]]}"
    if lost:
        label = min(lost)
        others = f", nor have {len(lost) - 1} other labels" if len(lost) > 1 else ""
        raise UserError(
            f"the label {label!r} of {corpus.name} has no clip left for training ({lost[label]}){others}; mend that, "
            "or take the label out of the corpus."
        )


def check_labels_at_sight(corpus: Corpus) -> None:
    """Stop where a label would be lost, as far as that shows before every clip is decoded.

    Raises:
        UserError: as in :func:`check_labels`.
    """
    seen = corpus.clips.groupby("label")["sample_rate"].transform("max")
    check_labels(corpus, screen(replace(corpus, clips=corpus.clips[seen == 0])))


def check_usable(corpus: Corpus, exclusions: Sequence[Exclusion], max_share: float = MAX_SHARE) -> None:
    """Stop where a label would be lost, or too much of a corpus cannot be used; entries that are no clips count too.

    Args:
        corpus: the corpus.
        exclusions: its clips that cannot be used.
        max_share: the share of clips and entries that may be left out, 0 to 1.

    Raises:
        UserError: as in :func:`check_labels`.
        FindingsError: as in :func:`check_share`.
    """
    check_labels(corpus, exclusions)
    check_share((*exclusions, *corpus.excluded), len(corpus.clips) + len(corpus.excluded), max_share)


def check_share(exclusions: Sequence[Exclusion], total: int, max_share: float = MAX_SHARE) -> None:
    """Stop where too many clips cannot be used.

    Args:
        exclusions: the clips left out.
        total: number of clips of the corpus, these included.
        max_share: the share of them that may be left out, 0 to 1.

    Raises:
        FindingsError: more than that are.
    """
    if len(exclusions) <= max_share * total:
        return
    first = "; ".join(f"{exclusion.clip}: {exclusion.reason}" for exclusion in exclusions[:3])
    raise FindingsError(
        f"{len(exclusions):,} of {total:,} clips cannot be used, more than {100 * max_share:g} % (first {first}); mend "
        "or remove them, or raise the limit with --max-excluded."
    )
