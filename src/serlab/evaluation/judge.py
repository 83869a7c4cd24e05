"""Judging tables of predictions, serlab's own and others': ``serlab evaluate``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from serlab.core.progress import bar
from serlab.core.settings import plain
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.breakdown import Breakdown, breakdown
from serlab.evaluation.claims import Scope, scope_of
from serlab.evaluation.counts import SpeakerCounts, comparable_rows, count_by_speaker, ties_of
from serlab.evaluation.join import join
from serlab.evaluation.learning import chance_of, has_learned
from serlab.evaluation.metrics import absent, f1, partly_absent, precision, recall
from serlab.evaluation.paired import PairedComparison, as_family, compare
from serlab.evaluation.population import Caution, cautions
from serlab.evaluation.prepare import PreparedTable, prepare, prepare_all
from serlab.evaluation.resampling import Interval, Resampling
from serlab.evaluation.significance import MARGIN
from serlab.evaluation.trust import Trust, trust

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class LabelScores:
    """One label's scores, means over the seeds that have clips of it; None where undefined.

    Attributes:
        label: its name.
        clips: distinct clips with this true label.
        precision: share of the clips predicted as this label that have it.
        recall: share of the clips with this label that are predicted as it.
        f1: their harmonic mean.
    """

    label: str
    clips: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One table's scores: what a terminal and a report say of it alike.

    Attributes:
        labels: the full label list.
        absent: labels without clips, which are not part of UAR and macro-F1.
        partly_absent: labels without clips under some seeds, which are not part of UAR and macro-F1 there.
        chance: of UAR, mean over seeds.
        learned: whether UAR is above chance, see :func:`serlab.evaluation.learning.has_learned`.
        clips: number of judged clips.
        speakers: number of speakers, None if they are unknown.
        seeds_comparable: False if several seeds judge different clips, so that intervals leave
            training again out.
        uneven_clips: clips left out because not every seed judged them.
        scope: what intervals are about, see :mod:`serlab.evaluation.claims`.
        ties: predictions whose highest score is that of several labels.
        cautions: what makes intervals less dependable, see :mod:`serlab.evaluation.population`.
        scores: an interval per metric.
        per_class: each label's scores.
        confusion: rows true, columns predicted, summed over seeds.
    """

    labels: tuple[str, ...]
    absent: tuple[str, ...]
    partly_absent: tuple[str, ...]
    chance: float
    learned: bool | None
    clips: int
    speakers: int | None
    seeds_comparable: bool
    uneven_clips: int
    scope: Scope
    ties: int
    cautions: tuple[Caution, ...]
    scores: dict[str, Interval]
    per_class: tuple[LabelScores, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Scored):
    """What judging one table found.

    Attributes:
        seeds: number of seeds, None if the table names none.
        corpus: name, fingerprint and copy of the corpus, None without one.
        unpredicted: how many of the corpus's clips the table does not predict in any subset, None without a corpus.
        exclusions: clips that could not be judged: ``clip``, ``path`` and ``reason``.
        trust: calibration, abstention, groups and more; what is fitted, is fitted on the table's dev rows.
    """

    seeds: int | None
    corpus: Mapping[str, str] | None
    unpredicted: int | None
    exclusions: tuple[Mapping[str, str], ...]
    trust: Trust

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold, as ``serlab evaluate --format json`` prints it."""
        found: dict[str, Any] = plain(self)
        return found

    def scores_frame(self) -> pd.DataFrame:
        """Columns ``value``, ``low``, ``high`` and ``reason``, one row per metric."""
        return pd.DataFrame.from_dict(plain(self.scores), orient="index")

    def labels_frame(self) -> pd.DataFrame:
        """Columns ``clips``, ``precision``, ``recall`` and ``f1``, one row per label."""
        return pd.DataFrame(plain(self.per_class)).set_index("label")

    def confusion_frame(self) -> pd.DataFrame:
        """Counts, one row per true label and one column per predicted label."""
        index, columns = (pd.Index(self.labels, name=name) for name in ("label", "predicted"))
        return pd.DataFrame(self.confusion, index=index, columns=columns)


@dataclass(frozen=True)
class PairEvaluation:
    """The first table less the second, on the clips that both have.

    Attributes:
        comparison: the paired differences and tests.
        names: of the two tables.
        clips: clips that both have.
        speakers: their speakers, None if they are unknown.
        seeds_comparable: as of :class:`Scored`.
        seeds: that both have, as they are called; empty if neither names any, or each has one of another name.
        only: how many clips only the first, and only the second, has under one seed at least.
        uneven_clips: as of :class:`Scored`.
        scope: likewise.
        breakdown: the difference by speaker and by label.
    """

    comparison: PairedComparison
    names: tuple[str, str]
    clips: int
    speakers: int | None
    seeds_comparable: bool
    seeds: tuple[int | str, ...]
    only: tuple[int, int]
    uneven_clips: int
    scope: Scope
    breakdown: Breakdown

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold, as ``serlab evaluate --format json`` prints it."""
        found: dict[str, Any] = plain(self)
        compared: dict[str, Any] = found.pop("comparison")
        return compared | found

    def differences_frame(self) -> pd.DataFrame:
        """Columns ``value``, ``low``, ``high``, ``reason`` and the 90 % interval's ends, one row per metric."""
        return pd.DataFrame.from_dict(plain(self.comparison.differences), orient="index")


