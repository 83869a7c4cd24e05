"""The report of foreign models: tables of predictions as runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from serlab import __version__
from serlab.evaluation.prepare import PreparedTable, prepare_all
from serlab.tables.predictions import Run

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


def foreign_runs(
    tables: Sequence[Path | PreparedTable], corpus: Corpus | None = None, *, side: str = "test"
) -> list[Run]:
    """Turn tables of predictions into runs, one per fold and seed that a table names.

    Runs are numbered so that they can be paired. The tables' own names of folds and seeds are in
    each signature as ``called``, with None for what a table does not name.

    Args:
        tables: files for :func:`serlab.tables.predictions.read_foreign`, or such that are prepared
            already.
        corpus: where speaker and label of each clip come from when the tables lack them.
        side: which rows to judge where a table has a column ``side``.

    Raises:
        UserError: as :func:`serlab.evaluation.judge.evaluate`.
    """
    prepared = prepare_all(tables, corpus, None, side)
    if not all(each.speakers_known for each in prepared):
        # A page knows all speakers or none: pairs of its tables are compared speaker by speaker.
        prepared = [
            replace(each, rows=each.rows.assign(speaker=""), dev=each.dev.assign(speaker="")) for each in prepared
        ]
    judged = _with_folds(dict(zip(_names(prepared), prepared, strict=True)))
    one_seed = all(each.rows["seed"].nunique() == 1 for each in judged.values())
    numbers = _numbers(list(judged.values()))
    about = _about(corpus, list(judged.values()), [fold for fold in numbers if fold is not None])
    return [
        Run(table, about | _signature(name, each, fold, seed, called), Path(name) / f"fold{fold}-seed{seed}.csv")
        for name, each in judged.items()
        for fold, seed, called, table in _runs(each, numbers, one_seed=one_seed)
    ]


def _names(judged: Sequence[PreparedTable]) -> list[str]:
    """The files' names, or whole paths where two are called the same."""
    paths = [Path(each.name) for each in judged]
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else path.as_posix() for path in paths]


def _with_folds(judged: dict[str, PreparedTable]) -> dict[str, PreparedTable]:
    """Tables that name no folds take each clip's from those that do: runs are compared fold by fold."""
    named = [
        each.rows[["clip"]].assign(fold=each.rows["fold"].map(each.folds)) for each in judged.values() if _folded(each)
    ]
    if not named:
        return judged
    of_clip = pd.concat(named).drop_duplicates().drop_duplicates("clip", keep=False).set_index("clip")["fold"].to_dict()
    called = {0: None} | dict(enumerate(sorted(set(of_clip.values()), key=_order), start=1))
    number = {fold: place for place, fold in called.items()}

    def completed(each: PreparedTable) -> PreparedTable:
        if _folded(each) or len(each.dev):
            return each
        folds = [number[of_clip.get(clip)] for clip in each.rows["clip"]]
        return replace(each, rows=each.rows.assign(fold=folds), folds=called)

    return {name: completed(each) for name, each in judged.items()}


def _folded(judged: PreparedTable) -> bool:
    return None not in judged.folds.values()


def _order(fold: int | str | None) -> tuple[bool, bool, int, str]:
    """Folds by number, then by name; what has none comes last."""
    number = fold if isinstance(fold, int) else 0
    return fold is None, isinstance(fold, str), number, str(fold)


def _numbers(judged: Sequence[PreparedTable]) -> dict[int | str | None, int]:
    """The tables' folds, however they are called there, numbered from 1."""
    folds = {each.folds[fold] for each in judged for fold in each.rows["fold"].unique()}
    return {fold: number for number, fold in enumerate(sorted(folds, key=_order), start=1)}


def _runs(
    judged: PreparedTable, numbers: Mapping[int | str | None, int], *, one_seed: bool
) -> Iterator[tuple[int, int, dict[str, int | str | None], pd.DataFrame]]:
    """Fold, seed, what the table calls them, and the rows of each."""
    parts = (judged.rows.assign(side="test"), judged.dev.assign(side="dev"))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    runs: Iterable[tuple[Any, pd.DataFrame]] = rows.groupby(["fold", "seed"])
    for (fold, seed), table in runs:
        called = {"fold": judged.folds[int(fold)], "seed": judged.seeds[int(seed)]}
        if called["fold"] in numbers and (table["side"] == "test").any():
            number, training = numbers[called["fold"]], 0 if one_seed else int(seed)
            yield number, training, called, table.assign(fold=number, seed=training).reset_index(drop=True)


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


def _signature(
    name: str, judged: PreparedTable, fold: int, seed: int, called: Mapping[str, int | str | None]
) -> dict[str, Any]:
    return {
        "serlab": __version__,
        "recipe": {
            "name": name,
            "title": name,
            "hash": judged.digest[:12],
            "pretrained": "another's model",
            "config": {},
        },
        "fold": fold,
        "seed": seed,
        "called": called,
        "precision": "precision unknown",
        "training": {"epochs": [], "selection": "", "train_uar": None},
        "cost": {},
        "exclusions": [{**entry, "fold": None, "side": "test"} for entry in judged.exclusions],
        "versions": {},
        "machine": {},
    }
