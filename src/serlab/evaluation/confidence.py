"""What the probabilities of a prediction table are worth: calibration, abstention, prediction sets.

Temperatures and the thresholds of prediction sets are fitted per model (fold and seed) on the rows
of the table's dev subset, and judged on its test rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.evaluation.abstention import Abstention, judge_abstention
from serlab.evaluation.calibration import Calibration, at_temperature, fit_temperature, judge_calibration
from serlab.evaluation.conformal import (
    LEVELS,
    Coverage,
    enough_speakers,
    expected_coverage,
    fewest_speakers,
    judge_sets,
    nonconformity,
    sets,
    threshold,
)
from serlab.evaluation.prepare import PreparedTable
from serlab.evaluation.resampling import Resampling
from serlab.tables.predictions import PREFIX

Floats = NDArray[np.float64]
_Model = tuple[int, int]
_MODEL = ["fold", "seed"]


@dataclass(frozen=True)
class Temperature:
    """A model's temperature; ``fold`` and ``seed`` as the table calls them, None if it names none."""

    fold: int | str | None
    seed: int | str | None
    value: float


@dataclass(frozen=True)
class Calibrations:
    """Calibration before and after a temperature.

    Attributes:
        temperatures: of each model, None if none could be fitted.
        without: why there are no temperatures, empty if there are.
        before: of the probabilities as predicted.
        after: of the probabilities at each model's temperature, None without temperatures.
    """

    temperatures: tuple[Temperature, ...] | None
    without: str
    before: Calibration
    after: Calibration | None


@dataclass(frozen=True)
class FoldCoverage(Coverage):
    """Coverage over all folds that attain a level.

    Attributes:
        folds: coverage in each of them (mean over speakers), by the fold's name.
        unattained: folds whose dev subset is too small for the level.
    """

    folds: dict[str, float]
    unattained: tuple[int | str | None, ...]


@dataclass(frozen=True)
class SetLevel:
    """Prediction sets at one level.

    Attributes:
        level: share of clips to cover.
        fewest_speakers: dev speakers that the level needs.
        dev_speakers: fewest dev speakers of a model that attains the level; None if none does.
        expected: coverage of new speakers to be expected with so few, None likewise.
        enough_speakers: dev speakers from which on that is within 5 points of the level.
        speakers: sets from thresholds that give every dev speaker the same weight, None if not
            attainable.
        clips: sets from thresholds of pooled dev clips.
    """

    level: float
    fewest_speakers: int
    dev_speakers: int | None
    expected: float | None
    enough_speakers: int
    speakers: FoldCoverage | None
    clips: FoldCoverage | None


@dataclass(frozen=True)
class Confidence:
    """What a table's probabilities are worth.

    Attributes:
        calibration: before and after a temperature.
        abstention: by the confidence after the temperature, or as predicted if there is none.
        sets: prediction sets at each level, None without dev rows to fit them on.
    """

    calibration: Calibrations
    abstention: Abstention
    sets: tuple[SetLevel, ...] | None


def judge_confidence(table: PreparedTable, resampling: Resampling) -> Confidence:
    """Judge the probabilities of a table whose rows have scores.

    Args:
        table: its test rows are judged, each model's temperature and thresholds come from its dev
            rows.
        resampling: how speakers are resampled.
    """
    rows, folds, seeds = table.rows, table.folds, table.seeds
    truth, speaker = _truth(rows, table.labels), pd.factorize(rows["speaker"], sort=True)[0]
    without = _why_not_fitted(table)
    temperatures = {} if without else _temperatures(table)
    predicted = at_temperature(logits_in_order(rows, table.labels), 1.0)
    fitted = None if without else _calibrated(rows, table.labels, temperatures)

    def calibration(probabilities: Floats) -> Calibration:
        return judge_calibration(probabilities, truth, speaker, resampling=resampling)

    named = tuple(
        Temperature(folds.get(fold, fold), seeds.get(seed, seed), t) for (fold, seed), t in temperatures.items()
    )
    return Confidence(
        calibration=Calibrations(
            temperatures=None if without else named,
            without=without,
            before=calibration(predicted),
            after=None if fitted is None else calibration(fitted),
        ),
        abstention=judge_abstention(predicted if fitted is None else fitted, truth, speaker, resampling=resampling),
        sets=None if fitted is None else _sets(table, temperatures, fitted, resampling),
    )


def logits_in_order(rows: pd.DataFrame, labels: Sequence[str]) -> Floats:
    """Logits of shape (rows, K), in the order of the full label list, whatever the table's."""
    logits: Floats = rows[[PREFIX + label for label in labels]].to_numpy(np.float64)
    return logits


