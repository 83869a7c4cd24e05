"""Judging a table of predictions, whoever made them: ``serlab evaluate``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.metrics import absent, f1, precision, recall
from serlab.evaluation.outcomes import count_outcomes
from serlab.evaluation.paired import compare
from serlab.evaluation.trust import trust
from serlab.tables import check_table, labels_of, read_foreign

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus

_LEAST_SHARED = 0.5


def evaluate(
    table: Path | pd.DataFrame,
    corpus: Corpus | None = None,
    *,
    labels: Sequence[str] | None = None,
    side: str = "test",
) -> dict[str, Any]:
    """Judge a table of predictions, serlab's own or another's.

    Args:
        table: a file for :func:`serlab.tables.read_foreign`, or a table with ``clip`` and ``logit_<label>`` columns.
        corpus: where speaker and label of each clip come from when the table lacks them.
        labels: the full label list; by default the corpus's, else the labels that the table scores.
        side: which rows to judge where the table has a column ``side``.

    Returns:
        Plain data: ``labels``, ``absent``, ``clips``, ``speakers``, ``seeds``, ``scores`` (each with its interval),
        ``per_class``, ``confusion`` (rows true, summed over seeds), ``corpus``, ``unpredicted`` (how many of the
        corpus's clips the table leaves out), ``exclusions`` and ``trust`` (:func:`serlab.evaluation.trust.trust`;
        what it fits, it fits on the table's rows of the side ``dev``).

    Raises:
        UserError: labels are missing or unknown, a clip stands twice, or the table and the corpus contradict each
            other.
    """
    judged = prepare(table, corpus, labels, side)
    rows, known = judged.rows, judged.labels
    outcomes = count_outcomes(rows, known)
    scores = intervals(outcomes, speakers_known=judged.speakers_known)
    return {
        "labels": list(known),
        "absent": absent(outcomes.by_seed, known),
        "clips": int(rows["clip"].nunique()),
        "speakers": len(outcomes.speakers) if judged.speakers_known else None,
        "seeds": len(outcomes.seeds),
        "scores": {metric: asdict(score) for metric, score in scores.items()},
        "per_class": per_class(outcomes.by_seed, known),
        "confusion": outcomes.by_seed.sum(axis=0).tolist(),
        "corpus": {"name": corpus.name, "fingerprint": corpus.fingerprint, "copy": corpus.copy} if corpus else None,
        "unpredicted": len(set(corpus.clips["clip"]) - set(rows["clip"])) if corpus else None,
        "exclusions": judged.exclusions,
        "trust": trust(
            rows,
            judged.dev,
            outcomes,
            corpus.clips if corpus else None,
            speakers_known=judged.speakers_known,
        ),
    }


def evaluate_pair(
    first: Path | pd.DataFrame,
    second: Path | pd.DataFrame,
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
        ``names``, and ``only``: how many clips only one of the two has.

    Raises:
        UserError: as for :func:`evaluate`; the tables disagree about a clip's label or speaker, or share less than
            half of the clips of either.
    """
    sides = [prepare(table, corpus, labels, side) for table in (first, second)]
    one, other = (judged.rows for judged in sides)
    keys = ["clip", "seed"] if set(one["seed"]) == set(other["seed"]) else ["clip"]
    names = [judged.name for judged in sides]
    if keys == ["clip"] and (one["seed"].nunique() > 1 or other["seed"].nunique() > 1):
        raise UserError(f"{names[0]} and {names[1]} have different seeds; give both the same, or one seed each.")
    both = one[keys].merge(other[keys], on=keys)
    counts = [int(rows["clip"].nunique()) for rows in (one, other)]
    shared = int(both["clip"].nunique())
    if shared < _LEAST_SHARED * max(counts):
        raise UserError(
            f"{names[0]} and {names[1]} share {shared:,} clips of {counts[0]:,} and {counts[1]:,}; too few for a "
            "comparison: let both models predict the same clips."
        )
    one, other = (_shared(rows, both, keys) for rows in (one, other))
    for key in ("label", "speaker"):
        differs = one[key].to_numpy() != other[key].to_numpy()
        if differs.any():
            clip = one.loc[differs, "clip"].iloc[0]
            raise UserError(f"{names[0]} and {names[1]} give clip {clip} a different {key}; correct one of them.")
    if keys == ["clip"]:
        other = other.assign(seed=one["seed"].to_numpy())
    speakers_known = all(judged.speakers_known for judged in sides)
    found = compare(*(count_outcomes(rows, sides[0].labels) for rows in (one, other)), speakers_known=speakers_known)
    return found | {
        "names": names,
        "clips": shared,
        "speakers": int(one["speaker"].nunique()) if speakers_known else None,
        "only": [count - shared for count in counts],
    }


@dataclass(frozen=True)
class Judged:
    """A table that can be judged: its rows with speaker, label, fold and seed, dev ones apart; what was left out."""

    name: str
    rows: pd.DataFrame
    dev: pd.DataFrame
    labels: tuple[str, ...]
    speakers_known: bool
    exclusions: list[dict[str, str]]


def prepare(table: Path | pd.DataFrame, corpus: Corpus | None, labels: Sequence[str] | None, side: str) -> Judged:
    """Read a table and complete it from the corpus; arguments and errors as of :func:`evaluate`."""
    name = str(table) if isinstance(table, Path) else "the table"
    whole = read_foreign(table) if isinstance(table, Path) else table.assign(clip=table["clip"].astype(str))
    rows = _on_side(whole, side, name)
    if corpus is not None:
        rows = _join(rows, corpus, name)
    elif "label" not in rows:
        raise UserError(f"{name} has no column label; add one, or name the corpus that knows the clips' labels.")
    exclusions = _unusable(rows, corpus)
    rows = rows[~rows["clip"].isin([exclusion["clip"] for exclusion in exclusions])]
    if rows.empty:
        raise UserError(f"{name} has no clip that can be judged: {_first_reason(exclusions)}.")
    speakers_known = bool("speaker" in rows and rows["speaker"].fillna("").ne("").all())
    rows = _completed(rows, speakers_known)
    check_table(rows.assign(side=side), name)
    folds = rows.groupby(["clip", "seed"])["fold"].nunique()
    if (folds > 1).any():
        clip = folds.index[folds > 1][0][0]
        raise UserError(f"{name} has clip {clip} in two folds of one seed; each clip is judged once.")
    known = tuple(labels or (corpus.labels if corpus else labels_of(rows)))
    dev = rows.iloc[:0]
    if side == "test" and "side" in whole and (whole["side"] == "dev").any():
        dev = whole[whole["side"] == "dev"]
        dev = dev if corpus is None else _join(dev, corpus, name)
        exclusions += _unusable(dev, corpus)
        dev = _completed(dev[dev["label"].isin(known)], speakers_known)
        check_table(dev, name)
    return Judged(name, rows, dev, known, speakers_known, exclusions)


def _completed(rows: pd.DataFrame, speakers_known: bool) -> pd.DataFrame:
    """Rows with a speaker, a label, a fold and a seed."""
    speaker = rows["speaker"].astype(str) if speakers_known else ""
    rows = rows.assign(speaker=speaker).astype({"label": str})
    for key in ("fold", "seed"):
        rows[key] = rows.get(key, 0)
    return rows


def _shared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of the shared clips, in one order for both tables."""
    return rows.merge(both.drop_duplicates(), on=keys).sort_values(keys, ignore_index=True)


def per_class(by_seed: NDArray[Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 (means over seeds; None where undefined) and number of clips of each label.

    Args:
        by_seed: confusion counts, shape (seeds, K, K).
        labels: the full label list.
    """
    columns = {"precision": precision(by_seed), "recall": recall(by_seed), "f1": f1(by_seed)}
    clips = by_seed[0].sum(axis=-1)
    return [
        {"label": label, "clips": int(clips[index])}
        | {name: _number(values[:, index].mean()) for name, values in columns.items()}
        for index, label in enumerate(labels)
    ]


def _on_side(rows: pd.DataFrame, side: str, name: str) -> pd.DataFrame:
    if "side" not in rows:
        return rows
    chosen = rows[rows["side"] == side]
    if chosen.empty:
        raise UserError(f"{name} has no rows of the side {side!r}; it has {', '.join(sorted(rows['side'].unique()))}.")
    return chosen


def _join(rows: pd.DataFrame, corpus: Corpus, name: str) -> pd.DataFrame:
    """Add speaker and label by clip; where both know them, they must agree."""
    known = corpus.clips[["clip", "speaker", "label"]]
    if not rows["clip"].isin(known["clip"]).any():
        raise UserError(
            f"no clip of {name} is in the corpus {corpus.name}: the table names {rows['clip'].iloc[0]!r}, "
            f"the corpus {known['clip'].iloc[0]!r}; write the clips as the corpus does."
        )
    joined = rows.drop(columns=["speaker", "label"], errors="ignore").merge(known, on="clip", how="left")
    for key in ("speaker", "label"):
        if key not in rows:
            continue
        own = rows[key].reset_index(drop=True).astype(object)
        differs = joined[key].notna() & own.notna() & (own.astype(str) != joined[key])
        if differs.any():
            first = joined[differs].iloc[0]
            raise UserError(
                f"{name} gives clip {first['clip']} the {key} {own[differs].iloc[0]!r}, the corpus {corpus.name} "
                f"{first[key]!r}; remove the column or the corpus."
            )
    return joined


def _unusable(rows: pd.DataFrame, corpus: Corpus | None) -> list[dict[str, str]]:
    """Clips that cannot be judged, each once, with the reason, as exclusions."""
    missing = rows.loc[rows["label"].isna(), "clip"].drop_duplicates()
    reason = "no label" if corpus is None else f"not in the corpus {corpus.name}"
    return [{"clip": str(clip), "path": "", "reason": reason} for clip in missing]


def _first_reason(exclusions: list[dict[str, str]]) -> str:
    return f"the first, {exclusions[0]['clip']}, has {exclusions[0]['reason']}" if exclusions else "it is empty"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
