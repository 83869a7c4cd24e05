"""Human raters as the reference: how they name the intended label, agree, and err compared with a model.

Everything comes from vote counts: how many raters of a clip named which label. Votes on clips of
one speaker are not independent, so intervals resample speakers here too. The ceiling that
disagreement sets for a model is in :mod:`serlab.evaluation.soft`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import SpeakerCounts, check_labels
from serlab.evaluation.metrics import recall
from serlab.evaluation.resampling import STANDARD, Interval, Resampling
from serlab.evaluation.tracks import plurality, votes_for, votes_of
from serlab.tables.predictions import PREDICTED, labels_of, probabilities_of

AGREE = 0.8
FAIL = 0.2
_NO_SPREAD = 1e-12

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class RaterScores:
    """How raters name the intended label.

    Attributes:
        count: ratings, or clips that the plurality answers.
        dropped: clips without an answer (no votes, or the plurality ties).
        scores: an interval per metric.
        recall: of each label, None for a label without answers.
        confusion: rows intended, columns answered.
    """

    count: int
    dropped: int
    scores: dict[str, Interval]
    recall: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RaterAgreement:
    """Human raters as the reference, in one modality.

    Attributes:
        modality: what they were given: ``voice``, ``face`` or ``both``.
        raters: every vote counts as an answer, so a clip counts as often as it was rated.
        plurality: one answer per clip, that of most raters; None if every clip ties.
        alpha: Krippendorff's alpha, None if undefined (all votes for one label, or no clip rated
            twice).
    """

    modality: str
    raters: RaterScores
    plurality: RaterScores | None
    alpha: Interval | None


@dataclass(frozen=True)
class ErrorSimilarity:
    """How alike two confusion matrices are in their errors.

    Attributes:
        pearson: correlation of the cells off the diagonal, each row a distribution; None if
            undefined (one without errors, or with equal rates of all; fewer than three labels).
        spearman: the same of their ranks.
    """

    pearson: Interval | None
    spearman: Interval | None


def judge_raters(
    clips: pd.DataFrame, labels: Sequence[str], modality: str = "voice", *, resampling: Resampling = STANDARD
) -> RaterAgreement:
    """Judge the raters by the intended label, with intervals over speakers.

    Args:
        clips: the corpus's table; beside a model, the rows of it whose clips the model is judged
            on.
        labels: the full label list.
        modality: which votes.
        resampling: how speakers are resampled.

    Raises:
        UserError: the corpus has no such votes.
    """
    each, most = rater_counts(clips, labels, modality), plurality_counts(clips, labels, modality)
    votes = votes_of(clips, labels, modality).to_numpy()
    unanswered = [int((rows == 0).all(axis=1).sum()) for rows in (votes, _one_hot(votes))]

    def answers(counts: SpeakerCounts, dropped: int) -> RaterScores:
        matrix = counts.by_seed[0]
        return RaterScores(
            count=int(matrix.sum()),
            dropped=dropped,
            scores=intervals(counts, resampling=resampling),
            recall={label: _number(share) for label, share in zip(labels, recall(matrix), strict=True)},
            confusion=tuple(tuple(map(int, row)) for row in matrix),
        )

    return RaterAgreement(
        modality=modality,
        raters=answers(each, unanswered[0]),
        plurality=answers(most, unanswered[1]) if most.matrices.any() else None,
        alpha=_alpha_over(votes, clips["speaker"], resampling),
    )


def rater_counts(clips: pd.DataFrame, labels: Sequence[str], modality: str = "voice") -> SpeakerCounts:
    """Every vote as a prediction of the intended label, to compare with a model's counts.

    Args:
        clips: the corpus's table; beside a model, the rows of it whose clips the model is judged
            on.
        labels: the full label list.
        modality: which votes.

    Raises:
        UserError: the corpus has no such votes, or a clip's label is not in the list.
    """
    votes = votes_of(clips, labels, modality).to_numpy()
    if not votes.any():
        raise UserError(f"these clips have no {modality} votes; human raters can't be a reference here.")
    return _counts(clips, labels, votes)


def plurality_counts(clips: pd.DataFrame, labels: Sequence[str], modality: str = "voice") -> SpeakerCounts:
    """The plurality's label of each clip as a prediction of the intended one; a clip that ties is left out.

    Args:
        clips: as for :func:`rater_counts`.
        labels: the full label list.
        modality: which votes.

    Raises:
        UserError: the corpus has no such votes, or a clip's label is not in the list.
    """
    return _counts(clips, labels, _one_hot(votes_of(clips, labels, modality).to_numpy()))


def krippendorff_alpha(votes: Integers) -> float:
    """Krippendorff's alpha of nominal data (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C).

    Observed over expected disagreement of the pairs of votes on one clip, taken from 1. It needs no
    rater's identity, and a clip with a single vote, which pairs with nothing, is left out.

    Args:
        votes: counts, shape (clips, K).

    Returns:
        1 for full agreement, 0 for that of chance; NaN where all votes are for one label or no clip
        has two.

    >>> round(krippendorff_alpha(np.array([[3, 0], [0, 2], [1, 1]])), 3)
    0.5
    """
    agreed, margins = _coincidences(votes)
    return float(_alpha(agreed.sum(), margins.sum(axis=0)))


def error_similarity(
    model: SpeakerCounts, raters: SpeakerCounts, *, resampling: Resampling = STANDARD
) -> ErrorSimilarity:
    """Correlate a model's errors with the raters': does it mistake fear for sadness as they do?

    Matrices are summed over seeds and speakers and each row divided by its sum; the diagonal is
    left out, because it says how often, not how, one errs. Speakers are resampled jointly: a
    replicate draws the same ones for both. A label that raters name often whatever they hear
    raises its whole column; a model with the same bias is similar in that
    too.

    Args:
        model: its confusion counts.
        raters: counts on the same clips, of :func:`rater_counts` or :func:`plurality_counts`.
        resampling: how speakers are resampled.

    Raises:
        ValueError: the two do not have the same speakers and labels.
    """
    if model.speakers != raters.speakers or model.labels != raters.labels:
        raise ValueError("errors are compared on the same speakers and labels")
    sides = [counts.by_speaker.sum(axis=0).astype(np.float64) for counts in (model, raters)]
    spoken = np.all([side.sum(axis=(0, 2)) > 0 for side in sides], axis=0)

    def errors(weights: Floats) -> list[Floats]:
        return [_error_rates(np.tensordot(weights, side, 1), spoken) for side in sides]

    def of(correlate: Callable[[Floats, Floats], Floats]) -> Interval | None:
        speakers = len(model.speakers)
        value = float(correlate(*errors(np.ones(speakers))))
        if len(model.labels) < 3 or math.isnan(value):
            return None
        return resampling.interval(value, lambda weights: correlate(*errors(weights)), speakers)

    return ErrorSimilarity(of(_pearson), of(_spearman))


def agree_and_fail(
    rows: pd.DataFrame, votes: pd.DataFrame, *, agree: float = AGREE, fail: float = FAIL
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find clips that raters get right and the model does not, and the reverse.

    Args:
        rows: prediction rows with their intended label; a clip's probabilities are averaged over
            its rows (seeds). Without scores, the most frequent prediction counts, and
            ``probability`` is None.
        votes: as :func:`serlab.evaluation.tracks.votes_of` gives them; a clip without votes is in
            neither result.
        agree: raters are right if at least this share of the votes is for the label.
        fail: raters are wrong if at most this share is.

    Returns:
        Two tables: clips where raters agree and the model fails, and the reverse. Each has the
            columns ``clip``, ``speaker``, ``label``, ``predicted``, ``probability`` (of the
            predicted label) and ``share`` (of the votes for the label), in order of the model's
            confidence.

    Raises:
        UserError: a clip has no votes, or labels differ.
    """
    labels = tuple(votes.columns)
    check_labels(rows, labels)
    scored = bool(labels_of(rows))
    said = probabilities_of(rows) if scored else rows[[PREDICTED]].to_numpy() == np.array(labels)
    scores = pd.DataFrame(said, columns=labels_of(rows) or labels)
    mean = scores.groupby(rows["clip"].to_numpy()).mean()
    table = rows.drop_duplicates("clip").set_index("clip").loc[mean.index, ["speaker", "label"]]
    counts = votes_for(votes, mean.index)
    named = counts[np.arange(len(counts)), [labels.index(label) for label in table["label"]]]
    table = table.rename_axis("clip").reset_index()
    table["predicted"] = mean.columns.to_numpy()[mean.to_numpy().argmax(axis=1)]
    table["probability"] = mean.to_numpy().max(axis=1)
    table["share"] = np.where(counts.any(axis=1), named / np.maximum(counts.sum(axis=1), 1), np.nan)
    table = table.sort_values(["probability", "clip"], ascending=[False, True])
    right = table["predicted"] == table["label"]
    if not scored:
        table["probability"] = None
    chosen = (~right & (table["share"] >= agree), right & (table["share"] <= fail))
    return table[chosen[0]].reset_index(drop=True), table[chosen[1]].reset_index(drop=True)


