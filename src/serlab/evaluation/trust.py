"""Everything beside scores that says how far a model's answers can be trusted, as plain data.

From a recipe's prediction rows, and from the corpus's table where it is at hand: calibration before and after a
temperature, abstention, prediction sets, groups of speakers, other label tracks, and people beside the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.abstention import judge_abstention
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.calibration import at_temperature, fit_temperature, judge_calibration, reliability
from serlab.evaluation.conformal import LEVELS, fewest_speakers, judge_sets, nonconformity, sets, threshold
from serlab.evaluation.fairness import age_bands, judge_groups
from serlab.evaluation.outcomes import Called, Outcomes, count_outcomes
from serlab.evaluation.people import agree_and_fail, likeness, people, raters_outcomes
from serlab.evaluation.soft import ceiling, soft_scores
from serlab.evaluation.tracks import on_track, track, track_names, votes_for, votes_of
from serlab.tables.predictions import PREFIX, labels_of

if TYPE_CHECKING:
    from serlab.corpora.description import Tracks

ATTRIBUTES = ("sex", "age", "race", "ethnicity")
_LISTED = 12
_MODEL = ["fold", "seed"]

Floats = NDArray[np.float64]
_AS_NUMBERED: Called = {}
_NO_SCORES = {"calibration": None, "abstention": None, "sets": None, "soft": None}


def trust(
    rows: pd.DataFrame,
    dev: pd.DataFrame,
    outcomes: Outcomes,
    clips: pd.DataFrame | None = None,
    *,
    tracks: Tracks | None = None,
    speakers_known: bool = True,
    folds: Called = _AS_NUMBERED,
    seeds: Called = _AS_NUMBERED,
) -> dict[str, Any]:
    """How far one recipe's answers can be trusted.

    Args:
        rows: the judged rows of all folds and seeds.
        dev: the same models' rows of the dev sides, on which temperatures and sets are fitted; may be empty.
        outcomes: the confusion counts of ``rows``.
        clips: the corpus's table, with votes and what it knows of the speakers; None where it is not at hand.
        tracks: other labels of a clip, from the corpus's description.
        tracks: what other labels a clip of the corpus has.
        speakers_known: False where the corpus does not say who speaks.
        folds: what the folds' numbers are called, None for one that is none; by default, as they are numbered.
        seeds: likewise.

    Returns:
        Plain data, None for what cannot be had: ``calibration`` (``temperatures``, ``without`` (why there are none),
        ``before``, ``after``), ``abstention``, ``sets``, ``groups`` (by attribute), ``tracks``, ``soft`` and
        ``people``. Of rows that have no scores there is no calibration, no abstention, and nothing else that is made
        of probabilities.
    """
    labels = outcomes.labels
    rows = rows.reset_index(drop=True)
    clips = None if clips is None else _judged(clips, rows)
    speaker = pd.factorize(rows["speaker"], sort=True)[0]
    scored = bool(labels_of(rows))
    by_scores = _of_scores(rows, dev, labels, clips, speaker, speakers_known, folds, seeds) if scored else _NO_SCORES
    return by_scores | {
        "groups": None if clips is None or not speakers_known else _groups(outcomes, clips),
        "tracks": None if clips is None or tracks is None else _tracks(rows, clips, labels, tracks, speakers_known),
        "people": None if clips is None else _beside_people(rows, outcomes, clips, speakers_known),
    }


def _of_scores(
    rows: pd.DataFrame,
    dev: pd.DataFrame,
    labels: Sequence[str],
    clips: pd.DataFrame | None,
    speaker: NDArray[np.int64],
    speakers_known: bool,
    folds: Called,
    seeds: Called,
) -> dict[str, Any]:
    """What needs probabilities, as of :func:`trust`."""
    without = _without_dev(rows, dev, folds, seeds)
    temperatures = None if without else _temperatures(rows, dev, labels)
    raw = at_temperature(_logits(rows, labels), 1.0)
    fitted = None if temperatures is None else _calibrated(rows, temperatures, labels)
    truth = _truth(rows, labels)

    def calibration(probabilities: Floats) -> dict[str, Any]:
        found = judge_calibration(probabilities, truth, speaker, speakers_known=speakers_known)
        points = reliability(probabilities, truth, speaker, speakers_known=speakers_known)
        return asdict(found) | {"reliability": [asdict(point) for point in points]}

    best = raw if fitted is None else fitted
    return {
        "calibration": {
            "temperatures": None
            if temperatures is None
            else [
                {"fold": folds.get(fold, fold), "seed": seeds.get(seed, seed), "value": value}
                for (fold, seed), value in temperatures.items()
            ],
            "without": without,
            "before": calibration(raw),
            "after": None if fitted is None else calibration(fitted),
        },
        "abstention": asdict(judge_abstention(best, truth, speaker, speakers_known=speakers_known)),
        "sets": None
        if temperatures is None
        else _sets(rows, dev, temperatures, labels, best, folds, speakers_known=speakers_known),
        "soft": None if clips is None else _soft(rows, clips, labels, raw, speaker, speakers_known),
    }


def people_of(rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str], *, speakers_known: bool) -> Any:
    """People on the clips that a comparison is judged on: raters, their plurality, agreement and what it leaves.

    Args:
        rows: judged rows; only which clips they hold counts.
        clips: the corpus's table.
        labels: the full label list.
        speakers_known: False where the corpus does not say who speaks.

    Returns:
        ``people`` and ``ceiling`` as plain data, or None where the corpus has no votes.
    """
    here = _judged(clips, rows)
    if not _voted_on(here, labels):
        return None
    votes = votes_of(here, labels).to_numpy()
    speaker = pd.factorize(here["speaker"], sort=True)[0]
    return {
        "people": asdict(people(here, labels, speakers_known=speakers_known)),
        "ceiling": asdict(ceiling(votes, speaker, speakers_known=speakers_known)),
    }


def _without_dev(rows: pd.DataFrame, dev: pd.DataFrame, folds: Called, seeds: Called) -> str:
    """Why nothing can be fitted on dev: a model that is judged has no rows there; empty where all have."""
    wanted, there = (set(table[_MODEL].itertuples(index=False, name=None)) for table in (rows, dev))
    if not there:
        return "there are no rows of the side dev beside those that are judged"
    missing = sorted(wanted - there)
    if not missing:
        return ""
    several = len({seed for _, seed in wanted}) > 1
    names = [
        f"fold {folds.get(fold, fold)}" + (f" seed {seeds.get(seed, seed)}" if several else "")
        for fold, seed in missing
    ]
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no rows of the side dev"


def _temperatures(rows: pd.DataFrame, dev: pd.DataFrame, labels: Sequence[str]) -> dict[tuple[int, int], float]:
    """Each judged model's temperature, fitted on its own fold's dev side."""
    parts = dict(list(dev.groupby(_MODEL)))
    models = sorted(set(rows[_MODEL].itertuples(index=False, name=None)))
    return {
        (int(fold), int(seed)): fit_temperature(_logits(part, labels), _truth(part, labels))
        for fold, seed in models
        for part in (parts[fold, seed],)
    }


def _calibrated(rows: pd.DataFrame, temperatures: Mapping[tuple[int, int], float], labels: Sequence[str]) -> Floats:
    each = [temperatures[int(fold), int(seed)] for fold, seed in rows[_MODEL].to_numpy()]
    return at_temperature(_logits(rows, labels) / np.array(each)[:, None], 1.0)


def _sets(
    rows: pd.DataFrame,
    dev: pd.DataFrame,
    temperatures: Mapping[tuple[int, int], float],
    labels: Sequence[str],
    probabilities: Floats,
    called: Called,
    *,
    speakers_known: bool,
) -> list[dict[str, Any]]:
    """Prediction sets at each level, by speakers and by clips, each model's threshold from its own dev side."""
    model_of = pd.MultiIndex.from_frame(rows[_MODEL])
    scores = {
        (int(fold), int(seed)): (
            nonconformity(_calibrated(part, temperatures, labels), _truth(part, labels)),
            pd.factorize(part["speaker"])[0],
        )
        for (fold, seed), part in dev.groupby(_MODEL)
        if (int(fold), int(seed)) in temperatures
    }
    truth = _truth(rows, labels)
    found = []
    for level in LEVELS:
        entry: dict[str, Any] = {"level": level, "fewest_speakers": fewest_speakers(level)}
        for name in ("speakers", "clips"):
            limits = {
                model: threshold(of_dev, who if name == "speakers" else None, level)
                for model, (of_dev, who) in scores.items()
                if name == "clips" or speakers_known
            }
            held = np.zeros(probabilities.shape, bool)
            judged = np.zeros(len(rows), bool)
            for model, limit in limits.items():
                if limit is not None:
                    here = model_of == model
                    held[here], judged = sets(probabilities[here], limit), judged | here
            entry[name] = (
                _coverage(rows[judged], held[judged], truth[judged], called, speakers_known=speakers_known)
                | {"unattained": [called.get(fold, fold) for fold in _unattained(limits)]}
                if judged.any()
                else None
            )
        found.append(entry)
    return found


