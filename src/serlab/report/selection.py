"""Which runs a figure uses: grouped by recipe, one subset, and a full grid of folds and seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from serlab.core import UserError, argument
from serlab.evaluation.counts import Names, check_labels, comparable_rows, predicted_of
from serlab.evaluation.prepare import PreparedTable
from serlab.recipes.changes import flat
from serlab.recipes.variants import replaced
from serlab.tables.predictions import Run, labels_of, probabilities_of

_LONGEST_DIFFERENCE = 40
FoldSeed = tuple[int, int]
"""A run's (fold, seed)."""


@dataclass(frozen=True)
class RecipeRuns:
    """One recipe's runs.

    Attributes:
        name: the recipe's folder name.
        title: its title, made unique within the report.
        side: that it is judged on: ``test``, or ``dev`` where no run has predicted test; of others' tables any.
        runs: the runs that its figures are made of, a full grid of folds and seeds.
        left_out: (fold, seed) of runs outside that grid, or without the subset.
    """

    name: str
    title: str
    side: str
    runs: tuple[Run, ...]
    left_out: tuple[FoldSeed, ...]

    @property
    def signature(self) -> dict[str, Any]:
        """The signature of the first run; what it says of recipe, corpus and protocol holds for all."""
        return self.runs[0].signature

    @property
    def fold_seeds(self) -> tuple[FoldSeed, ...]:
        """(fold, seed) of each run."""
        return tuple(fold_seed_of(run) for run in self.runs)

    @property
    def fold_names(self) -> Names:
        """Each fold's name by its number, in order of the numbers; None if a table names none."""
        return {fold_seed_of(run)[0]: called(run)["fold"] for run in sorted(self.runs, key=fold_seed_of)}

    @property
    def seed_names(self) -> Names:
        """Each seed's name by its number, likewise."""
        return {fold_seed_of(run)[1]: called(run)["seed"] for run in sorted(self.runs, key=fold_seed_of)}

    @property
    def folds(self) -> list[int | str]:
        """Folds as they are called, in order."""
        return [name for name in self.fold_names.values() if name is not None]

    @property
    def seeds(self) -> list[int]:
        """Seeds, sorted."""
        return sorted({seed for _, seed in self.fold_seeds})

    @property
    def trained_seeds(self) -> list[int]:
        """Seeds that were trained for these runs, sorted: of a mean over seeds all of them."""
        seeds = {seed for run in self.runs for seed in run.signature.get("seeds", [called(run)["seed"]])}
        return sorted(seeds - {None})

    @cached_property
    def table(self) -> PreparedTable:
        """The recipe as a table that can be judged."""
        dev = pd.concat([run.table[run.table["side"] == "dev"] for run in self.runs], ignore_index=True)
        corpus = self.signature["corpus"]
        return PreparedTable(
            name=self.name,
            rows=self.rows,
            dev=dev if self.side == "test" else dev.iloc[:0],
            labels=tuple(corpus["labels"]),
            speakers_known=corpus["speakers_known"],
            exclusions=[],
            folds=self.fold_names,
            seeds=self.seed_names,
        )

    @property
    def foreign(self) -> bool:
        """Whether the runs are parts of a table that serlab did not make."""
        return is_foreign(self.signature)

    @property
    def rows(self) -> pd.DataFrame:
        """Rows of the recipe's side over all runs, with ``predicted`` and ``probability`` (of the predicted label)."""
        return self._comparable[0]

    @property
    def uneven_clips(self) -> int:
        """Clips that are left out of the rows because not every seed judged them."""
        return self._comparable[1]

    @property
    def whole(self) -> PreparedTable:
        """The recipe as a table with the clips that only some seeds judged: a pair has its own choice of seeds."""
        return replace(self.table, rows=self._whole)

    @cached_property
    def _whole(self) -> pd.DataFrame:
        return pd.concat([judged_rows(run, self.side) for run in self.runs], ignore_index=True)

    @cached_property
    def _comparable(self) -> tuple[pd.DataFrame, int]:
        return comparable_rows(self._whole)


def fold_seed_of(run: Run) -> FoldSeed:
    """A run's (fold, seed)."""
    return int(run.signature["fold"]), int(run.signature["seed"])


def is_foreign(signature: Mapping[str, Any]) -> bool:
    """Whether a run is a part of a table that serlab did not make, see :mod:`serlab.report.foreign`."""
    return "called" in signature


def recipe_of(run: Run) -> str:
    """The name of a run's recipe: its folder's, or what another's table is called."""
    return str(run.signature["recipe"]["name"]) if is_foreign(run.signature) else run.path.parent.name


