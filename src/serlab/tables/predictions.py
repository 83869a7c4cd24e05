"""The prediction table, the only interface between models and statistics.

One row per clip and subset, with columns ``clip``, ``speaker``, ``label``, ``side`` (``dev`` or
``test``), ``fold`` (from 1), ``seed``, and one ``logit_<label>`` per class: finite natural-log
scores in float32 whose softmax is the model's probability. A JSON file beside each table, its
signature, describes the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.core.files import writing
from serlab.core.progress import say
from serlab.tables.cells import numbers_of, text_of
from serlab.tables.naming import CLIP, LABEL, SPEAKER, alike, column
from serlab.tables.reading import read_table

KEYS = ("clip", "speaker", "label", "side", "fold", "seed")
PREFIX = "logit_"
PREDICTED = "predicted"
"""Column of predicted labels in tables that serlab did not make; required if they have no scores."""
_SIGNATURE: dict[str, type] = {
    "serlab": str, "recipe": dict, "corpus": dict, "protocol": dict, "fold": int, "seed": int, "precision": str,
    "training": dict, "cost": dict, "exclusions": list, "versions": dict, "machine": dict,
}  # fmt: skip
_PROBABILITY = "prob_"
_SMALLEST_PROBABILITY = 1e-12
# Largest rounding error of the sum of six probabilities with two digits each.
_SUM_TOLERANCE = 0.03
# serlab's own tables store float32; sums of larger scores would not be finite.
_LARGEST_SCORE = float(np.finfo(np.float32).max)
_LIKE_SCORE = re.compile(r"(p|proba|probability|score|softmax|conf|confidence|logits)[ _.:-]", re.IGNORECASE)
_MOST_NAMED = 8
_MOST_SHOWN = 40


@dataclass(frozen=True)
class Run:
    """The prediction table of one run with its signature."""

    table: pd.DataFrame
    signature: dict[str, Any]
    path: Path


def labels_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the labels that have a logit column, in column order."""
    return tuple(str(name)[len(PREFIX) :] for name in table.columns if str(name).startswith(PREFIX))


def logits_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the logits, shape (clips, labels)."""
    logits: NDArray[np.float64] = table[[PREFIX + label for label in labels_of(table)]].to_numpy(np.float64)
    return logits


def truth_of(table: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the place of each clip's label among ``labels``, shape (clips,)."""
    places = table["label"].map({label: place for place, label in enumerate(labels)})
    return np.asarray(places, np.intp)