def _counts(clips: pd.DataFrame, labels: Sequence[str], answers: Integers) -> SpeakerCounts:
    """Confusion counts by speaker, as of one seed and one fold, from each clip's answers, shape (clips, K)."""
    truth = pd.Index(labels).get_indexer(pd.Index(clips["label"]))
    if (truth < 0).any():
        raise unknown("label", str(clips["label"].iloc[int((truth < 0).argmax())]), labels)
    speaker, speakers = pd.factorize(clips["speaker"], sort=True)
    matrices = np.zeros((1, len(speakers), len(labels), len(labels)), np.int64)
    np.add.at(matrices[0], (speaker, truth), answers)
    return SpeakerCounts(
        labels=tuple(labels),
        speakers=tuple(map(str, speakers)),
        folds=(1,),
        seeds=(0,),
        matrices=matrices,
        speaker=np.arange(len(speakers)),
        fold=np.zeros(len(speakers), np.int64),
    )


def _one_hot(votes: Integers) -> NDArray[np.int64]:
    """One vote for the plurality, none where it ties, shape (clips, K)."""
    return np.asarray(plurality(votes)[:, None] == np.arange(votes.shape[1]), np.int64)


def _alpha_over(votes: Integers, speaker: pd.Series, resampling: Resampling) -> Interval | None:
    who, speakers = pd.factorize(speaker)
    agreed, margins = _coincidences(votes)
    sums = np.zeros((len(speakers), 1 + votes.shape[1]))
    np.add.at(sums, who, np.column_stack([agreed, margins]))

    def statistic(weights: Floats) -> Floats:
        pooled = weights @ sums
        return _alpha(pooled[..., 0], pooled[..., 1:])

    value = float(statistic(np.ones(len(speakers))))
    if math.isnan(value):
        return None
    return resampling.interval(value, statistic, len(speakers))


