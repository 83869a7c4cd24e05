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

from serlab.core import UserError
from serlab.core.progress import bar
from serlab.core.settings import plain
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.claims import Scope, scope_of
from serlab.evaluation.counts import LEAST_SHARED, SpeakerCounts, comparable_rows, count_by_speaker, ties_of
from serlab.evaluation.learning import chance_of, has_learned
from serlab.evaluation.metrics import absent, f1, precision, recall
from serlab.evaluation.paired import PairedComparison, as_family, compare
from serlab.evaluation.population import Caution, cautions
from serlab.evaluation.prepare import PreparedTable, prepare, prepare_all
from serlab.evaluation.resampling import Interval, Resampling
from serlab.evaluation.trust import Trust, trust

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class LabelScores:
    """One label's scores, means over seeds; None where undefined.

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


@dataclass(frozen=True)
class Evaluation:
    """What judging one table found.

    Attributes:
        labels: the full label list.
        absent: labels without clips, which are not part of UAR and macro-F1.
        chance: of UAR.
        learned: whether UAR is above chance, see :func:`serlab.evaluation.learning.has_learned`.
        clips: number of judged clips.
        speakers: number of speakers, None if they are unknown.
        seeds: number of seeds, None if the table names none.
        seeds_comparable: False if several seeds judge different clips, so that intervals leave
            training again out.
        uneven_clips: clips left out because not every seed judged them.
        scope: what intervals are about, see :mod:`serlab.evaluation.claims`.
        ties: predictions whose highest score is that of several labels.
        cautions: what makes intervals less dependable, see :mod:`serlab.evaluation.population`.
        scores: an interval per metric.
        per_class: each label's scores.
        confusion: rows true, columns predicted, summed over seeds.
        corpus: name, fingerprint and copy of the corpus, None without one.
        unpredicted: how many of the corpus's clips the table leaves out, None without a corpus.
        exclusions: clips that could not be judged: ``clip``, ``path`` and ``reason``.
        trust: calibration, abstention, groups and more; what is fitted, is fitted on the table's
            dev rows.
    """

    labels: tuple[str, ...]
    absent: tuple[str, ...]
    chance: float
    learned: bool | None
    clips: int
    speakers: int | None
    seeds: int | None
    seeds_comparable: bool
    uneven_clips: int
    scope: Scope
    ties: int
    cautions: tuple[Caution, ...]
    scores: dict[str, Interval]
    per_class: tuple[LabelScores, ...]
    confusion: tuple[tuple[int, ...], ...]
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
        seeds_comparable: as of :class:`Evaluation`.
        only: how many clips only the first, and only the second, has under one seed at least.
        uneven_clips: as of :class:`Evaluation`.
        scope: likewise.
    """

    comparison: PairedComparison
    names: tuple[str, str]
    clips: int
    speakers: int | None
    seeds_comparable: bool
    only: tuple[int, int]
    uneven_clips: int
    scope: Scope

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
    judged, known = replace(judged, rows=rows), judged.labels
    counts = count_by_speaker(rows, known)
    scores = intervals(counts, resampling=judged.resampling)
    without = absent(counts.by_seed, known)
    present = len(known) - len(without)
    return Evaluation(
        labels=known,
        absent=tuple(without),
        chance=chance_of(present),
        learned=has_learned(scores["uar"], present, side=side),
        clips=int(rows["clip"].nunique()),
        speakers=len(counts.speakers) if judged.speakers_known else None,
        seeds=None if None in judged.seeds.values() else len(counts.seeds),
        seeds_comparable=counts.seeds_comparable,
        uneven_clips=uneven,
        scope=scope_of(len(counts.seeds), comparable=counts.seeds_comparable),
        ties=ties_of(rows),
        cautions=cautions(counts) if judged.speakers_known else (),
        scores=scores,
        per_class=per_class(counts.by_seed, rows, known),
        confusion=summed_confusion(counts),
        corpus={"name": corpus.name, "fingerprint": corpus.fingerprint, "copy": corpus.copy} if corpus else None,
        unpredicted=len(set(corpus.clips["clip"]) - set(rows["clip"])) if corpus else None,
        exclusions=tuple(judged.exclusions),
        trust=trust(
            judged,
            counts,
            corpus.clips if corpus else None,
            tracks=corpus.description.tracks if corpus and corpus.description else None,
        ),
    )