def _why_not_fitted(table: PreparedTable) -> str:
    """Why nothing can be fitted on dev: a judged model has no rows there; empty if all have."""
    wanted, there = (set(rows[_MODEL].itertuples(index=False, name=None)) for rows in (table.rows, table.dev))
    if not there:
        return "there are no rows of the side dev beside those that are judged"
    missing = sorted(wanted - there)
    if not missing:
        return ""
    several = len({seed for _, seed in wanted}) > 1
    names = [
        f"fold {table.folds.get(fold, fold)}" + (f" seed {table.seeds.get(seed, seed)}" if several else "")
        for fold, seed in missing
    ]
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no rows of the side dev"


def _temperatures(table: PreparedTable) -> dict[_Model, float]:
    """Each judged model's temperature, fitted on its own dev rows."""
    parts = dict(list(table.dev.groupby(_MODEL)))
    models = sorted(set(table.rows[_MODEL].itertuples(index=False, name=None)))
    return {
        (int(fold), int(seed)): fit_temperature(logits_in_order(part, table.labels), _truth(part, table.labels))
        for fold, seed in models
        for part in (parts[fold, seed],)
    }


def _calibrated(rows: pd.DataFrame, labels: Sequence[str], temperatures: Mapping[_Model, float]) -> Floats:
    each = [temperatures[int(fold), int(seed)] for fold, seed in rows[_MODEL].to_numpy()]
    return at_temperature(logits_in_order(rows, labels) / np.array(each)[:, None], 1.0)


def _sets(
    table: PreparedTable, temperatures: Mapping[_Model, float], probabilities: Floats, resampling: Resampling
) -> tuple[SetLevel, ...]:
    """Prediction sets at each level, each model's threshold from its own dev rows."""
    parts: Iterable[tuple[Any, pd.DataFrame]] = table.dev.groupby(_MODEL)
    scores = {
        (int(fold), int(seed)): (
            nonconformity(_calibrated(part, table.labels, temperatures), _truth(part, table.labels)),
            pd.factorize(part["speaker"])[0],
        )
        for (fold, seed), part in parts
        if (int(fold), int(seed)) in temperatures
    }

    def covered(level: float, *, by_speaker: bool) -> FoldCoverage | None:
        thresholds = {
            model: threshold(of_dev, who if by_speaker else None, level) for model, (of_dev, who) in scores.items()
        }
        return _coverage(table, thresholds, probabilities, resampling)

    def dev_speakers(level: float) -> int | None:
        numbers = [int(who.max()) + 1 for _, who in scores.values()] if resampling.known else []
        return min((number for number in numbers if number >= fewest_speakers(level)), default=None)

    return tuple(
        SetLevel(
            level,
            fewest_speakers(level),
            dev_speakers=fewest,
            expected=None if fewest is None else expected_coverage(level, fewest),
            enough_speakers=enough_speakers(level),
            speakers=covered(level, by_speaker=True) if resampling.known else None,
            clips=covered(level, by_speaker=False),
        )
        for level in LEVELS
        for fewest in (dev_speakers(level),)
    )


def _coverage(
    table: PreparedTable, thresholds: Mapping[_Model, float | None], probabilities: Floats, resampling: Resampling
) -> FoldCoverage | None:
    """How often sets hold the true label, over all folds with a threshold and in each of them."""
    model_of = pd.MultiIndex.from_frame(table.rows[_MODEL])
    held, judged = np.zeros(probabilities.shape, bool), np.zeros(len(table.rows), bool)
    for model, limit in thresholds.items():
        if limit is not None:
            here = model_of == model
            held[here], judged = sets(probabilities[here], limit), judged | here
    if not judged.any():
        return None
    rows, held = table.rows[judged], held[judged]
    truth = _truth(rows, table.labels)
    whole = judge_sets(held, truth, pd.factorize(rows["speaker"], sort=True)[0], resampling=resampling)
    covered = rows[["fold", "speaker"]].assign(covered=held[np.arange(len(truth)), truth])
    by_fold = covered.groupby(["fold", "speaker"])["covered"].mean().groupby("fold").mean()
    shares = zip(by_fold.index.tolist(), by_fold, strict=True)
    named = {table.folds.get(fold, fold): float(share) for fold, share in shares}
    unattained = sorted({fold for (fold, _), limit in thresholds.items() if limit is None})
    return FoldCoverage(
        **vars(whole),
        folds={str(fold): share for fold, share in named.items() if fold is not None},
        unattained=tuple(table.folds.get(fold, fold) for fold in unattained),
    )


def _truth(rows: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray(pd.Index(labels).get_indexer(pd.Index(rows["label"])), np.int64)
