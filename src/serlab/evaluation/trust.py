"""How far a model's answers can be trusted, beyond its scores.

From a prepared table, and from the corpus's table if it is at hand: calibration before and after a
temperature, abstention, prediction sets, groups of speakers, other label tracks, and human raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pandas as pd

from serlab.corpora.description import Tracks
from serlab.evaluation.abstention import Abstention
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.calibration import at_temperature
from serlab.evaluation.confidence import Calibrations, SetLevel, judge_confidence, logits_in_order
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.fairness import Fairness, age_bands, judge_groups
from serlab.evaluation.prepare import PreparedTable
from serlab.evaluation.raters import (
    ErrorSimilarity,
    RaterAgreement,
    agree_and_fail,
    error_similarity,
    judge_raters,
    rater_counts,
)
from serlab.evaluation.resampling import STANDARD, Interval, Resampling
from serlab.evaluation.sentences import TwoWay, two_way
from serlab.evaluation.soft import Ceiling, SoftScores, ceiling, soft_scores
from serlab.evaluation.tracks import NoClipsError, on_track, track, track_names, votes_for, votes_of
from serlab.tables.predictions import labels_of

ATTRIBUTES = ("sex", "age", "race", "ethnicity")
_LISTED = 12
_MOST_LEVELS = 10


@dataclass(frozen=True)
class TrackScores:
    """The same answers judged by the labels of another track.

    Attributes:
        name: of the track.
        description: where its labels come from, and which clips have none.
        clips: judged clips.
        scores: an interval per metric.
    """

    name: str
    description: str
    clips: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class ListedClips:
    """Clips of one kind: their number, and the first of them."""

    clips: int
    first: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class BesideRaters(ErrorSimilarity):
    """A model beside the human raters of the same clips.

    Attributes:
        model_fails: clips that raters name rightly and the model does not.
        people_fail: clips that the model names rightly and raters do not.
    """

    model_fails: ListedClips
    people_fail: ListedClips


@dataclass(frozen=True)
class Trust:
    """How far a model's answers can be trusted; None for what cannot be had.

    The first four need probabilities, the others the corpus's table.

    Attributes:
        calibration: before and after a temperature.
        abstention: accuracy of the surest answers.
        sets: prediction sets at several levels.
        soft: probabilities against the distribution of votes.
        groups: scores by attribute of the speakers.
        tracks: scores by other labels of the same clips.
        people: the model beside human raters.
        sentences: UAR over other speakers and other sentences, if the corpus says who said what.
    """

    calibration: Calibrations | None
    abstention: Abstention | None
    sets: tuple[SetLevel, ...] | None
    soft: SoftScores | None
    groups: dict[str, Fairness] | None
    tracks: tuple[TrackScores, ...] | None
    people: BesideRaters | None
    sentences: TwoWay | None


@dataclass(frozen=True)
class HumanReference:
    """Human raters on the clips of a comparison.

    Attributes:
        people: how they name the intended label, and how far they agree.
        ceiling: what their disagreement leaves to a model.
    """

    people: RaterAgreement
    ceiling: Ceiling


def trust(
    table: PreparedTable,
    counts: SpeakerCounts,
    clips: pd.DataFrame | None = None,
    *,
    tracks: Tracks | None = None,
) -> Trust:
    """Judge how far one recipe's answers can be trusted.

    Args:
        table: the judged rows of all folds and seeds, and the same models' dev rows, on which
            temperatures and prediction sets are fitted; there may be none.
        counts: the confusion counts of the judged rows.
        clips: the corpus's table, with votes and what it knows of the speakers; None if it is not
            at hand.
        tracks: other labels of a clip, from the corpus's description, if it has one.
    """
    table = replace(table, rows=table.rows.reset_index(drop=True))
    rows, labels, resampling = table.rows, table.labels, table.resampling
    clips = None if clips is None else _judged(clips, rows)
    voted = clips is not None and _voted_on(clips, labels)
    confidence = judge_confidence(table, resampling) if labels_of(rows) else None
    return Trust(
        calibration=confidence.calibration if confidence else None,
        abstention=confidence.abstention if confidence else None,
        sets=confidence.sets if confidence else None,
        soft=_soft(rows, clips, labels, resampling) if confidence and clips is not None and voted else None,
        groups=None if clips is None or not resampling.known else _groups(counts, clips, resampling),
        tracks=None if clips is None else _tracks(rows, clips, labels, tracks or Tracks(), resampling),
        people=_beside_raters(rows, counts, clips, resampling) if clips is not None and voted else None,
        sentences=_sentences(rows, clips, labels) if clips is not None and resampling.known else None,
    )


def human_reference(
    rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str], *, resampling: Resampling = STANDARD
) -> HumanReference | None:
    """Judge the raters of the clips that a comparison is judged on.

    Args:
        rows: judged rows; only which clips they hold counts.
        clips: the corpus's table.
        labels: the full label list.
        resampling: how speakers are resampled.

    Returns:
        None if the corpus has no votes.
    """
    here = _judged(clips, rows)
    if not _voted_on(here, labels):
        return None
    votes = votes_of(here, labels).to_numpy()
    speaker = pd.factorize(here["speaker"], sort=True)[0]
    return HumanReference(
        people=judge_raters(here, labels, resampling=resampling),
        ceiling=ceiling(votes, speaker, resampling=resampling),
    )


def _groups(counts: SpeakerCounts, clips: pd.DataFrame, resampling: Resampling) -> dict[str, Fairness] | None:
    speakers = clips.drop_duplicates("speaker").set_index("speaker")
    found = {}
    for attribute in ATTRIBUTES:
        if attribute in speakers:
            values = speakers[attribute].tolist()
            if attribute == "age":
                values = age_bands(pd.to_numeric(speakers["age"], "coerce").tolist())
            groups = dict(zip(speakers.index, values, strict=True))
            found[attribute] = judge_groups(
                counts.by_speaker, counts.speakers, groups, labels=counts.labels, resampling=resampling
            )
    return found or None


def _tracks(
    rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str], tracks: Tracks, resampling: Resampling
) -> tuple[TrackScores, ...] | None:
    votes, levels = _voted_on(clips, labels), _levels(clips, tracks)
    tracks = replace(tracks, levels=levels)
    found = []
    for name in track_names(tracks):
        if not (levels if name.startswith("level") else votes):
            continue
        try:
            chosen = track(clips, labels, name, tracks)
        except NoClipsError:
            continue
        judged = on_track(rows, chosen)
        scores = intervals(count_by_speaker(judged, labels), resampling=resampling)
        found.append(TrackScores(name, chosen.description, int(judged["clip"].nunique()), scores))
    return tuple(found) or None


def _sentences(rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str]) -> TwoWay | None:
    if "sentence" not in clips:
        return None
    named = clips[clips["sentence"].notna() & (clips["sentence"] != "")]
    sentence = dict(zip(named["clip"].astype(str), named["sentence"].astype(str), strict=True))
    return two_way([rows], sentence, labels) if sentence else None


def _levels(clips: pd.DataFrame, tracks: Tracks) -> tuple[str, ...]:
    """Levels to judge alone: those of the description, or all that the clips have if they have none of these."""
    there = sorted(set(clips["level"].dropna().astype(str)) - {""}) if "level" in clips else []
    known = tuple(level for level in tracks.levels if level in there)
    return known or (tuple(there) if 1 < len(there) <= _MOST_LEVELS else ())


def _soft(rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str], resampling: Resampling) -> SoftScores:
    votes = votes_for(votes_of(clips, labels), rows["clip"])
    speaker, training = pd.factorize(rows["speaker"], sort=True)[0], pd.factorize(rows["seed"])[0]
    probabilities = at_temperature(logits_in_order(rows, labels), 1.0)
    return soft_scores(probabilities, votes, speaker, training=training, resampling=resampling)


def _beside_raters(
    rows: pd.DataFrame, counts: SpeakerCounts, clips: pd.DataFrame, resampling: Resampling
) -> BesideRaters:
    alike = error_similarity(counts, rater_counts(clips, counts.labels), resampling=resampling)
    fails, succeeds = (
        ListedClips(len(found), tuple(cast("list[dict[str, Any]]", found.head(_LISTED).to_dict("records"))))
        for found in agree_and_fail(rows, votes_of(clips, counts.labels))
    )
    return BesideRaters(**vars(alike), model_fails=fails, people_fail=succeeds)


def _judged(clips: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The corpus's rows of the judged clips."""
    return clips[clips["clip"].isin(rows["clip"].drop_duplicates())].reset_index(drop=True)


def _voted_on(clips: pd.DataFrame, labels: Sequence[str]) -> bool:
    """Whether the corpus has voice votes of all labels."""
    return all(f"votes_voice_{label}" in clips for label in labels)