def evaluate(
    table: Path | str | pd.DataFrame | PreparedTable,
    corpus: Corpus | None = None,
    *,
    labels: Sequence[str] | None = None,
    side: str = "test",
) -> Evaluation:
    """Judge a table of predictions, serlab's own or another's.

    Args:
        table: a file for :func:`serlab.tables.predictions.read_foreign`, such a table, or one that
            is prepared already.
        corpus: where speaker and label of each clip come from when the table lacks them.
        labels: the full label list; by default the corpus's, else the labels that the table scores,
            else those that its clips have and its model predicts.
        side: which rows to judge if the table has a column ``side``.

    Returns:
        Scores with intervals, each label's scores, and how far to trust them.

    Raises:
        UserError: labels are missing or unknown, a clip appears twice, or the table and the corpus
            contradict each other.
    """
    judged = prepare(table, corpus, labels, side)
    rows, uneven = comparable_rows(judged.rows)
    judged = replace(judged, rows=rows)
    counts = count_by_speaker(rows, judged.labels)
    return Evaluation(
        **vars(score_table(judged, counts, side=side, uneven_clips=uneven)),
        seeds=None if None in judged.seeds.values() else len(counts.seeds),
        corpus={"name": corpus.name, "fingerprint": corpus.fingerprint, "copy": corpus.copy} if corpus else None,
        unpredicted=len(set(corpus.clips["clip"]) - judged.predicted) if corpus else None,
        exclusions=tuple(judged.exclusions),
        trust=trust(
            judged,
            counts,
            corpus.clips if corpus else None,
            tracks=corpus.description.tracks if corpus and corpus.description else None,
        ),
    )


def score_table(
    table: PreparedTable, counts: SpeakerCounts, *, side: str, uneven_clips: int, people: str = "speakers"
) -> Scored:
    """Score one table.

    Args:
        table: from :func:`serlab.evaluation.prepare.prepare`.
        counts: the confusion counts of its rows.
        side: of the rows.
        uneven_clips: how many clips they lack because not every seed judged them.
        people: what the corpus calls its speakers.
    """
    scores = intervals(counts, resampling=table.resampling)
    chance = chance_of(*map(int, (counts.by_seed.sum(axis=-1) > 0).sum(axis=-1)))
    return Scored(
        labels=table.labels,
        absent=tuple(absent(counts.by_seed, table.labels)),
        partly_absent=tuple(partly_absent(counts.by_seed, table.labels)),
        chance=chance,
        learned=has_learned(scores["uar"], chance, side=side),
        clips=int(table.rows["clip"].nunique()),
        speakers=len(counts.speakers) if table.speakers_known else None,
        seeds_comparable=counts.seeds_comparable,
        uneven_clips=uneven_clips,
        scope=scope_of(len(counts.seeds), comparable=counts.seeds_comparable),
        ties=ties_of(table.rows),
        cautions=cautions(counts, people=people) if table.speakers_known else (),
        scores=scores,
        per_class=_per_class(counts.by_seed, table.rows, table.labels),
        confusion=tuple(tuple(map(int, row)) for row in counts.by_seed.sum(axis=0)),
    )


