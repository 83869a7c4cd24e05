"""Judging a table of predictions, whoever made them: ``serlab evaluate``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.learning import chance_of, has_learned
from serlab.evaluation.metrics import absent, f1, precision, recall
from serlab.evaluation.outcomes import count_outcomes
from serlab.evaluation.paired import compare
from serlab.evaluation.prepare import Judged, prepare, prepare_all
from serlab.evaluation.trust import trust

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus

_LEAST_SHARED = 0.5


def evaluate(
    table: Path | str | pd.DataFrame | Judged,
    corpus: Corpus | None = None,
    *,
    labels: Sequence[str] | None = None,
    side: str = "test",
) -> dict[str, Any]:
    """Judge a table of predictions, serlab's own or another's.

    Args:
        table: a file for :func:`serlab.tables.predictions.read_foreign`, such a table, or one that is prepared already.
        corpus: where speaker and label of each clip come from when the table lacks them.
        labels: the full label list; by default the corpus's, else the labels that the table scores, else those that
            its clips have and its model says.
        side: which rows to judge where the table has a column ``side``.

    Returns:
        Plain data: ``labels``, ``absent``, ``chance`` (of UAR), ``learned``
        (:func:`serlab.evaluation.learning.has_learned`), ``clips``, ``speakers``, ``seeds`` (their number, None where
        the table names none), ``scores`` (each with its interval),
        ``per_class``, ``confusion`` (rows true, summed over seeds), ``corpus``, ``unpredicted`` (how many of the
        corpus's clips the table leaves out), ``seeds_comparable`` (False where several seeds judge different clips,
        so that intervals leave training again out), ``exclusions`` and ``trust``
        (:func:`serlab.evaluation.trust.trust`; what it fits, it fits on the table's rows of the side ``dev``).

    Raises:
        UserError: labels are missing or unknown, a clip stands twice, or the table and the corpus contradict each
            other.
    """
    judged = prepare(table, corpus, labels, side)
    rows, known = judged.rows, judged.labels
    outcomes = count_outcomes(rows, known)
    scores = intervals(outcomes, speakers_known=judged.speakers_known)
    without = absent(outcomes.by_seed, known)
    heard = len(known) - len(without)
    return {
        "labels": list(known),
        "absent": without,
        "chance": chance_of(heard),
        "learned": has_learned(scores["uar"], heard, side=side),
        "clips": int(rows["clip"].nunique()),
        "speakers": len(outcomes.speakers) if judged.speakers_known else None,
        "seeds": None if None in judged.seeds.values() else len(outcomes.seeds),
        "seeds_comparable": len(outcomes.seeds) == 1 or outcomes.seeds_comparable,
        "scores": {metric: asdict(score) for metric, score in scores.items()},
        "per_class": per_class(outcomes.by_seed, rows, known),
        "confusion": outcomes.by_seed.sum(axis=0).tolist(),
        "corpus": {"name": corpus.name, "fingerprint": corpus.fingerprint, "copy": corpus.copy} if corpus else None,
        "unpredicted": len(set(corpus.clips["clip"]) - set(rows["clip"])) if corpus else None,
        "exclusions": judged.exclusions,
        "trust": trust(
            rows,
            judged.dev,
            outcomes,
            corpus.clips if corpus else None,
            tracks=corpus.description.tracks if corpus and corpus.description else None,
            speakers_known=judged.speakers_known,
            folds=judged.folds,
            seeds=judged.seeds,
        ),
    }


def evaluate_pair(
    first: Path | str | pd.DataFrame | Judged,
    second: Path | str | pd.DataFrame | Judged,
    corpus: Corpus | None = None,
    *,
    labels: Sequence[str] | None = None,
    side: str = "test",
) -> dict[str, Any]:
    """Compare two tables of predictions on the clips that both have.

    Args:
        first: as for :func:`evaluate`.
        second: likewise.
        corpus: likewise.
        labels: likewise.
        side: likewise.

    Returns:
        What :func:`serlab.evaluation.paired.compare` gives, with ``clips`` and ``speakers`` of the shared clips,
        ``names``, ``seeds_comparable`` as :func:`evaluate`, and ``only``: how many clips only one of the two has,
        under one seed at least. Where only one of them names the speakers, they are taken from it.

    Raises:
        UserError: as for :func:`evaluate`; the tables disagree about a clip's label or speaker, or share less than
            half of the clips of either.
    """
    sides = prepare_all([first, second], corpus, labels, side)
    one, other = (judged.rows for judged in sides)
    keys = ["clip", "seed"] if set(one["seed"]) == set(other["seed"]) else ["clip"]
    names = [judged.name for judged in sides]
    if keys == ["clip"] and (one["seed"].nunique() > 1 or other["seed"].nunique() > 1):
        raise UserError(f"{names[0]} and {names[1]} have different seeds; give both the same, or one seed each.")
    both = one[keys].merge(other[keys], on=keys)
    if len(both) < _LEAST_SHARED * max(len(one), len(other)):
        what = "clips" if one["seed"].nunique() == 1 else "predictions of clips"
        raise UserError(
            f"{names[0]} and {names[1]} share {len(both):,} {what} of {len(one):,} and {len(other):,}; too few for a "
            "comparison: let both models predict the same clips."
        )
    only = [_unshared(rows, both, keys) for rows in (one, other)]
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
    outcomes = [count_outcomes(rows, sides[0].labels) for rows in (one, other)]
    return compare(*outcomes, speakers_known=any(known)) | {
        "names": names,
        "clips": int(both["clip"].nunique()),
        "speakers": int(one["speaker"].nunique()) if any(known) else None,
        "seeds_comparable": len(outcomes[0].seeds) == 1 or outcomes[0].seeds_comparable,
        "only": only,
    }


def _shared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of the shared clips, in one order for both tables."""
    return rows.merge(both, on=keys).sort_values(keys, ignore_index=True)


def _unshared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> int:
    """How many clips have a row that is not shared."""
    marked = rows[keys].merge(both, on=keys, how="left", indicator=True)
    return int(marked.loc[marked["_merge"] == "left_only", "clip"].nunique())


def per_class(by_seed: NDArray[Any], rows: pd.DataFrame, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 (means over seeds; None where undefined) and number of clips of each label.

    Args:
        by_seed: confusion counts, shape (seeds, K, K).
        rows: what was counted, with ``clip`` and ``label``; a clip that several seeds judge is one clip.
        labels: the full label list.
    """
    columns = {"precision": precision(by_seed), "recall": recall(by_seed), "f1": f1(by_seed)}
    clips = rows.drop_duplicates("clip")["label"].value_counts()
    return [
        {"label": label, "clips": int(clips.get(label, 0))}
        | {name: _number(values[:, index].mean()) for name, values in columns.items()}
        for index, label in enumerate(labels)
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
