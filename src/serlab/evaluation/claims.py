"""What intervals are about, and how an answer is put into words: the same on page, in Markdown and terminal."""

from __future__ import annotations

from typing import Literal

from serlab.evaluation.calibration import Calibration
from serlab.evaluation.confidence import SetLevel
from serlab.evaluation.metrics import PERCENT
from serlab.evaluation.paired import PairedComparison
from serlab.evaluation.sentences import TwoWay

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


def calibration_text(found: Calibration) -> str:
    """Whether an error of calibration is shown, and which: one statement from all intervals."""
    over, rms = found.overconfidence, found.rms_error
    if over.low is None or over.high is None or rms.low is None or rms.high is None:
        direction = "overconfident" if over.value >= 0 else "underconfident"
        return f"{direction} by {PERCENT(abs(over.value))} points (no interval: {over.reason})"
    if found.shown in ("overconfident", "underconfident"):
        low, high = sorted(map(abs, (over.low, over.high)))
        return f"{found.shown} by {PERCENT(abs(over.value))} points (95 % interval {PERCENT(low)} to {PERCENT(high)})"
    interval = (
        f"debiased RMS error {PERCENT(rms.value)} points, 95 % interval {PERCENT(rms.low)} to {PERCENT(rms.high)}"
    )
    if found.shown == "miscalibrated":
        return f"miscalibrated: overconfident in some bins, underconfident in others ({interval})"
    return f"no error of calibration is shown ({interval})"


def sets_text(entry: SetLevel) -> str:
    """That few dev speakers make sets larger than asked for, as a clause; empty if they are enough."""
    if entry.expected is None or entry.dev_speakers is None or entry.dev_speakers >= entry.enough_speakers:
        return ""
    dev = "1 dev speaker" if entry.dev_speakers == 1 else f"{entry.dev_speakers} dev speakers"
    return (
        f"with {dev} the rule has to aim at {PERCENT(entry.expected)} %, and comes within 5 points of what is asked "
        f"from {entry.enough_speakers} on"
    )


def sentences_text(found: TwoWay, people: str = "speakers") -> str:
    """What other sentences would change, beside the standard error over speakers."""
    both, alone = (f"{100 * error:.2f}" for error in (found.error, found.speaker_error))
    return (
        f"over other {people} and other sentences than these {found.sentences}, UAR has a standard error of {both} "
        f"points ({alone} over {people} alone; 95 % interval {PERCENT(found.low)} to {PERCENT(found.high)})"
    )


def ties_text(ties: int) -> str:
    """How many predictions rest on the order of labels."""
    predictions = "1 prediction is a tie" if ties == 1 else f"{ties:,} predictions are ties"
    return f"{predictions} of the highest score, given to the first of its labels: they say nothing"


def needed_text(pair: PairedComparison) -> str:
    """How many speakers and seeds would show a difference as large as the margin, without the nouns' context.

    >>> from types import SimpleNamespace as pair
    >>> needed_text(pair(speakers_needed=90, speakers_needed_low=70, speakers_needed_high=None, seeds_needed=5))
    '90 (70 to more than 2,000), each trained with 5 seeds'
    """
    found, low, high = (
        "more than 2,000" if number is None else f"{number:,}"
        for number in (pair.speakers_needed, pair.speakers_needed_low, pair.speakers_needed_high)
    )
    ends = f" ({low} to {high})" if low != found else ""
    seeds = f", each trained with {pair.seeds_needed} seeds" if pair.seeds_needed else ""
    return f"{found}{ends}{seeds}"
