"""Find clips that cannot be used, with a reason for each, before any training.

Clips that can be used are cached by path and SHA-256; the others are decoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serlab.core import Exclusion, FindingsError, UserError, argument
from serlab.corpora.base import Corpus
from serlab.corpora.measures import measure
from serlab.corpora.remembered import home_of, recall, remember

MAX_SHARE = 0.05
"""Maximum share of a corpus that may be unusable."""

_KIND = "screening"


def screen(corpus: Corpus) -> list[Exclusion]:
    """List the clips that cannot be used; clips that are not cached as usable are decoded and measured.

    Args:
        corpus: the corpus.

    Returns:
        One exclusion per unusable clip, in order of clip. Its reason is a phrase such as
        ``"missing"`` or ``"silent"``.
    """
    table = corpus.clips
    home = home_of(table["path"])
    # Stored separately from the measures, whose fingerprints make them a thousand times larger.
    known = recall(_KIND, home)
    path_of = dict(zip(table["clip"], table["path"], strict=True))
    unknown = table["path"].map(known) != table["sha256"]
    faults = {str(clip): each.fault for clip, each in measure(corpus, only=unknown).items()} if unknown.any() else {}
    columns = zip(table["clip"], table["path"], table["sha256"], strict=True)
    sound = {path: sha256 for clip, path, sha256 in columns if sha256 and faults.get(clip) == ""}
    if sound:
        remember(_KIND, home, known | sound)
    return [Exclusion(clip, path_of[clip], fault) for clip, fault in faults.items() if fault]


def check_labels(corpus: Corpus, exclusions: Sequence[Exclusion]) -> None:
    """Stop if a label would be lost.

    Args:
        corpus: the corpus.
        exclusions: its clips that cannot be used.

    Raises:
        UserError: a label has no usable clip, or a folder without clips.
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
            f"the label {label!r} of {corpus.name} has no clip left for training ({lost[label]}){others}; repair its "
            "clips, or remove the label from the corpus."
        )


def check_labels_at_sight(corpus: Corpus) -> None:
    """Stop if a label would be lost according to the headers, before every clip is decoded.

    Raises:
        UserError: as in :func:`check_labels`.
    """
    seen = corpus.clips.groupby("label")["sample_rate"].transform("max")
    check_labels(corpus, screen(replace(corpus, clips=corpus.clips[seen == 0])))


def check_usable(corpus: Corpus, exclusions: Sequence[Exclusion], max_share: float = MAX_SHARE) -> None:
    """Stop if a label would be lost, or too much of a corpus cannot be used; entries that are not clips count too.

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
    """Stop if too many clips cannot be used.

    Args:
        exclusions: the clips left out.
        total: number of clips of the corpus, including these.
        max_share: the share of them that may be left out, 0 to 1.

    Raises:
        FindingsError: more are left out.
    """
    if len(exclusions) <= max_share * total:
        return
    first = "; ".join(f"{exclusion.clip}: {exclusion.reason}" for exclusion in exclusions[:3])
    raise FindingsError(
        f"{len(exclusions):,} of {total:,} clips cannot be used, more than {100 * max_share:g} % (first {first}); "
        f"repair or remove them, or raise {argument('max_excluded')}."
    )