def evaluate_all(
    tables: Sequence[PreparedTable], corpus: Corpus | None = None, *, side: str = "test"
) -> tuple[dict[str, Evaluation], list[PairEvaluation]]:
    """Judge several tables, and each pair of them; answers and p are those of a family of pairs.

    Args:
        tables: from :func:`serlab.evaluation.prepare.prepare_all`.
        corpus: as for :func:`evaluate`.
        side: likewise.

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
            pairs.append(evaluate_pair(first, second, corpus, side=side))
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
) -> PairEvaluation:
    """Compare two tables of predictions on the clips that both have.

    Args:
        first: as for :func:`evaluate`.
        second: likewise.
        corpus: likewise.
        labels: likewise.
        side: likewise.

    Returns:
        The comparison. If only one of the tables names the speakers, they are taken from it.

    Raises:
        UserError: as for :func:`evaluate`; the tables disagree about a clip's label or speaker, or
            share less than half of the clips of either.
    """
    sides = prepare_all([first, second], corpus, labels, side)
    one, other = (judged.rows for judged in sides)
    keys = ["clip", "seed"] if set(one["seed"]) == set(other["seed"]) else ["clip"]
    names = [judged.name for judged in sides]
    if keys == ["clip"] and (one["seed"].nunique() > 1 or other["seed"].nunique() > 1):
        raise UserError(f"{names[0]} and {names[1]} have different seeds; give both the same, or one seed each.")
    both = one[keys].merge(other[keys], on=keys)
    if len(both) < LEAST_SHARED * max(len(one), len(other)):
        what = "clips" if one["seed"].nunique() == 1 else "predictions of clips"
        raise UserError(
            f"{names[0]} and {names[1]} share {len(both):,} {what} of {len(one):,} and {len(other):,}; too few for a "
            "comparison: let both models predict the same clips."
        )
    only = [_unshared(rows, both, keys) for rows in (one, other)]
    uneven = 0
    if "seed" in keys:
        both, uneven = comparable_rows(both)
    one, other = (_shared(rows, both, keys) for rows in (one, other))
    known = [judged.speakers_known for judged in sides]
    if known == [True, False]:
        other = other.assign(speaker=one["speaker"])
    elif known == [False, True]:
        one = one.assign(speaker=other["speaker"])
    for key in ("label", "speaker"):
        differs = one[key].to_numpy() != other[key].to_numpy()
        if differs.any():
            clip = one.loc[differs, "clip"].iloc[0]
            raise UserError(f"{names[0]} and {names[1]} give clip {clip} a different {key}; correct one of them.")
    if keys == ["clip"]:
        other = other.assign(seed=one["seed"].to_numpy())
    counts = [count_by_speaker(rows, sides[0].labels) for rows in (one, other)]
    return PairEvaluation(
        comparison=compare(*counts, resampling=Resampling(known=any(known))),
        names=(names[0], names[1]),
        clips=int(both["clip"].nunique()),
        speakers=int(one["speaker"].nunique()) if any(known) else None,
        seeds_comparable=counts[0].seeds_comparable,
        only=(only[0], only[1]),
        uneven_clips=uneven,
        scope=scope_of(len(counts[0].seeds), comparable=counts[0].seeds_comparable),
    )


def _shared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of the shared clips, in one order for both tables."""
    return rows.merge(both, on=keys).sort_values(keys, ignore_index=True)


def _unshared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> int:
    """How many clips have a row that is not shared."""
    marked = rows[keys].merge(both, on=keys, how="left", indicator=True)
    return int(marked.loc[marked["_merge"] == "left_only", "clip"].nunique())


def per_class(by_seed: NDArray[Any], rows: pd.DataFrame, labels: Sequence[str]) -> tuple[LabelScores, ...]:
    """Each label's scores.

    Args:
        by_seed: confusion counts, shape (seeds, K, K).
        rows: what was counted, with ``clip`` and ``label``; a clip that several seeds judge is one
            clip.
        labels: the full label list.
    """
    columns = [score(by_seed).mean(axis=0) for score in (precision, recall, f1)]
    clips = rows.drop_duplicates("clip")["label"].value_counts()
    return tuple(
        LabelScores(label, int(clips.get(label, 0)), *(_number(values[index]) for values in columns))
        for index, label in enumerate(labels)
    )


def summed_confusion(counts: SpeakerCounts) -> tuple[tuple[int, ...], ...]:
    """The confusion matrix over all seeds, rows the true label."""
    return tuple(tuple(map(int, row)) for row in counts.by_seed.sum(axis=0))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
