"""Label tracks: which label of a clip counts.

What a speaker meant to express (*intended*) and what raters made of it (*perceived*) are two labels of one clip, and a
model is right or wrong by one of them; so every figure says its track. Perceived is the plurality of the raters'
votes. Where several labels have as many votes there is none, and the clip is dropped and counted, never decided by a
coin or by the alphabet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown

MODALITIES = ("voice", "face", "both")
"""What raters were given: the voice alone, the face alone, or both."""

LEVELS = ("LO", "MD", "HI")

_PERCEIVED = {"perceived": "voice", "perceived-face": "face", "perceived-both": "both"}
_WORDS = {"voice": "voice", "face": "face", "both": "audio-visual"}
_LEVEL = "level-"
_AGREEMENT = re.compile(r"agreement>=(\d*\.?\d+)")
_NAMES = ("intended", *_PERCEIVED, "agreement>=0.8", *(_LEVEL + level for level in LEVELS))
_TIED = "tied"
_BELOW = "below that share"
_OTHER_LEVEL = "of another level"
_NO_VOTES = "without votes"


@dataclass(frozen=True)
class Track:
    """The labels of one track.

    Attributes:
        name: as asked for.
        source: where the label comes from, in words.
        labels: clip -> label, of the clips that have one on this track.
        left_out: clip -> why it has none.
    """

    name: str
    source: str
    labels: pd.Series
    left_out: pd.Series

    @property
    def dropped(self) -> dict[str, int]:
        """How many clips have no label on this track, by reason."""
        return {str(reason): int(clips) for reason, clips in self.left_out.value_counts().items()}

    @property
    def description(self) -> str:
        """One line for a report, e.g. ``plurality of voice votes; 644 of 7,442 clips tied and dropped``."""
        if self.left_out.empty:
            return f"{self.source}; no clip dropped"
        reasons = list(self.dropped.items())
        of = f"{len(self.left_out):,} of {len(self.labels) + len(self.left_out):,} clips"
        if len(reasons) == 1:
            return f"{self.source}; {of} {reasons[0][0]} and dropped"
        parts = ", ".join(f"{clips:,} {reason}" for reason, clips in reasons)
        return f"{self.source}; {of} dropped: {parts}"


def track(corpus_clips: pd.DataFrame, labels: Sequence[str], name: str) -> Track:
    """Find a track's labels.

    Args:
        corpus_clips: the corpus's table, or the rows of it whose clips are judged; the counts are of these.
        labels: the full label list.
        name: ``intended`` (the corpus's label); ``perceived``, ``perceived-face`` or ``perceived-both`` (plurality of
            the votes of those who heard, saw, or heard and saw the clip); ``agreement>=0.8`` (perceived from the
            voice, where at least this share of the votes is for it); ``level-LO``, ``level-MD`` or ``level-HI``
            (intended, of clips of that level).

    Raises:
        UserError: there is no such track, the corpus lacks what it needs, or no clip has a label on it.

    >>> track(pd.DataFrame({"clip": ["a"], "label": ["sad"]}), ["happy", "sad"], "percieved")
    Traceback (most recent call last):
    serlab.core.errors.UserError: unknown track 'percieved'; did you mean 'perceived'? Known: agreement>=0.8, \
