"""What intervals are about, and how an answer is put into words: the same on page, in Markdown and terminal."""

from __future__ import annotations

from typing import Literal

from serlab.evaluation.paired import PairedComparison

SEEDS_FOR_RECIPES = 3
"""From this many seeds on, a finding speaks of recipes; below, of the trained models at hand."""

Scope = Literal["models", "other clips", "two seeds", "recipes"]
"""What intervals are about, from least to most; all but ``recipes`` are about the trained models at hand."""


def scope_of(seeds: int, *, comparable: bool) -> Scope:
    """What intervals are about.

    Args:
        seeds: number of seeds.
        comparable: whether all of them judged the same clips.

    >>> [scope_of(seeds, comparable=True) for seeds in (1, 2, 3)], scope_of(5, comparable=False)
    (['models', 'two seeds', 'recipes'], 'other clips')
    """
    if seeds < 2:
        return "models"
    if not comparable:
        return "other clips"
    return "recipes" if seeds >= SEEDS_FOR_RECIPES else "two seeds"


def scope_text(scope: Scope, people: str = "speakers") -> str:
    """What intervals are about, in a sentence.

    >>> scope_text("models")
    'The intervals say how these trained models would do on other speakers, not how they would do if trained again.'
    """
    return {
        "models": f"The intervals say how these trained models would do on other {people}, not how they would do if "
        "trained again.",
        "other clips": "The seeds judge different clips, so training again cannot be told from other clips: the "
        "intervals are about these trained models alone.",
        "two seeds": "The intervals are widened by how far the two seeds lie apart, but two trainings show little of "
        "what others would give: read them as about these trained models.",
        "recipes": f"The intervals are about other {people} and about training again.",
    }[scope]


def answer_words(answer: str, *, recipes: bool, alone: str = "", family: int = 1) -> str:
    """The answer of a pair in a few words.

    Args:
        answer: of the pair among all pairs of its family.
        recipes: whether it is about recipes, not about the trained models at hand.
        alone: what the pair's own intervals say, if that may differ.
        family: number of pairs.

    >>> answer_words("better", recipes=True), answer_words("better", recipes=False)
    ('better', 'ahead')
    >>> answer_words("not shown", recipes=False, alone="better", family=10)
    'not shown (ahead on its own; not after Holm over 10 pairs)'
    """

    def word(of: str) -> str:
        return of if recipes else {"better": "ahead", "worse": "behind"}.get(of, of)

    return word(answer) + (f" ({word(alone)} on its own; {_lost(family)})" if alone not in ("", answer) else "")


def alone_clause(pair: PairedComparison, first: str, second: str) -> str:
    """That a pair's own interval shows what does not hold among all pairs, as the end of a sentence; else empty."""
    if pair.answer == pair.answer_alone:
        return ""
    shown = {
        "better": f"{first} is ahead",
        "worse": f"{second} is ahead",
        "equivalent": "the two are equivalent",
    }[pair.answer_alone]
    return f"; on this pair's own interval {shown}, {_lost(pair.family)}"


def _lost(family: int) -> str:
    return f"not after Holm over {family} pairs"


def needed_text(pair: PairedComparison) -> str:
    """How many speakers and seeds would show a difference as large as the margin, without the nouns' context.

    >>> from types import SimpleNamespace as pair
    >>> needed_text(pair(speakers_needed=90, speakers_needed_low=70, speakers_needed_high=None, seeds_needed=5))
    '90 (70 to more than 2,000), each recipe trained with 5 seeds'
    """
    found, low, high = (
        "more than 2,000" if number is None else f"{number:,}"
        for number in (pair.speakers_needed, pair.speakers_needed_low, pair.speakers_needed_high)
    )
    ends = f" ({low} to {high})" if low != found else ""
    seeds = f", each recipe trained with {pair.seeds_needed} seeds" if pair.seeds_needed else ""
    return f"{found}{ends}{seeds}"
