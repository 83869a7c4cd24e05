"""Label tracks: which label of a clip counts.

What a speaker meant to express and what raters heard or saw are two labels of one clip, and a model
is right or wrong by one of them; so every figure names its track. Which tracks there are, and what
they are called, is part of the corpus's description (:class:`serlab.corpora.description.Tracks`).
The label of raters is the plurality of their votes. Where several labels tie, the clip has none: it
is dropped and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown

if TYPE_CHECKING:
    from serlab.corpora.description import Raters, Tracks

VOICE = "voice"
"""The raters who heard the voice alone, as a model does: columns ``votes_voice_<label>``."""

_LEVEL = "level-"
_AGREEMENT = re.compile(r"agreement>=(\d*\.?\d+)")
_AGREED = "agreement>=0.8"
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


class NoClipsError(UserError):
    """None of the clips has a label on a track."""


def track_names(tracks: Tracks) -> tuple[str, ...]:
    """Names of the tracks besides the corpus's own label, in the order of a report.

    >>> from serlab.corpora import describe
    >>> track_names(describe("ravdess").tracks)
    ('level-normal', 'level-strong')
    """
    agreed = (_AGREED,) if _of_voice(tracks) else ()
    return (*tracks.votes, *agreed, *(_LEVEL + level for level in tracks.levels))


def track(corpus_clips: pd.DataFrame, labels: Sequence[str], name: str, tracks: Tracks) -> Track:
    """Find a track's labels.

    Args:
        corpus_clips: the corpus's table, or the rows of the judged clips; the counts are over
            these.
        labels: the full label list.
        name: ``tracks.label`` (the corpus's label), a name in ``tracks.votes`` (the plurality of
            these raters), ``agreement>=0.8`` (the plurality of those who heard the voice alone,
            where at least this share of them agrees), or ``level-<level>`` (the corpus's label,
            only clips of this level).
        tracks: of the corpus's description.

    Raises:
        UserError: there is no such track, or the corpus lacks what it needs.
        NoClipsError: no clip has a label on it.

    >>> from serlab.corpora import describe
    >>> clips = pd.DataFrame({"clip": ["a"], "label": ["sad"]})
    >>> track(clips, ["happy", "sad"], "level-weak", describe("ravdess").tracks)
    Traceback (most recent call last):
    serlab.core.errors.UserError: unknown track 'level-weak'; did you mean 'level-normal'? Known: intended, \
level-normal, level-strong.
    """
    own = corpus_clips["label"].to_numpy(object)
    label = f"the {tracks.label} label"
    level = name.removeprefix(_LEVEL)
    agreement = _AGREEMENT.fullmatch(name)
    voice = _of_voice(tracks)
    if name == tracks.label:
        return _track(name, label, corpus_clips, own, np.full(len(own), ""))
    if name in tracks.votes:
        raters = tracks.votes[name]
        return _by_votes(name, f"plurality of {raters.words} votes", corpus_clips, labels, raters)
    if agreement and voice:
        least = float(agreement[1])
        if not 0 < least <= 1:
            raise UserError(f"the track {name} asks for an impossible share of votes; expected above 0 and at most 1.")
        source = f"plurality of {voice.words} votes with a share of at least {least:g}"
        return _by_votes(name, source, corpus_clips, labels, voice, least)
    if name.startswith(_LEVEL) and level in tracks.levels:
        if "level" not in corpus_clips:
            raise UserError(f"the track {name} needs a column level in the corpus's table.")
        reason = np.where(corpus_clips["level"] == level, "", _OTHER_LEVEL)
        return _track(name, f"{label}, level {level}", corpus_clips, own, reason)
    raise unknown("track", name, (tracks.label, *track_names(tracks)))


def _of_voice(tracks: Tracks) -> Raters | None:
    return next((raters for raters in tracks.votes.values() if raters.votes == VOICE), None)


def on_track(rows: pd.DataFrame, track: Track) -> pd.DataFrame:
    """Put predictions on a track: its labels, and only the clips that have one.

    Args:
        rows: prediction rows.
        track: made of the clips of these rows, or of the whole corpus; its ``dropped`` says how
            many were left out and why.

    Raises:
        UserError: the track does not know a clip, or none of the clips has a label on it.
    """
    label = rows["clip"].map(track.labels)
    strange = label.isna() & (track.left_out.index.get_indexer(pd.Index(rows["clip"])) < 0)
    if strange.any():
        clip = rows.loc[strange, "clip"].iloc[0]
        raise UserError(f"the track {track.name} has no clip {clip}; evaluate only clips of the corpus.")
    if label.isna().all():
        raise UserError(f"no clip of the predictions has a label on the track {track.name}.")
    return rows.assign(label=label)[label.notna()].reset_index(drop=True)


def votes_of(corpus_clips: pd.DataFrame, labels: Sequence[str], raters: str = VOICE) -> pd.DataFrame:
    """Count how many raters named each label: one row per clip (the index), one column per label.

    Args:
        corpus_clips: the corpus's table.
        labels: the full label list.
        raters: which group of raters, as in the columns ``votes_<raters>_<label>``.

    Raises:
        UserError: the corpus has no such votes.
    """
    columns = [f"votes_{raters}_{label}" for label in labels]
    missing = [column for column in columns if column not in corpus_clips]
    if missing:
        raise UserError(f"the corpus has no {raters} votes: its table has no column {missing[0]}.")
    index = pd.Index(corpus_clips["clip"], name="clip")
    return pd.DataFrame(corpus_clips[columns].to_numpy(np.int64), index=index, columns=list(labels))


def votes_for(votes: pd.DataFrame, clips: Iterable[str]) -> NDArray[np.int64]:
    """Get the votes of the given clips in their order, shape (clips, K).

    Args:
        votes: as :func:`votes_of` gives them.
        clips: may name a clip several times.

    Raises:
        UserError: a clip has no votes.
    """
    wanted = pd.Index(clips)
    place = votes.index.get_indexer(wanted)
    if (place < 0).any():
        raise UserError(f"there are no votes of clip {wanted[place < 0][0]}; evaluate only clips of the corpus.")
    counts: NDArray[np.int64] = votes.to_numpy()[place]
    return counts


def plurality(votes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Index of the label with the most votes, shape (clips,); -1 where several tie or there are no votes.

    Args:
        votes: counts, shape (clips, K), of two labels or more.

    >>> plurality(np.array([[3, 1], [2, 2], [0, 0]])).tolist()
    [0, -1, -1]
    """
    alone = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return np.where(alone, votes.argmax(axis=1), -1)


def _by_votes(
    name: str, source: str, clips: pd.DataFrame, labels: Sequence[str], raters: Raters, least: float = 0.0
) -> Track:
    votes = votes_of(clips, labels, raters.votes).to_numpy()
    place, total = plurality(votes), votes.sum(axis=1)
    below = votes.max(axis=1) / np.maximum(total, 1) < least
    reason = np.select([total == 0, place < 0, below], [_NO_VOTES, _TIED, _BELOW], "")
    return _track(name, source, clips, np.array(labels, object)[place], reason)


def _track(name: str, source: str, clips: pd.DataFrame, label: NDArray[np.object_], reason: NDArray[np.str_]) -> Track:
    index = pd.Index(clips["clip"], name="clip")
    kept = reason == ""
    if not kept.any():
        raise NoClipsError(f"no clip has a label on the track {name}.")
    return Track(
        name=name,
        source=source,
        labels=pd.Series(label[kept], index=index[kept], name="label"),
        left_out=pd.Series(reason[~kept].astype(object), index=index[~kept], name="reason", dtype=object),
    )
