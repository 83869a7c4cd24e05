"""Plan a comparison: find completed runs and the remaining work of the others. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from serlab.core import UserError, argument
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.signature import StoredSignature
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe, identify

_SEEDS = 2**31


class Todo(Enum):
    """The remaining work of a run."""

    NOTHING = "nothing"
    MODEL = "train again for the model folder; the table stays and the test subset is not read again"
    DEV = "train and predict the dev subset"
    TEST = "train and predict the dev and test subsets"


@dataclass(frozen=True)
class PlannedRun:
    """A run and its remaining work."""

    spec: RunSpec
    todo: Todo


@dataclass(frozen=True)
class Plan:
    """All runs of a comparison.

    Attributes:
        context: what the runs share.
        runs: the unique runs, in the order of execution.
    """

    context: RunContext
    runs: tuple[PlannedRun, ...]

    @property
    def waiting(self) -> tuple[RunSpec, ...]:
        """Runs that are not complete."""
        return tuple(run.spec for run in self.runs if run.todo is not Todo.NOTHING)

    @property
    def done(self) -> tuple[RunSpec, ...]:
        """Runs that already exist."""
        return tuple(run.spec for run in self.runs if run.todo is Todo.NOTHING)


def plan(
    context: RunContext, recipes: Sequence[Recipe], *, folds: Sequence[int] = (), seeds: Sequence[int] = (0,)
) -> Plan:
    """Find the remaining work of every recipe, fold and seed.

    Args:
        context: what the runs share.
        recipes: the recipes.
        folds: numbers of the folds; all if empty.
        seeds: the seeds.

    Returns:
        The plan. Only signatures are read, and nothing is written.

    Raises:
        UserError: a fold or seed does not exist, the folder has results of another configuration,
            or a recipe's weights cannot be found.
        MachineError: a recipe's weights cannot be read.
    """
    check_seeds(seeds)
    identities = [(recipe, *identify(recipe)) for recipe in recipes]
    grid = product(identities, chosen_folds(context.split, folds), seeds)
    unique = {(spec.folder, spec.stem): spec for spec in (RunSpec(*known, fold, seed) for known, fold, seed in grid)}
    specs = tuple(unique.values())
    _check_results(context, specs)
    return Plan(context, tuple(PlannedRun(spec, todo_of(spec, context)) for spec in specs))


def todo_of(spec: RunSpec, context: RunContext) -> Todo:
    """What is left to do of a run.

    Raises:
        UserError: the folder has a run of another configuration, or one with a leak (SL012).
    """
    files = context.files(spec)
    wanted = Todo.DEV if context.dev_only else Todo.TEST
    if not files.signature.is_file():
        return wanted
    stored, identity = StoredSignature.read(files.signature), context.identity(spec).data()
    # With ``auto``, another machine, or a busier one, may have chosen another precision.
    free = {"precision"} if spec.recipe.training.precision == "auto" else set()
    stored.check_identity(identity, free=free)
    if len(stored.heard) > 1:
        from serlab.experiments.heard import check

        check(stored.heard, spec, context)
    if not files.table.is_file() or ("test" not in stored.sides and not context.dev_only):
        return wanted
    return Todo.MODEL if context.keep_models and not files.model.is_dir() else Todo.NOTHING


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse a seed that random generators do not accept."""
    for seed in seeds:
        if not 0 <= seed < _SEEDS:
            raise UserError(f"seed {seed} is not between 0 and {_SEEDS - 1}.")


def chosen_folds(split: Split, numbers: Sequence[int]) -> list[Fold]:
    """The folds of a protocol with these numbers; all if there are none.

    Raises:
        UserError: the protocol has no such fold.
    """
    by_number = {fold.number: fold for fold in split.folds}
    wrong = [number for number in numbers if number not in by_number]
    if wrong:
        raise UserError(f"protocol {split.name} has no fold {wrong[0]}; it has 1 to {len(by_number)}.")
    return [by_number[number] for number in numbers] if numbers else list(split.folds)


def _check_results(context: RunContext, specs: Sequence[RunSpec]) -> None:
    """Refuse a folder that holds results of other data, folds or recipes under the same name.

    A report cannot combine them, so fail before training.
    """
    corpus, split = context.corpus, context.split
    hashes = {spec.folder: spec.hash for spec in specs}
    for path in context.results.signatures():
        stored = StoredSignature.read(path)
        if stored.fingerprint != corpus.fingerprint:
            raise UserError(
                f"{path} was made with other data under the name {corpus.name} (fingerprint {stored.fingerprint[:8]}, "
                f"not {corpus.fingerprint[:8]}); move it away, or choose another {argument('out')} folder."
            )
        if stored.protocol_version != split.version:
            raise UserError(
                f"{path} was made with other folds of {split.name} (version {stored.protocol_version}, not "
                f"{split.version}: duplicates were assigned differently); move it away, or choose another "
                f"{argument('out')} folder."
            )
        if stored.recipe != hashes.get(path.parent.name, stored.recipe):
            raise stored.of_another("recipe", hashes[path.parent.name])