def _unattained(limits: Mapping[tuple[int, int], float | None]) -> list[int]:
    """Folds whose dev side is too small for a threshold."""
    return sorted({fold for (fold, _), limit in limits.items() if limit is None})


def _coverage(
    rows: pd.DataFrame, held: NDArray[np.bool_], truth: NDArray[np.int64], called: Called, *, speakers_known: bool
) -> dict[str, Any]:
    """How often sets hold the true label, over all folds that attain the level and in each of them."""
    whole = judge_sets(held, truth, pd.factorize(rows["speaker"], sort=True)[0], speakers_known=speakers_known)
    covered = rows[["fold", "speaker"]].assign(covered=held[np.arange(len(truth)), truth])
    by_fold = covered.groupby(["fold", "speaker"])["covered"].mean().groupby("fold").mean()
    named = {called.get(fold, fold): float(share) for fold, share in by_fold.items()}
    return asdict(whole) | {"folds": {str(fold): share for fold, share in named.items() if fold is not None}}


def _groups(outcomes: Outcomes, clips: pd.DataFrame) -> dict[str, Any] | None:
    speakers = clips.drop_duplicates("speaker").set_index("speaker")
    found = {}
    for attribute in ATTRIBUTES:
        if attribute in speakers:
            values = age_bands(pd.to_numeric(speakers["age"], "coerce")) if attribute == "age" else speakers[attribute]
            groups = dict(zip(speakers.index, values, strict=True))
            judged = judge_groups(outcomes.by_speaker, outcomes.speakers, groups, labels=outcomes.labels)
            found[attribute] = asdict(judged)
    return found or None


