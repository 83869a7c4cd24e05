"""Letters for recipes: two that share one are not shown to differ (a compact letter display).

The letters restate the answers of all pairs, which are adjusted for their number, by inserting and
absorbing columns (Piepho 2004, Journal of Computational and Graphical Statistics 13(2)).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import ascii_lowercase

from serlab.report.pairs import PairReport

FEWEST_RECIPES = 4
"""Below this the answers of the pairs are as short as their letters."""


def letters_of(names: Sequence[str], pairs: Collection[PairReport]) -> dict[str, str]:
    """Give each recipe its letters; empty below :data:`FEWEST_RECIPES` or if not all pairs can be compared.

    Args:
        names: folder names of the recipes, best first.
        pairs: the paired differences between all of them.
    """
    if len(names) < FEWEST_RECIPES or any(pair.comparison is None or pair.comparison.p is None for pair in pairs):
        return {}
    return compact_letters(names, [(pair.first, pair.second) for pair in pairs if differ(pair)])


def differ(pair: PairReport) -> bool:
    """Whether a difference of UAR is shown among all pairs."""
    return pair.comparison is not None and pair.comparison.answer in ("better", "worse")


def compact_letters(names: Sequence[str], different: Collection[tuple[str, str]]) -> dict[str, str]:
    """Letters such that two names share one exactly if they are not ``different``.

    >>> compact_letters(["a1", "a2", "b"], [("a1", "b")])
    {'a1': 'a', 'a2': 'ab', 'b': 'b'}
    """
    columns = [frozenset(names)]
    for one, other in different:
        split = [
            part
            for column in columns
            for part in ((column - {one}, column - {other}) if {one, other} <= column else (column,))
        ]
        columns = [column for column in set(split) if not any(column < wider for wider in split)]
    place = {name: number for number, name in enumerate(names)}
    columns.sort(key=lambda column: sorted(place[name] for name in column))
    return {name: "".join(_letter(i) for i, column in enumerate(columns) if name in column) for name in names}


def _letter(number: int) -> str:
    """The letter of a column; after z come a1, b1 and so on."""
    round_, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(round_) if round_ else "")
