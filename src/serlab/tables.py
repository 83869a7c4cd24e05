"""The prediction table: the only bridge from models to statistics.

One row a clip and side; columns ``clip``, ``speaker``, ``label``, ``side`` (``dev`` or ``test``), ``fold`` (from 1),
``seed``, and one ``logit_<label>`` a class: finite natural-log scores, float32, whose softmax is the model's
probability. Beside each table lies its signature, a JSON file that says what exactly was run.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.files import read_table, writing

KEYS = ("clip", "speaker", "label", "side", "fold", "seed")
PREFIX = "logit_"
_SIGNATURE = (
    *("serlab", "recipe", "corpus", "protocol", "fold", "seed", "precision"),
    *("training", "cost", "exclusions", "versions", "machine"),
)
_PROBABILITY = "prob_"
_SMALLEST_PROBABILITY = 1e-12
# Probabilities written with two digits of six labels are off by so much.
_SUM_TOLERANCE = 0.03


@dataclass(frozen=True)
class Run:
    """One run's prediction table and its signature."""

    table: pd.DataFrame
    signature: dict[str, Any]
    path: Path


def labels_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Labels that the table has a logit for, in its column order."""
    return tuple(str(name)[len(PREFIX) :] for name in table.columns if str(name).startswith(PREFIX))


def logits_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """Logits as an array of shape (clips, labels)."""
    logits: NDArray[np.float64] = table[[PREFIX + label for label in labels_of(table)]].to_numpy(np.float64)
    return logits


def probabilities_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """Softmax of the logits, shape (clips, labels)."""
    logits = logits_of(table)
    scores: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def make_table(
    clips: pd.DataFrame, logits: NDArray[np.floating[Any]], labels: Sequence[str], *, side: str, fold: int, seed: int
) -> pd.DataFrame:
    """Build a prediction table from clips (columns ``clip``, ``speaker``, ``label``) and logits (clips, labels)."""
    table = clips[["clip", "speaker", "label"]].reset_index(drop=True).astype(str)
    table = table.assign(side=side, fold=np.int32(fold), seed=np.int32(seed))
    scores = pd.DataFrame(np.asarray(logits, np.float32), columns=[PREFIX + label for label in labels])
    return pd.concat([table, scores], axis=1)


def check_table(table: pd.DataFrame, name: str) -> None:
    """Refuse a table that breaks the contract.

    Args:
        table: the prediction table.
        name: what to call it in the error.

    Raises:
        UserError: a column is missing, a logit is not finite, or a clip appears twice for one side, fold and seed.
    """
    missing = [key for key in KEYS if key not in table.columns]
    if missing or not labels_of(table):
        wanted = ", ".join(missing) or "logit_<label>"
        raise UserError(f"{name} is no prediction table: it has no column {wanted}.")
    bad = ~np.isfinite(logits_of(table)).all(axis=1)
    if bad.any():
        clip = table.loc[bad, "clip"].iloc[0]
        raise UserError(f"{name} has a logit that is not finite, first for clip {clip}; such a run cannot be judged.")
    twice = table.duplicated(["clip", "side", "fold", "seed"])
    if twice.any():
        raise UserError(f"{name} names clip {table.loc[twice, 'clip'].iloc[0]} twice; each clip may stand once.")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Check a prediction table and write it as Parquet, atomically."""
    check_table(table, path.name)
    with writing(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def read_run(path: Path) -> Run:
    """Read the table at ``path`` (Parquet) with the signature beside it."""
    signature_path = path.with_suffix(".json")
    try:
        table = pd.read_parquet(path)
        signature = json.loads(signature_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: a run is a .parquet table with a .json signature.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the run {path}: {error}.") from error
    check_table(table, str(path))
    missing = [key for key in _SIGNATURE if not isinstance(signature, dict) or key not in signature]
    if missing:
        raise UserError(
            f"{signature_path} is no signature of a run: it has no {missing[0]}; restore it or move the run."
        )
    return Run(table, signature, path)


def read_runs(folder: Path, recipes: Collection[str] = ()) -> list[Run]:
    """Read the runs below ``<out>/<corpus>/<protocol>``, in order of recipe, fold and seed.

    Args:
        folder: the protocol's folder.
        recipes: folder names of the recipes to read; all where none is named.
    """
    paths = sorted(folder.glob("*/fold*-seed*.parquet"))
    return [read_run(path) for path in paths if not recipes or path.parent.name in recipes]


def read_protocols(folder: Path, recipes: Collection[str] = ()) -> dict[str, list[Run]]:
    """Read the runs below ``<out>/<corpus>``, as :func:`read_runs`, by the name of their protocol."""
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    return {path.name: runs for path in inner if (runs := read_runs(path, recipes))}


def read_foreign(path: Path) -> pd.DataFrame:
    """Read predictions that serlab did not make.

    Args:
        path: CSV or Parquet with ``clip`` and one ``logit_<label>`` or ``prob_<label>`` a class; ``speaker``,
            ``label``, ``side``, ``fold`` and ``seed`` are optional (they may come from the corpus).

    Returns:
        The table with ``logit_<label>`` columns (probabilities become natural logarithms, floored at 1e-12), the
        labels in alphabetical order, and the optional columns that were there.

    Raises:
        UserError: the file cannot be read, or columns are missing or hold impossible values.
    """
    table = read_table(path)
    kinds = [p for p in (PREFIX, _PROBABILITY) if any(str(c).startswith(p) for c in table.columns)]
    if "clip" not in table.columns or len(kinds) != 1:
        there = ", ".join(map(str, table.columns[:8]))
        raise UserError(
            f"{path} needs a column clip and, for each label, either logit_<label> or prob_<label>, separated by "
            f"commas; it has {there}."
        )
    if table.empty:
        raise UserError(f"{path} has no rows; give it one a clip.")
    unnamed = table["clip"].isna() | (table["clip"] == "")
    if unnamed.any():
        raise UserError(f"{path} has a row without a clip, first row {int(unnamed.argmax()) + 1}.")
    names = sorted(str(c) for c in table.columns if str(c).startswith(kinds[0]))
    try:
        scores = table[names].replace("", np.nan).to_numpy(np.float64)
    except ValueError as error:
        raise UserError(f"{path} has a score that is no number: {error}.") from error
    if not np.isfinite(scores).all():
        raise UserError(f"{path} has a score that is not finite, first for clip {_first(table, scores)}.")
    if kinds[0] == _PROBABILITY:
        if (scores < 0).any() or (scores > 1 + 1e-6).any():
            clip = table.loc[((scores < 0) | (scores > 1 + 1e-6)).any(axis=1), "clip"].iloc[0]
            raise UserError(f"{path} has a probability outside 0 to 1, first for clip {clip}.")
        sums = scores.sum(axis=1)
        if (wrong := np.abs(sums - 1) > _SUM_TOLERANCE).any():
            clip, total = table.loc[wrong, "clip"].iloc[0], sums[wrong][0]
            raise UserError(
                f"{path} has probabilities that do not sum to 1 over {', '.join(names)}, first those of clip {clip} "
                f"({total:.3g}); correct them, or add the column of the label that is missing."
            )
        scores = np.log(np.maximum(scores, _SMALLEST_PROBABILITY))
    kept = table[[key for key in KEYS if key in table.columns]].copy()
    kept["clip"] = kept["clip"].astype(str)
    for key in {"fold", "seed"} & set(kept.columns):
        try:
            kept[key] = kept[key].astype(np.int64)
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} has a {key} that is no whole number: {error}.") from error
    columns = [PREFIX + name[len(kinds[0]) :] for name in names]
    return pd.concat([kept, pd.DataFrame(scores, columns=columns, index=kept.index)], axis=1)


def _first(table: pd.DataFrame, scores: NDArray[np.float64]) -> str:
    return str(table.loc[~np.isfinite(scores).all(axis=1), "clip"].iloc[0])