def _tracks(
    rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str], tracks: Tracks, speakers_known: bool
) -> list[dict[str, Any]] | None:
    votes, levels = _voted_on(clips, labels), "level" in clips
    found = []
    for name in track_names(tracks):
        if not (levels if name.startswith("level") else votes):
            continue
        try:
            chosen = track(clips, labels, name, tracks)
        except UserError:  # no judged clip has a label on it
            continue
        judged = on_track(rows, chosen)
        scores = intervals(count_outcomes(judged, labels), speakers_known=speakers_known)
        found.append(
            {
                "name": name,
                "description": chosen.description,
                "clips": int(judged["clip"].nunique()),
                "scores": {metric: asdict(score) for metric, score in scores.items()},
            }
        )
    return found or None


def _soft(
    rows: pd.DataFrame,
    clips: pd.DataFrame,
    labels: Sequence[str],
    probabilities: Floats,
    speaker: NDArray[np.int64],
    speakers_known: bool,
) -> dict[str, Any] | None:
    if not _voted_on(clips, labels):
        return None
    votes = votes_for(votes_of(clips, labels), rows["clip"])
    training = pd.factorize(rows["seed"])[0]
    return asdict(soft_scores(probabilities, votes, speaker, training=training, speakers_known=speakers_known))


def _beside_people(
    rows: pd.DataFrame, outcomes: Outcomes, clips: pd.DataFrame, speakers_known: bool
) -> dict[str, Any] | None:
    if not _voted_on(clips, outcomes.labels):
        return None
    fails, succeeds = agree_and_fail(rows, votes_of(clips, outcomes.labels))
    alike = likeness(outcomes, raters_outcomes(clips, outcomes.labels), speakers_known=speakers_known)
    return asdict(alike) | {
        "model_fails": {"clips": len(fails), "first": fails.head(_LISTED).to_dict("records")},
        "people_fail": {"clips": len(succeeds), "first": succeeds.head(_LISTED).to_dict("records")},
    }


def _judged(clips: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The corpus's rows of the judged clips."""
    return clips[clips["clip"].isin(rows["clip"].drop_duplicates())].reset_index(drop=True)


def _voted_on(clips: pd.DataFrame, labels: Sequence[str]) -> bool:
    """Whether the corpus has voice votes of all labels."""
    return all(f"votes_voice_{label}" in clips for label in labels)


def _logits(rows: pd.DataFrame, labels: Sequence[str]) -> Floats:
    """Shape (rows, K), in the order of the full label list, whatever the table's."""
    logits: Floats = rows[[PREFIX + label for label in labels]].to_numpy(np.float64)
    return logits


def _truth(rows: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray(pd.Index(labels).get_indexer(rows["label"]), np.int64)
