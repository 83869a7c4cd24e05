"""The report of foreign models: tables of predictions as runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from serlab import __version__
from serlab.core.files import whole
from serlab.evaluation.judge import Evaluation, PairEvaluation
from serlab.evaluation.prepare import PreparedTable, prepare_all
from serlab.tables.predictions import Run

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class Judged:
    """What :func:`serlab.evaluation.judge.evaluate_all` has found already, by the tables' names in a report.

    Attributes:
        tables: each table's evaluation.
        pairs: the first of two tables less the second.
    """

    tables: Mapping[str, Evaluation]
    pairs: Mapping[tuple[str, str], PairEvaluation]


def judged_as(
    tables: Sequence[PreparedTable], results: Mapping[str, Evaluation], pairs: Sequence[PairEvaluation]
) -> Judged:
    """Evaluations of tables and pairs under the names that the tables have in a report."""
    names = dict(zip((table.name for table in tables), names_of(tables), strict=True))
    return Judged(
        {names[name]: result for name, result in results.items()},
        {(names[pair.names[0]], names[pair.names[1]]): pair for pair in pairs},
    )


def foreign_runs(
    tables: Sequence[Path | PreparedTable], corpus: Corpus | None = None, *, side: str = "test"
) -> list[Run]:
    """Turn tables of predictions into runs, one per fold and seed that a table names.

    Runs are numbered. What the tables themselves call folds and seeds is in each signature as ``called``, with None
    for what a table does not name.

    Args:
        tables: files for :func:`serlab.tables.predictions.read_foreign`, or such that are prepared
            already.
        corpus: where speaker and label of each clip come from when the tables lack them.
        side: which rows to judge where a table has a column ``side``.

    Raises:
        UserError: as :func:`serlab.evaluation.judge.evaluate`.
    """
    side = side.lower()
    prepared = dict(zip(names_of(tables), prepare_all(tables, corpus, None, side), strict=True))
    numbers = _numbers(list(prepared.values()))
    about = _about(corpus, list(prepared.values()), [fold for fold in numbers if fold is not None])
    return [
        Run(table, about | _signature(name, each, run, about), Path(name) / f"fold{run['fold']}-seed{run['seed']}.csv")
        for name, each in prepared.items()
        for run, table in _cells(each, numbers, side)
    ]


def names_of(tables: Sequence[Path | PreparedTable]) -> list[str]:
    """The files' names; of those that are called the same, the paths from the folder that holds them all.

    Suffixes are left out, unless names differ in nothing else.
    """
    paths = [Path(table.name) if isinstance(table, PreparedTable) else Path(table) for table in tables]
    places = [whole(path) for path in paths]
    stems, bare = Counter(path.stem for path in paths), Counter(place.with_suffix("") for place in places)
    alike = [place.parent for place in places if stems[place.stem] > 1]
    home = Path(os.path.commonpath(alike)) if alike else Path()
    names = []
    for path, place in zip(paths, places, strict=True):
        below = place.relative_to(home) if stems[path.stem] > 1 else Path(path.name)
        names.append((below if bare[place.with_suffix("")] > 1 else below.with_suffix("")).as_posix())
    return names


def _order(fold: int | str | None) -> tuple[bool, bool, int, str]:
    """Folds by number, then by name; what has none comes last."""
    number = fold if isinstance(fold, int) else 0
    return fold is None, isinstance(fold, str), number, str(fold)


def _numbers(judged: Sequence[PreparedTable]) -> dict[int | str | None, int]:
    """The tables' folds, however they are called there, numbered from 1."""
    folds = {each.folds[fold] for each in judged for fold in each.rows["fold"].unique()}
    return {fold: number for number, fold in enumerate(sorted(folds, key=_order), start=1)}


def _cells(
    judged: PreparedTable, numbers: Mapping[int | str | None, int], side: str
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Number, name and side of each fold and seed, and its rows."""
    parts = (judged.rows.assign(side=side), judged.dev.assign(side="dev"))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    runs: Iterable[tuple[Any, pd.DataFrame]] = rows.groupby(["fold", "seed"])
    for (fold, seed), table in runs:
        called = {"fold": judged.folds[int(fold)], "seed": judged.seeds[int(seed)]}
        if called["fold"] in numbers and (table["side"] == side).any():
            number, training = numbers[called["fold"]], int(seed)
            run = {"fold": number, "seed": training, "called": called, "side": side}
            yield run, table.assign(fold=number, seed=training).reset_index(drop=True)


def _about(corpus: Corpus | None, judged: Sequence[PreparedTable], folds: Sequence[int | str]) -> dict[str, Any]:
    known = all(each.speakers_known for each in judged)
    clips = pd.concat([each.rows["clip"] for each in judged]).nunique()
    of = "" if corpus is None else f" of {len(corpus.clips):,}"
    protocol = {
        "name": "as predicted",
        "definition": f"the {clips:,}{of} clips that the tables predict; what the models learned from is not known.",
        "speaker_disjoint": None,
        "sentence_disjoint": None,
        "folds": len(folds),
        "fold_names": list(folds),
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


def _signature(name: str, judged: PreparedTable, run: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **run,
        "serlab": __version__,
        "corpus": about["corpus"] | {"speakers_known": judged.speakers_known},
        "recipe": {
            "name": name,
            "title": name,
            "hash": judged.digest[:12],
            "pretrained": "another's model",
            "config": {},
        },
        "precision": "precision unknown",
        "training": {"epochs": [], "selection": "", "train_uar": None},
        "cost": {},
        "exclusions": [{**entry, "fold": None, "side": run["side"]} for entry in judged.exclusions],
        "versions": {},
        "machine": {},
    }