def _coincidences(votes: Integers) -> tuple[Floats, Integers]:
    """Of each clip, the diagonal sum of its coincidence matrix, shape (clips,), and its margins, shape (clips, K)."""
    total = votes.sum(axis=1)
    agreed = (votes * (votes - 1)).sum(axis=1) / np.maximum(total - 1, 1)
    return agreed, votes * (total >= 2)[:, None]


def _alpha(agreed: Floats, margins: Floats) -> Floats:
    count = margins.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        expected = (count**2 - (margins**2).sum(axis=-1)) / (count - 1)
        return np.asarray(1 - (count - agreed) / expected, np.float64)


def _error_rates(matrices: Floats, spoken: NDArray[np.bool_]) -> Floats:
    """Off-diagonal cells of the row-normalised rows that have clips, shape (..., cells)."""
    with np.errstate(invalid="ignore"):
        rates = matrices / matrices.sum(axis=-1, keepdims=True)
    wrong: Floats = rates[..., ~np.eye(len(spoken), dtype=bool) & spoken[:, None]]
    return wrong


def _pearson(first: Floats, second: Floats) -> Floats:
    first, second = (side - side.mean(axis=-1, keepdims=True) for side in (first, second))
    together = (first * second).sum(axis=-1)
    spread = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    # Equal rates may differ from their mean by a rounding error.
    found: Floats = np.divide(together, spread, out=np.full_like(together, np.nan), where=spread > _NO_SPREAD)
    return found


def _spearman(first: Floats, second: Floats) -> Floats:
    from scipy.stats import rankdata  # late: it takes half a second

    return _pearson(rankdata(first, axis=-1), rankdata(second, axis=-1))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
