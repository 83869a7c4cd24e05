"""The report of models that serlab never saw: tables of predictions taken for runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from serlab import __version__
from serlab.evaluation.prepare import Judged, prepare
from serlab.tables import Run

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


def foreign_runs(tables: Sequence[Path], corpus: Corpus | None = None, *, side: str = "test") -> list[Run]:
    """Take tables of predictions for runs, one a fold and seed that a table names.

    Args:
        tables: files for :func:`serlab.tables.read_foreign`.
        corpus: where speaker and label of each clip come from when the tables lack them.
        side: which rows to judge where a table has a column ``side``.

    Raises:
        UserError: as :func:`serlab.evaluation.judge.evaluate`.
    """
    judged = _with_folds(
        {name: prepare(path, corpus, None, side) for name, path in zip(_names(tables), tables, strict=True)}
    )
    one_seed = all(each.rows["seed"].nunique() == 1 for each in judged.values())
    numbers = _numbers(list(judged.values()))
    about = _about(corpus, list(judged.values()), len(numbers))
    return [
        Run(table, about | _signature(name, path, each, fold, seed), Path(name) / f"fold{fold}-seed{seed}.csv")
        for (name, each), path in zip(judged.items(), tables, strict=True)
        for fold, seed, table in _cells(each, numbers, one_seed=one_seed)
    ]


def _names(tables: Sequence[Path]) -> list[str]:
    """The files' names, or whole paths where two are called the same."""
    stems = Counter(path.stem for path in tables)
    return [path.stem if stems[path.stem] == 1 else path.as_posix() for path in tables]


def _with_folds(judged: dict[str, Judged]) -> dict[str, Judged]:
    """Tables that name no folds take each clip's from those that do: runs are compared fold by fold."""
    named = [each.rows[["clip", "fold"]] for each in judged.values() if each.rows["fold"].any()]
    if not named:
        return judged
    folds = pd.concat(named).drop_duplicates().drop_duplicates("clip", keep=False).set_index("clip")["fold"]

    def completed(each: Judged) -> Judged:
        if each.rows["fold"].any() or len(each.dev):
            return each
        return replace(each, rows=each.rows.assign(fold=each.rows["clip"].map(folds).fillna(0).astype(int)))

    return {name: completed(each) for name, each in judged.items()}


def _numbers(judged: Sequence[Judged]) -> dict[int, int]:
    """The tables' folds, however they are called there, numbered from 1."""
    folds = sorted({int(fold) for each in judged for fold in each.rows["fold"].unique()})
    return {fold: number for number, fold in enumerate(folds, start=1)}


def _cells(judged: Judged, numbers: dict[int, int], *, one_seed: bool) -> Iterator[tuple[int, int, pd.DataFrame]]:
    parts = (judged.rows.assign(side="test"), judged.dev.assign(side="dev"))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows = rows[rows["fold"].isin(numbers)].assign(fold=lambda table: table["fold"].map(numbers))
    if one_seed:
        rows = rows.assign(seed=0)
    for (fold, seed), table in rows.groupby(["fold", "seed"]):
        if (table["side"] == "test").any():
            yield int(fold), int(seed), table.reset_index(drop=True)


def _about(corpus: Corpus | None, judged: Sequence[Judged], folds: int) -> dict[str, Any]:
    known = all(each.speakers_known for each in judged)
    clips = pd.concat([each.rows["clip"] for each in judged]).nunique()
    of = "" if corpus is None else f" of {len(corpus.clips):,}"
    protocol = {
        "name": "as predicted",
        "definition": f"the {clips:,}{of} clips that the tables predict; what the models learned from is not known.",
        "speaker_disjoint": None,
        "sentence_disjoint": None,
        "folds": folds,
    }
    if corpus is not None:
        return {"corpus": corpus.described() | {"speakers_known": known}, "protocol": protocol}
    described = {
        "name": "the tables' clips",
        "fingerprint": "",
        "copy": "labels and speakers from the tables",
        "clips": int(clips),
        "labels": list(judged[0].labels),
        "synthetic": False,
        "speakers_known": known,
        "label_track": "the tables'",
        "licence": "not known",
        "citation": "not known",
    }
    return {"corpus": described, "protocol": protocol}


def _signature(name: str, path: Path, judged: Judged, fold: int, seed: int) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return {
        "serlab": __version__,
        "recipe": {"name": name, "title": name, "hash": digest, "pretrained": "another's model", "config": {}},
        "fold": fold,
        "seed": seed,
        "precision": "precision unknown",
        "training": {"epochs": [], "selection": "", "train_uar": None},
        "cost": {},
        "exclusions": [{**entry, "fold": fold, "side": "test"} for entry in judged.exclusions],
        "versions": {},
        "machine": {},
    }