intended, level-HI, level-LO, level-MD, perceived, perceived-both, perceived-face.
    """
    intended = corpus_clips["label"].to_numpy(object)
    if name == "intended":
        return _track(name, "the intended label", corpus_clips, intended, np.full(len(intended), ""))
    if name in _PERCEIVED:
        modality = _PERCEIVED[name]
        return _perceived(name, f"plurality of {_WORDS[modality]} votes", corpus_clips, labels, modality)
    if agreement := _AGREEMENT.fullmatch(name):
        least = float(agreement[1])
        if not 0 < least <= 1:
            raise UserError(f"the track {name} asks for a share that no vote has; it lies above 0 and is at most 1.")
        source = f"plurality of voice votes with a share of at least {least:g}"
        return _perceived(name, source, corpus_clips, labels, "voice", least)
    if name.removeprefix(_LEVEL) in LEVELS and name.startswith(_LEVEL):
        level = name.removeprefix(_LEVEL)
        if "level" not in corpus_clips:
            raise UserError(f"the track {name} needs a corpus that knows the level of each clip.")
        reason = np.where(corpus_clips["level"] == level, "", _OTHER_LEVEL)
        return _track(name, f"the intended label, level {level}", corpus_clips, intended, reason)
    raise unknown("track", name, _NAMES)


def on_track(rows: pd.DataFrame, track: Track) -> pd.DataFrame:
    """Put predictions on a track: its labels, and only the clips that have one.

    Args:
        rows: prediction rows.
        track: made of the clips of these rows, or of the whole corpus; its ``dropped`` says how many were left out
            and why.

    Raises:
        UserError: the track does not know a clip, or none of the clips has a label on it.
    """
    label = rows["clip"].map(track.labels)
    strange = label.isna() & (track.left_out.index.get_indexer(rows["clip"]) < 0)
    if strange.any():
        clip = rows.loc[strange, "clip"].iloc[0]
        raise UserError(f"the track {track.name} says nothing of clip {clip}; judge only clips of the corpus.")
    if label.isna().all():
        raise UserError(f"no clip of the predictions has a label on the track {track.name}.")
    return rows.assign(label=label)[label.notna()].reset_index(drop=True)


def votes_of(corpus_clips: pd.DataFrame, labels: Sequence[str], modality: str = "voice") -> pd.DataFrame:
    """How many raters named each label, one row a clip (the index), one column a label.

    Args:
        corpus_clips: the corpus's table.
        labels: the full label list.
        modality: one of :data:`MODALITIES`.

    Raises:
        UserError: there is no such modality, or the corpus has no such votes.
    """
    if modality not in MODALITIES:
        raise unknown("modality", modality, MODALITIES)
    columns = [f"votes_{modality}_{label}" for label in labels]
    missing = [column for column in columns if column not in corpus_clips]
    if missing:
        raise UserError(f"the corpus has no {_WORDS[modality]} votes (there is no column {missing[0]}).")
    index = pd.Index(corpus_clips["clip"], name="clip")
    return pd.DataFrame(corpus_clips[columns].to_numpy(np.int64), index=index, columns=list(labels))


def votes_for(votes: pd.DataFrame, clips: Iterable[str]) -> NDArray[np.int64]:
    """The votes of the given clips in their order, shape (clips, K).

    Args:
        votes: as :func:`votes_of` gives them.
        clips: may name a clip several times.

    Raises:
        UserError: the votes say nothing of a clip.
    """
    wanted = pd.Index(clips)
    place = votes.index.get_indexer(wanted)
    if (place < 0).any():
        raise UserError(f"there are no votes of clip {wanted[place < 0][0]}; judge only clips of the corpus.")
    counts: NDArray[np.int64] = votes.to_numpy()[place]
    return counts


def plurality(votes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Place of the label with the most votes, shape (clips,); -1 where several tie, or nobody voted.

    Args:
        votes: counts, shape (clips, K), of two labels or more.

    >>> plurality(np.array([[3, 1], [2, 2], [0, 0]])).tolist()
    [0, -1, -1]
    """
    alone = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return np.where(alone, votes.argmax(axis=1), -1)


def _perceived(
    name: str, source: str, clips: pd.DataFrame, labels: Sequence[str], modality: str, least: float = 0.0
) -> Track:
    votes = votes_of(clips, labels, modality).to_numpy()
    place, total = plurality(votes), votes.sum(axis=1)
    below = votes.max(axis=1) / np.maximum(total, 1) < least
    reason = np.select([total == 0, place < 0, below], [_NO_VOTES, _TIED, _BELOW], "")
    return _track(name, source, clips, np.array(labels, object)[place], reason)


def _track(name: str, source: str, clips: pd.DataFrame, label: NDArray[np.object_], reason: NDArray[np.str_]) -> Track:
    index = pd.Index(clips["clip"], name="clip")
    kept = reason == ""
    if not kept.any():
        raise UserError(f"no clip has a label on the track {name}.")
    return Track(
        name=name,
        source=source,
        labels=pd.Series(label[kept], index=index[kept], name="label"),
        left_out=pd.Series(reason[~kept].astype(object), index=index[~kept], name="reason", dtype=object),
    )
