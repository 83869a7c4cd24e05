"""``serlab compare --train … --test …``: from one corpus to another."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from serlab.cli import options, output
from serlab.core import UserError
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.cli.compare import CompareOptions
    from serlab.corpora.base import Corpus

_ALONE = {
    "protocol": None,
    "folds": "",
    "dev_only": False,
    "keep_models": False,
    "audio": "link",
    "margin": 2,
    "jobs": 1,
    "limit": None,
    "smoke": False,
}
"""Options of a comparison within one corpus, with their defaults."""


def wanted(args: CompareOptions) -> bool:
    """Whether a comparison is one across corpora.

    Raises:
        UserError: the options contradict each other.
    """
    if not args.train and args.test is None:
        if args.labels or args.balance:
            raise UserError(f"{'--labels' if args.labels else '--balance'} needs --train and --test.")
        return False
    if args.test is None:
        raise UserError("--train needs --test with the corpora to test on, or --test each to leave one out at a time.")
    if args.corpus != "synthetic":
        raise UserError(f"{args.corpus} is not used, because --train and --test name the corpora; leave it out.")
    for name, default in _ALONE.items():
        if getattr(args, name) != default:
            raise UserError(
                f"--{name.replace('_', '-')} is for comparisons within one corpus; leave it out with --test."
            )
    return True


def run(args: CompareOptions) -> None:
    """Run it; prints the path of the report."""
    from serlab.corpora import descriptions, load_corpus
    from serlab.experiments.crossing import EACH, compare_across
    from serlab.experiments.crossing_models import is_model

    @cache
    def named(name: str) -> str | Corpus:
        own = args.columns is not None and name not in descriptions()
        return load_corpus(name, columns=args.columns) if own else name

    assert args.test is not None
    train = [[named(each) for each in options.words(row)] for row in args.train or ()]
    test: Any = EACH if args.test == EACH else [named(each) for each in options.words(args.test)]
    names = options.words(args.recipes)
    trained = [name for name in names if not is_model(name)]
    data = options.folders_of(args.data)
    if "" in data:
        raise UserError(f"--data {data['']} must name the corpus here, e.g. --data crema-d={data['']}.")
    result = compare_across(
        [row for row in train if row],
        test,
        [*args.variants(trained), *(name for name in names if name not in trained)],
        data=data,
        labels=args.labels,
        balance=args.balance,
        seeds=options.numbers(args.seeds, "--seeds") or [0],
        out=args.out,
        max_excluded=args.max_excluded,
        cache=args.cache,
    )
    for exclusion in result.exclusions:
        say(f"left out: {exclusion.clip} ({exclusion.reason})")
    for line in result.lines:
        say(line)
    output.path(result.report)
