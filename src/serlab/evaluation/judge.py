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
from serlab.evaluation.metrics import absent, f1, precision, recall
from serlab.evaluation.outcomes import count_outcomes
from serlab.tables import check_table, labels_of, read_foreign

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


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
        corpus's clips the table leaves out) and ``exclusions``.

    Raises:
        UserError: labels are missing or unknown, a clip stands twice, or the table and the corpus contradict each
            other.
    """
    name = str(table) if isinstance(table, Path) else "the table"
    rows = read_foreign(table) if isinstance(table, Path) else table.assign(clip=table["clip"].astype(str))
    rows = _on_side(rows, side, name)
    if corpus is not None:
        rows = _join(rows, corpus, name)
    elif "label" not in rows:
        raise UserError(f"{name} has no column label; add one, or name the corpus that knows the clips' labels.")
    exclusions = [{"clip": str(clip), "path": "", "reason": reason} for clip, reason in _unusable(rows, corpus)]
    rows = rows[~rows["clip"].isin([exclusion["clip"] for exclusion in exclusions])]
    if rows.empty:
        raise UserError(f"{name} has no clip that can be judged: {_first_reason(exclusions)}.")
    speakers_known = bool("speaker" in rows and rows["speaker"].fillna("").ne("").all())
    rows = rows.assign(speaker=rows["speaker"].astype(str) if speakers_known else "").astype({"label": str})
    for key in ("fold", "seed"):
        rows[key] = rows.get(key, 0)
    check_table(rows.assign(side=side), name)
    known = tuple(labels or (corpus.labels if corpus else labels_of(rows)))
    outcomes = count_outcomes(rows, known)
    scores = intervals(outcomes.matrices, speakers_known=speakers_known)
    return {
        "labels": list(known),
        "absent": absent(outcomes.by_seed, known),
        "clips": int(rows["clip"].nunique()),
        "speakers": len(outcomes.speakers) if speakers_known else None,
        "seeds": len(outcomes.seeds),
        "scores": {metric: asdict(score) for metric, score in scores.items()},
        "per_class": per_class(outcomes.by_seed, known),
        "confusion": outcomes.by_seed.sum(axis=0).tolist(),
        "corpus": {"name": corpus.name, "fingerprint": corpus.fingerprint, "copy": corpus.copy} if corpus else None,
        "unpredicted": len(set(corpus.clips["clip"]) - set(rows["clip"])) if corpus else None,
        "exclusions": exclusions,
    }


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


def evaluation_lines(result: dict[str, Any]) -> list[str]:
    """What :func:`evaluate` found, as lines of plain text for a terminal."""
    width = max(map(len, result["labels"]))
    of = f" of {result['corpus']['name']} ({result['corpus']['copy']})" if result["corpus"] else ""
    people = "speakers unknown" if result["speakers"] is None else f"{result['speakers']} speakers"
    lines = [f"{result['clips']} clips{of}, {people}"]
    titles = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1"}
    for metric, title in titles.items():
        score = result["scores"][metric]
        interval = (
            f"95 % interval {100 * score['low']:.1f} to {100 * score['high']:.1f}"
            if score["low"] is not None
            else f"no interval: {score['reason']}"
        )
        lines.append(f"{title:<9}{100 * score['value']:6.1f} %   {interval}")
    lines += ["", f"{'':<{width}}  precision  recall      F1   clips"]
    for row in result["per_class"]:
        cells = "  ".join(f"{_percent(row[key]):>7}" for key in ("recall", "f1"))
        lines.append(f"{row['label']:<{width}}  {_percent(row['precision']):>9} {cells}  {row['clips']:>6}")
    if result["absent"]:
        lines.append(f"no clips of {', '.join(result['absent'])}: not part of UAR and macro-F1")
    if result["unpredicted"]:
        lines.append(f"{result['unpredicted']} clips of the corpus have no prediction in the table")
    lines += [f"left out: {exclusion['clip']} ({exclusion['reason']})" for exclusion in result["exclusions"]]
    return lines


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


def _unusable(rows: pd.DataFrame, corpus: Corpus | None) -> list[tuple[str, str]]:
    """Clips that cannot be judged, each once, with the reason."""
    missing = rows.loc[rows["label"].isna(), "clip"].drop_duplicates()
    reason = "no label" if corpus is None else f"not in the corpus {corpus.name}"
    return [(clip, reason) for clip in missing]


def _first_reason(exclusions: list[dict[str, str]]) -> str:
    return f"the first, {exclusions[0]['clip']}, has {exclusions[0]['reason']}" if exclusions else "it is empty"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