def probabilities_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the softmax of the logits, shape (clips, labels)."""
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
    """Validate a prediction table.

    Args:
        table: the prediction table.
        name: its name in errors.

    Raises:
        UserError: A column is missing, a logit is not finite, or a clip appears twice in one
            subset, fold and seed.
    """
    missing = [key for key in KEYS if key not in table.columns]
    if missing or not (labels_of(table) or PREDICTED in table.columns):
        wanted = ", ".join(missing) or "logit_<label>"
        raise UserError(f"{name} is not a prediction table: it has no column {wanted}.")
    scores = [PREFIX + label for label in labels_of(table)]
    wrong = [key for key in ("fold", "seed") if table[key].dtype.kind not in "iu"]
    wrong += [key for key in scores if table[key].dtype.kind not in "fiu"]
    if wrong:
        raise UserError(f"{name} is not a prediction table: its column {wrong[0]} has cells that are not numbers.")
    bad = ~np.isfinite(logits_of(table)).all(axis=1)
    if bad.any():
        clip = table["clip"].iloc[int(bad.argmax())]
        raise UserError(f"{name} has a logit that is not finite, first for clip {clip}; run it again.")
    twice = table.duplicated(["clip", "side", "fold", "seed"])
    if twice.any():
        raise UserError(f"{name} has two rows for clip {table.loc[twice, 'clip'].iloc[0]}; expected one row per clip.")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Validate a prediction table and write it atomically as Parquet."""
    check_table(table, path.name)
    with writing(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def read_run(path: Path) -> Run:
    """Read the Parquet table at ``path`` and the signature beside it.

    Raises:
        UserError: The table or its signature is missing or damaged.
    """
    signature_path = path.with_suffix(".json")
    table = _with_texts(read_table(path), str(path))
    try:
        signature = json.loads(signature_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: a run is a .parquet table with a .json signature.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the run {path}: {error}.") from error
    check_table(table, str(path))
    _check_signature(signature, signature_path)
    return Run(table, signature, path)


def _with_texts(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Convert the text columns of a serlab table to str."""
    there = [key for key in ("clip", "speaker", "label", "side") if key in table.columns]
    return table.assign(**{key: text_of(table[key], name).astype(str) for key in there})


def _check_signature(signature: Any, path: Path) -> None:
    for key, kinds in _SIGNATURE.items():
        if not isinstance(signature, dict) or key not in signature:
            raise UserError(f"{path} is not the signature of a run: it has no {key}; restore it or move the run.")
        if not (signature[key] is None or isinstance(signature[key], kinds)):
            raise UserError(f"{path} is not the signature of a run: its {key} is damaged; restore it or move the run.")


def read_runs(folder: Path, recipes: Collection[str] = ()) -> list[Run]:
    """Read the runs below ``<out>/<corpus>/<protocol>``, in order of recipe, fold and seed.

    Args:
        folder: the protocol's folder.
        recipes: folder names of the recipes to read; empty for all.
    """
    paths = sorted(folder.glob("*/fold*-seed*.parquet"))
    return [read_run(path) for path in paths if not recipes or path.parent.name in recipes]


def read_protocols(folder: Path, recipes: Collection[str] = ()) -> dict[str, list[Run]]:
    """Read the runs below ``<out>/<corpus>``: protocol name -> runs as from :func:`read_runs`.

    Runs from other corpora are left out: their models have other labels, and a report of their own.
    """
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = {path.name: read_runs(path, recipes) for path in inner}
    within = {name: [run for run in runs if "crossing" not in run.signature] for name, runs in found.items()}
    return {name: runs for name, runs in within.items() if runs}


def read_foreign(path: Path) -> pd.DataFrame:
    """Read predictions from ``serlab predict`` or from another program.

    Args:
        path: CSV, JSON lines or Parquet with a column that names clips (see
            :mod:`serlab.tables.naming`) and either one ``logit_<label>`` or ``prob_<label>`` per
            class or ``predicted``. Speaker, label, ``side``, ``fold`` and ``seed`` are optional,
            because the corpus may provide them.

    Returns:
        As :func:`understood`.

    Raises:
        UserError: The file cannot be read, or columns are missing or have invalid values.
    """
    return understood(read_table(path), str(path))


def understood(
    table: pd.DataFrame,
    source: str,
    named: Mapping[str, str] | None = None,
    *,
    sides: Collection[str] = (),
    quiet: bool = False,
) -> pd.DataFrame:
    """Extract the columns of a table that can be evaluated.

    Args:
        table: cells as from :func:`serlab.tables.reading.read_table`, or a table made in Python.
        source: name of the table in messages.
        named: columns to use for ``path`` (which names clips), ``label`` or ``speaker``, if the table has them; they
            win over those with the usual names.
        sides: subsets whose scores are needed; those of other rows may be anything, and are left out. Empty for all.
        quiet: whether to suppress the message about unused columns.

    Returns:
        A table with ``clip``; ``speaker``, ``label`` (None if empty), ``side``, ``fold`` (whole
        numbers or text) and ``seed`` if present; and either ``logit_<label>`` columns in
        alphabetical order of the labels (probabilities become natural logarithms, floored at 1e-12;
        NaN in rows without scores) or ``predicted``.

    Raises:
        UserError: Columns are missing or have invalid values.
    """
    names = [str(name) for name in table.columns]
    table = table.set_axis(names, axis=1)
    if len(set(names)) < len(names):
        raise UserError(f"{source} has two columns of the same name; column names must be unique.")
    own = {_NAMED.get(key, key): column(names, (name,), source, quiet=True) for key, name in (named or {}).items()}
    keys = {
        role[0]: found for role in _ROLES if (found := own.get(role[0]) or column(names, role, source, quiet=quiet))
    }
    kinds = {kind: _scores(names, kind, source) for kind in (PREFIX, _PROBABILITY)}
    kinds = {kind: columns for kind, columns in kinds.items() if columns}
    if len(kinds) > 1:
        raise UserError(f"{source} has both {PREFIX}<label> and {_PROBABILITY}<label> columns; remove one kind.")
    if "clip" not in keys or not (kinds or PREDICTED in keys):
        raise UserError(_lacking(names, keys, source))
    if table.empty:
        raise UserError(f"{source} is empty; expected one row per clip.")
    scored = {name for columns in kinds.values() for name in columns.values()}
    spare = [name for name in names if name not in scored and name not in keys.values()]
    if spare and not quiet:
        more = f" and {len(spare) - _MOST_NAMED:,} more" if len(spare) > _MOST_NAMED else ""
        hint = alike(spare, ("side",)) if "side" not in keys else ""
        say(f"{source}: columns not used: {', '.join(spare[:_MOST_NAMED])}{more}{hint}.")
    kept = pd.DataFrame({key: text_of(table[name], source) for key, name in keys.items()})
    if (unnamed := kept["clip"] == "").any():
        row = table.index[int(unnamed.to_numpy().argmax())]
        raise UserError(f"{source} has a row without a clip, first row {_row(row)}.")
    if "label" in kept:
        kept["label"] = kept["label"].where(kept["label"] != "", None)
    if "side" in kept:
        kept["side"] = kept["side"].str.lower()
    kept = _numbered(kept, source)
    if not kinds:
        return kept
    ((kind, columns),) = kinds.items()
    needed = kept["side"].isin(list(sides)) if sides and "side" in kept else np.ones(len(kept), bool)
    scores = np.full((len(kept), len(columns)), np.nan)
    scores[needed] = _logarithms(table[needed], columns, kind, kept.loc[needed, "clip"], source)
    logits = pd.DataFrame(scores, columns=[PREFIX + label for label in columns], index=kept.index)
    result = pd.concat([kept.drop(columns=PREDICTED, errors="ignore"), logits], axis=1)
    if PREDICTED in kept and not quiet:
        best = np.array(list(columns), object)[scores.argmax(axis=1)]
        scored_rows = ~np.isnan(scores).any(axis=1)
        other = int((scored_rows & (kept[PREDICTED] != "") & (kept[PREDICTED] != best)).sum())
        if other:
            say(f"{source}: predicted is not the most probable label in {other:,} rows; the probabilities are used.")
    return result


_NAMED = {"path": "clip"}
_ROLES = (CLIP, SPEAKER, LABEL, ("side",), ("fold",), ("seed",), (PREDICTED,))


def _scores(names: Sequence[str], kind: str, source: str) -> dict[str, str]:
    """Label -> column of its score, sorted by label."""
    found: dict[str, str] = {}
    for name in names:
        if name.casefold().startswith(kind):
            label = name[len(kind) :].strip()
            if not label or label in found:
                what = f"two columns for the scores of {label!r}" if label else f"a column {name!r} that names no label"
                raise UserError(f"{source} has {what}; each label needs one {kind}<label>.")
            found[label] = name
    return dict(sorted(found.items()))


def _lacking(names: Sequence[str], keys: Mapping[str, str], source: str) -> str:
    """Compose the error for a table without clips or scores."""
    there = ", ".join(names[:_MOST_NAMED])
    hint = "" if "clip" in keys else alike(names, CLIP, "path_column")
    like = next((name for name in names if _LIKE_SCORE.match(name)), None)
    if not hint and "clip" in keys:
        hint = alike(names, (PREDICTED,)) or (f"; rename {like!r} prob_{_LIKE_SCORE.sub('', like)}" if like else "")
    return (
        f"{source} needs a column clip (or {', '.join(CLIP[1:4])}) and, for each label, either logit_<label> or "
        f"prob_<label>, or the column predicted; it has {there}{hint}."
    )


def _logarithms(
    table: pd.DataFrame, columns: Mapping[str, str], kind: str, clips: pd.Series, source: str
) -> NDArray[np.float64]:
    """Return the scores as finite natural logarithms, or NaN if a row has none, shape (rows, labels)."""

    def first(rows: NDArray[np.bool_]) -> str:
        return str(clips.iloc[int(rows.argmax())])

    scores = numbers_of(table, list(columns.values()), source)
    empty = np.isnan(scores)
    none = np.asarray(empty.all(axis=1))
    part = np.asarray(empty.any(axis=1)) & ~none
    if part.any():
        raise UserError(
            f"{source} has scores for only some labels of clip {first(part)}; fill the row, or leave all of its scores "
            "empty."
        )
    bad = ~none & ~np.asarray((np.abs(scores) <= _LARGEST_SCORE).all(axis=1))
    if bad.any():
        raise UserError(f"{source} has a score that is not finite, first for clip {first(bad)}.")
    if kind == PREFIX:
        return scores
    sums = scores.sum(axis=1)
    outside = np.asarray(((scores < 0) | (scores > 1 + 1e-6)).any(axis=1))
    if outside.any():
        cents = "; divide them by 100" if np.allclose(sums[~none], 100, rtol=_SUM_TOLERANCE) else ""
        raise UserError(f"{source} has a probability outside 0 to 1, first for clip {first(outside)}{cents}.")
    wrong = np.abs(sums - 1) > _SUM_TOLERANCE
    if wrong.any():
        raise UserError(
            f"{source} has probabilities that do not sum to 1 over {', '.join(columns.values())}, first those of clip "
            f"{first(wrong)} ({sums[wrong][0]:.3g}); correct them or add the missing label's column."
        )
    logarithms: NDArray[np.float64] = np.log(np.maximum(scores, _SMALLEST_PROBABILITY))
    return logarithms


def _numbered(kept: pd.DataFrame, source: str) -> pd.DataFrame:
    """Convert seeds to whole numbers, and folds too if all of them are; drop these columns if empty."""
    for key in ("fold", "seed"):
        if key not in kept:
            continue
        texts = kept[key]
        if (texts == "").all():
            kept = kept.drop(columns=key)
            continue
        numbers = [_whole(text) for text in texts]
        bad = [
            text == "" or (number is None and (key == "seed" or _is_number(text)))
            for text, number in zip(texts, numbers, strict=True)
        ]
        if any(bad):
            row = bad.index(True)
            raise UserError(
                f"{source} has a {key} that is not a whole number (of at most 18 digits): "
                f"{texts.iloc[row][:_MOST_SHOWN]!r} for clip {kept['clip'].iloc[row]}; fill every row or remove the "
                "column."
            )
        if None not in numbers:
            kept[key] = np.array(numbers, np.int64)
    return kept


def _whole(text: str) -> int | None:
    """Parse a whole number of at most 18 digits, which 64 bits hold; a fraction of zeros is allowed.

    >>> _whole("3"), _whole("3.0"), _whole("4294967295"), _whole("1e30"), _whole("Session1")
    (3, 3, 4294967295, None, None)
    """
    found = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", text)
    return int(found[1]) if found else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(place: object) -> object:
    """Return a row's number, counted from 1."""
    return place + 1 if isinstance(place, int) else place
