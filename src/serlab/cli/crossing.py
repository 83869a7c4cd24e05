"""``serlab compare --train … --test …``: from one corpus to another."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serlab.cli import options, output
from serlab.core import UserError
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.cli.compare import CompareOptions, TrainOptions
    from serlab.corpora.base import Corpus

_ALONE: dict[str, tuple[object, str]] = {
    "protocol": (None, "sources and targets are used as a whole"),
    "folds": ("", "sources and targets are used as a whole"),
    "dev_only": (False, "a target has no dev subset; to develop a recipe, use `serlab compare SOURCE --dev-only`"),
    "audio": ("link", "the report lists no clips"),
    "margin": (2, "the report tests no equivalence"),
}
"""Options of a comparison within one corpus: their defaults, and why they make no sense across corpora."""


def wanted(args: CompareOptions) -> bool:
    """Whether a comparison is one across corpora.

    Raises:
        UserError: the options contradict each other.
    """
    if not args.train and args.test is None:
        for name in ("labels", "balance", "normalise"):
            if getattr(args, name) and not (name == "labels" and any(map(_maybe_model, options.words(args.recipes)))):
                raise UserError(f"--{name} needs --train and --test.")
        return False
    if args.test is None:
        raise UserError("--train needs --test with the corpora to test on, or --test each to leave one out at a time.")
    if args.corpus != "synthetic":
        raise UserError(f"{args.corpus} is not used, because --train and --test name the corpora; leave it out.")
    for name, (default, why) in _ALONE.items():
        if getattr(args, name) != default:
            raise UserError(f"--{name.replace('_', '-')} is for comparisons within one corpus: with --test, {why}.")
    return True


def _maybe_model(name: str) -> bool:
    from serlab.experiments.crossing_models import is_model

    return is_model(name)


def run(args: CompareOptions) -> None:
    """Run it; prints the path of the report."""
    from serlab.experiments.crossing import EACH, compare_across
    from serlab.experiments.crossing_models import is_model
    from serlab.experiments.jobs import check_jobs

    # Before corpora are scanned, which may take minutes.
    check_jobs(args.jobs)

    assert args.test is not None
    named = cache(partial(_named, args))
    train = [[named(each) for each in options.words(row)] for row in args.train or ()]
    test: Any = EACH if args.test == EACH else [named(each) for each in options.words(args.test)]
    names = options.words(args.recipes)
    trained = [name for name in names if not is_model(name)]
    if names and not trained:
        _say_what_has_no_effect(args)
    result = compare_across(
        [row for row in train if row],
        test,
        [*args.variants(trained), *(name for name in names if name not in trained)],
        data=_data(args),
        labels=args.labels,
        balance=args.balance,
        normalise=args.normalise,
        seeds=options.numbers(args.seeds, "--seeds") or [0],
        out=args.out,
        keep_models=args.keep_models,
        max_excluded=args.max_excluded,
        cache=args.cache,
        jobs=args.jobs,
        limit=args.limit,
        smoke=args.smoke,
    )
    for exclusion in result.exclusions:
        say(f"left out: {exclusion.clip} ({exclusion.reason})")
    for line in result.lines:
        say(line)
    output.report(result.report, result.models)


def _say_what_has_no_effect(args: CompareOptions) -> None:
    idle = {"train": args.train, "seeds": args.seeds != "0", "balance": args.balance, "keep-models": args.keep_models}
    if any(idle.values()):
        named = ", ".join(f"--{name}" for name, given in idle.items() if given)
        say(f"only finished models are named, so nothing is trained, and this has no effect: {named}.")


def several(args: TrainOptions) -> bool:
    """Whether a model is to be trained on several corpora.

    Raises:
        UserError: the options contradict each other.
    """
    if len(options.words(args.corpus)) > 1:
        if not args.everyone:
            raise UserError(
                f"{args.corpus}: training on several corpora needs --all; to test such a model on another corpus, use "
                "serlab compare --train … --test …."
            )
        return True
    for name in ("labels", "balance"):
        if getattr(args, name):
            raise UserError(f"--{name} is for several corpora, e.g. crema-d,nemo; leave it out.")
    return False


def train(args: TrainOptions) -> Path:
    """Train on all clips of several corpora; returns the model folder."""
    from serlab.experiments.crossing_everyone import train_on_corpora

    (recipe,) = args.variants([args.recipe])
    return train_on_corpora(
        [_named(args, name) for name in options.words(args.corpus)],
        recipe,
        data=_data(args),
        labels=args.labels,
        balance=args.balance,
        quote=args.quote,
        epochs=args.epochs,
        seed=args.seed,
        out=args.out,
        max_excluded=args.max_excluded,
        cache=args.cache,
    )


def _named(args: CompareOptions | TrainOptions, name: str) -> str | Corpus:
    """A corpus by name, or loaded if its table has columns of other names."""
    from serlab.corpora import descriptions, load_corpus

    own = args.columns is not None and name not in descriptions()
    return load_corpus(name, columns=args.columns) if own else name


def _data(args: CompareOptions | TrainOptions) -> dict[str, str]:
    """Folders of known corpora by name."""
    data = options.folders_of(args.data)
    if "" in data:
        raise UserError(f"--data {data['']} must name the corpus here: --data NAME=FOLDER, e.g. --data emovo=EMOVO.")
    return data