def called(run: Run) -> Mapping[str, Any]:
    """A run's names for ``fold`` and ``seed``; None for what a foreign table does not name."""
    found: Mapping[str, Any] = run.signature.get("called", run.signature)
    return found


def judged_rows(run: Run, side: str) -> pd.DataFrame:
    """A run's rows of one subset, with ``predicted`` and its ``probability`` (None without scores)."""
    rows = run.table[run.table["side"] == side]
    sure = probabilities_of(rows).max(axis=1, initial=0.0) if labels_of(rows) else None
    return rows.assign(predicted=predicted_of(rows), probability=sure)


def full_grid(found: Iterable[FoldSeed]) -> list[FoldSeed]:
    """The largest part of the grid in which every seed has the same folds: most folds first, then most seeds.

    >>> full_grid([(1, 0), (2, 0), (1, 1), (2, 1), (1, 2)])
    [(1, 0), (1, 1), (2, 0), (2, 1)]
    """
    folds: dict[int, set[int]] = defaultdict(set)
    for fold, seed in found:
        folds[seed].add(fold)
    seeds: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for seed in sorted(folds):
        seeds[tuple(sorted(folds[seed]))].append(seed)
    best = max(seeds, key=lambda key: (len(key), len(seeds[key]), [-fold for fold in key]), default=())
    return sorted((fold, seed) for fold in best for seed in seeds[best])


def group_runs(runs: Sequence[Run]) -> list[RecipeRuns]:
    """Group runs by recipe, in order of name.

    Raises:
        UserError: runs of one recipe are of different configurations, or the runs are of different
            corpora.
    """
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[recipe_of(run)].append(run)
    _check_same_corpus(runs)
    titles = _titles({name: group[0].signature["recipe"] for name, group in by_name.items()})
    return [_one_recipe(name, titles[name], group) for name, group in sorted(by_name.items())]


def _titles(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Titles by name; recipes of one title are distinguished by the settings that differ, else by their names."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name, recipe in recipes.items():
        former = replaced(recipe)
        alike[former.title if former else recipe["title"]].append(name)
    found: dict[str, str] = {}
    for title, names in alike.items():
        parts = _differing({name: flat(recipes[name]["config"]) for name in names})
        apart = len(set(parts.values())) == len(names) and max(map(len, parts.values())) <= _LONGEST_DIFFERENCE
        found |= {name: title if len(names) == 1 else f"{title} ({parts[name] if apart else name})" for name in names}
    return found


def _differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    keys = sorted({key for config in configs.values() for key in config})
    told = [key for key in keys if len({repr(config.get(key)) for config in configs.values()}) > 1]
    return {
        name: ", ".join(f"{key.rsplit('.', 1)[-1]} {config[key]}" for key in told if key in config)
        for name, config in configs.items()
    }


def _one_recipe(name: str, title: str, runs: list[Run]) -> RecipeRuns:
    recipe = runs[0].signature["recipe"]
    for run in runs:
        if run.signature["recipe"]["hash"] != recipe["hash"]:
            raise UserError(
                f"{run.path.parent} holds runs of two configurations ({recipe['hash'][:8]} and "
                f"{run.signature['recipe']['hash'][:8]}); keep one of them there and move the other's files away."
            )
    with_test = [run for run in runs if (run.table["side"] == "test").any()]
    side = runs[0].signature.get("side") or ("test" if with_test else "dev")
    usable = {fold_seed_of(run): run for run in with_test or runs}
    # Another's table is judged whole, as it is without a report.
    grid = sorted(usable) if is_foreign(runs[0].signature) else full_grid(usable)
    left_out = tuple(sorted({fold_seed_of(run) for run in runs} - set(grid)))
    return RecipeRuns(name, title, side, tuple(usable[cell] for cell in grid), left_out)


def _protocol(run: Run) -> tuple[str, str]:
    protocol = run.signature["protocol"]
    return protocol["name"], protocol.get("version", "1")


def _check_same_corpus(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs:
        corpus = run.signature["corpus"]
        if corpus["fingerprint"] != first.signature["corpus"]["fingerprint"]:
            raise UserError(
                f"{first.path} and {run.path} are of different data (fingerprints "
                f"{first.signature['corpus']['fingerprint'][:8]} and {corpus['fingerprint'][:8]}); "
                f"keep runs of different copies in different folders ({argument('out')})."
            )
        if _protocol(run) != _protocol(first):
            raise UserError(f"{first.path} and {run.path} are of different protocols; keep them in different folders.")
        check_labels(run.table, corpus["labels"], str(run.path))