def evaluate_all(
    tables: Sequence[PreparedTable], corpus: Corpus | None = None, *, side: str = "test", margin: float = MARGIN
) -> tuple[dict[str, Evaluation], list[PairEvaluation]]:
    """Judge several tables, and each pair of them; answers and p are those of a family of pairs.

    Args:
        tables: from :func:`serlab.evaluation.prepare.prepare_all`.
        corpus: as for :func:`evaluate`.
        side: likewise.
        margin: differences of UAR up to this are called equivalent.

    Returns:
        The tables' evaluations by name, and all pairs in order.
    """
    couples = list(combinations(tables, 2))
    with bar("judging tables", len(tables) + len(couples)) as progress:
        results = {}
        for table in tables:
            results[table.name] = evaluate(table, corpus, side=side)
            progress.advance()
        pairs = []
        for first, second in couples:
            pairs.append(judge_pair(first, second, margin=margin))
            progress.advance()
    together = as_family([pair.comparison for pair in pairs])
    return results, [replace(pair, comparison=found) for pair, found in zip(pairs, together, strict=True) if found]


def evaluate_pair(
    first: Path | str | pd.DataFrame | PreparedTable,
    second: Path | str | pd.DataFrame | PreparedTable,
    corpus: Corpus | None = None,
    *,
    labels: Sequence[str] | None = None,
    side: str = "test",
    margin: float = MARGIN,
) -> PairEvaluation:
    """Compare two tables of predictions on the clips that both have.

    Args:
        first: as for :func:`evaluate`.
        second: likewise.
        corpus: likewise.
        labels: likewise.
        side: likewise.
        margin: differences of UAR up to this are called equivalent.

    Returns:
        The comparison. If only one of the tables names the speakers, they are taken from it.

    Raises:
        UserError: as for :func:`evaluate` and :func:`judge_pair`.
    """
    return judge_pair(*prepare_all([first, second], corpus, labels, side), margin=margin)


def judge_pair(
    first: PreparedTable, second: PreparedTable, *, by_fold: bool = False, margin: float = MARGIN
) -> PairEvaluation:
    """Compare two prepared tables on what both have: the one comparison of a terminal and a report.

    Args:
        first: from :func:`serlab.evaluation.prepare.prepare_all`.
        second: prepared with it.
        by_fold: whether a clip counts once per fold, as in runs of one protocol; other tables may each share their
            clips out to folds in their own way.
        margin: differences of UAR up to this are called equivalent.

    Raises:
        UserError: the tables disagree about a clip's label or speaker, have no seed in common, or share less than
            half of the clips of either.
    """
    joined = join(first, second, by_fold=by_fold)
    one, other = (count_by_speaker(rows, first.labels) for rows in joined.rows)
    resampling = Resampling(known=joined.speakers_known)
    return PairEvaluation(
        comparison=compare(one, other, resampling=resampling, margin=margin),
        names=(first.name, second.name),
        clips=joined.clips,
        speakers=len(one.speakers) if joined.speakers_known else None,
        seeds_comparable=one.seeds_comparable,
        seeds=joined.seeds,
        only=joined.only,
        uneven_clips=joined.uneven_clips,
        scope=scope_of(len(one.seeds), comparable=one.seeds_comparable),
        breakdown=breakdown(one, other, resampling=resampling),
    )


def _per_class(by_seed: NDArray[Any], rows: pd.DataFrame, labels: Sequence[str]) -> tuple[LabelScores, ...]:
    """Each label's scores; a clip that several seeds judge is one clip. ``by_seed`` has shape (seeds, K, K)."""
    has = by_seed.sum(axis=-1) > 0
    judged = has | ~has.any(axis=0)
    columns = [score(by_seed).mean(axis=0, where=judged) for score in (precision, recall, f1)]
    clips = rows.drop_duplicates("clip")["label"].value_counts()
    return tuple(
        LabelScores(label, int(clips.get(label, 0)), *(_number(values[index]) for values in columns))
        for index, label in enumerate(labels)
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
