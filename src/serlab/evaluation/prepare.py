"""A table of predictions, whoever made them, read and completed so that it can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from serlab.core import UserError
from serlab.evaluation.outcomes import check_labels
from serlab.tables import check_table, labels_of, read_foreign

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class Judged:
    """A table that can be judged: its rows with speaker, label, fold and seed, dev ones apart; what was left out."""

    name: str
    rows: pd.DataFrame
    dev: pd.DataFrame
    labels: tuple[str, ...]
    speakers_known: bool
    exclusions: list[dict[str, str]]


def prepare(table: Path | str | pd.DataFrame, corpus: Corpus | None, labels: Sequence[str] | None, side: str) -> Judged:
    """Read a table and complete it from the corpus; arguments and errors as of :func:`evaluate`."""
    if isinstance(table, pd.DataFrame):
        name, whole = "the table", table.assign(clip=table["clip"].astype(str))
    else:
        name, whole = str(table), read_foreign(Path(table))
    rows = _on_side(whole, side, name)
    if corpus is not None:
        rows = _join(rows, corpus, name)
    elif "label" not in rows:
        raise UserError(f"{name} has no column label; add one, or name the corpus that knows the clips' labels.")
    exclusions = _unusable(rows, corpus)
    rows = rows[~rows["clip"].isin([exclusion["clip"] for exclusion in exclusions])]
    if rows.empty:
        raise UserError(f"{name} has no clip that can be judged: {_first_reason(exclusions)}.")
    known = tuple(labels or (corpus.labels if corpus else labels_of(rows)))
    check_labels(rows, known, name)
    speakers_known = _speakers_known(rows, name)
    rows = _completed(rows, speakers_known)
    check_table(rows.assign(side=side), name)
    folds = rows.groupby(["clip", "seed"])["fold"].nunique()
    if (folds > 1).any():
        clip = folds.index[folds > 1][0][0]
        raise UserError(f"{name} has clip {clip} in two folds of one seed; each clip is judged once.")
    dev = rows.iloc[:0]
    if side == "test" and "side" in whole and (whole["side"] == "dev").any():
        dev = whole[whole["side"] == "dev"]
        dev = dev if corpus is None else _join(dev, corpus, f"the dev side of {name}")
        exclusions += _unusable(dev, corpus)
        dev = dev[dev["label"].notna()]
        check_labels(dev, known, f"the dev side of {name}")
        dev = _completed(dev, speakers_known and _speakers_known(dev, f"the dev side of {name}"))
        check_table(dev, name)
    return Judged(name, rows, dev, known, speakers_known, exclusions)


def _speakers_known(rows: pd.DataFrame, name: str) -> bool:
    """Whether the rows name their speakers; a table that names some of them only is refused."""
    if "speaker" not in rows:
        return False
    unnamed = rows["speaker"].isna() | (rows["speaker"] == "")
    if unnamed.any() and not unnamed.all():
        clip = rows.loc[unnamed, "clip"].iloc[0]
        raise UserError(
            f"{name} has no speaker for {unnamed.sum():,} of {len(rows):,} clips, first for {clip}; name them all, or "
            "remove the column and do without intervals."
        )
    return not unnamed.any()


def _completed(rows: pd.DataFrame, speakers_known: bool) -> pd.DataFrame:
    """Rows with a speaker, a label, a fold and a seed."""
    speaker = rows["speaker"].astype(str) if speakers_known else ""
    rows = rows.assign(speaker=speaker).astype({"label": str})
    for key in ("fold", "seed"):
        rows[key] = rows.get(key, 0)
    return rows


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
