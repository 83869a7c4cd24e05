"""The answer in one plain sentence: its scope, the finding, and the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serlab.evaluation.claims import alone_clause
from serlab.evaluation.learning import NOT_SHOWN
from serlab.evaluation.paired import PairedComparison
from serlab.evaluation.resampling import Interval
from serlab.report.pairs import PairReport
from serlab.report.recipe import RecipeReport
from serlab.report.words import corpus_title, interval_text, numbered, people, percent, points, side_title


@dataclass(frozen=True)
class Verdict:
    """The answer of a report.

    Attributes:
        about: which people, which protocol.
        finding: which recipe is ahead, by how much.
        ranking: all recipes by UAR; empty below three.
        text: the first two as one sentence.
    """

    about: str
    finding: str
    ranking: str
    text: str


def answer(
    corpus: Mapping[str, Any],
    protocol: Mapping[str, Any],
    recipes: Sequence[RecipeReport],
    pairs: Sequence[PairReport],
    *,
    noun: str = "recipe",
) -> Verdict:
    """Say which recipe is ahead.

    Args:
        corpus: the runs' corpus.
        protocol: the runs' protocol.
        recipes: the described recipes, best first.
        pairs: the paired differences between all recipes.
        noun: what is compared.
    """
    titles = {recipe.name: recipe.title for recipe in recipes}
    headline = next((p for p in pairs if {p.first, p.second} == {r.name for r in recipes[:2]}), None)
    ground: RecipeReport | PairReport = recipes[0]
    if headline is None:
        finding = _alone(recipes[0])
    elif headline.comparison:
        ground, finding = headline, _compare(titles, headline, headline.comparison)
    else:
        finding = _cannot_compare(titles, headline)
    about = _about(corpus, protocol, ground, recipes[0].side, noun)
    return Verdict(about, finding, _ranking(recipes) if len(recipes) > 2 else "", f"{about}: {finding}")


def _about(
    corpus: Mapping[str, Any], protocol: Mapping[str, Any], ground: RecipeReport | PairReport, side: str, noun: str
) -> str:
    """The scope of the finding: speakers, protocol, and whether training may have included the speakers."""
    who = "clips" if ground.speakers is None else people(corpus["name"])
    count = ground.clips if ground.speakers is None else ground.speakers
    of = "" if corpus["synthetic"] and corpus["name"] == "synthetic" else f" of {corpus_title(corpus['name'])}"
    folds = "all folds" if len(ground.folds) == protocol["folds"] else numbered("fold", ground.folds)
    if protocol["folds"] <= 1 or not ground.folds:
        folds = ""
    on = "" if side == "test" else f"{side_title(side)} subset, not test"
    where = ", ".join(part for part in (protocol["name"], folds, on) if part)
    heard = {
        True: "",
        False: ", who may have been heard in training too",
        None: _unknown(ground),
    }[protocol["speaker_disjoint"]]
    subject = (
        f"each {noun} trained with {len(ground.seeds)} seeds" if ground.scope == "recipes" else "these trained models"
    )
    loud = "A SMOKE RUN, whose figures mean nothing. " if corpus.get("smoke") else ""
    return f"{loud}On the {count:,} {who}{of} ({where}){heard}, {subject}"


def _unknown(ground: RecipeReport | PairReport) -> str:
    if ground.speakers is None:
        return ", whose speakers may have been heard in training too (the corpus does not say)"
    return ", who may have been heard in training too"


def _compare(titles: Mapping[str, str], pair: PairReport, found: PairedComparison) -> str:
    difference = found.differences["uar"]
    ahead, behind = titles[pair.first], titles[pair.second]
    value, low, high = difference.value, difference.low, difference.high
    if low is None or high is None:
        return (
            f"no difference between {ahead} and {behind} can be shown, because there is no interval: "
            f"{difference.reason} (difference {points(value)} points of UAR)."
        )
    if found.answer == "equivalent":
        inner = interval_text(Interval(value, difference.inner_low, difference.inner_high))
        return (
            f"{ahead} and {behind} are equivalent within {points(found.margin)} points of UAR "
            f"(difference {points(value)}, 90 % interval {inner}){alone_clause(found, ahead, behind)}."
        )
    if found.answer == "not shown":
        return (
            f"no difference between {ahead} and {behind} can be shown "
            f"({points(value)} points of UAR, 95 % interval {interval_text(difference)})"
            f"{alone_clause(found, ahead, behind)}."
        )
    if high < 0:
        ahead, behind = behind, ahead
        value, low, high = -value, -high, -low
    less = f", less than the equivalence margin of {points(found.margin)} points"
    verb = "is better than" if pair.scope == "recipes" else "is ahead of"
    return (
        f"{ahead} {verb} {behind} by {points(value)} points of UAR (95 % interval {points(low)} to {points(high)})"
        f"{less if found.within_margin else ''}."
    )


def _cannot_compare(titles: Mapping[str, str], pair: PairReport) -> str:
    return f"{titles[pair.first]} and {titles[pair.second]} cannot be compared: {pair.reason}."


def _alone(recipe: RecipeReport) -> str:
    score = recipe.scores["uar"]
    interval = interval_text(score)
    interval = interval if score.low is None else f"95 % interval {interval}"
    shown = f"; {NOT_SHOWN}" if recipe.learned is False else ""
    return f"{recipe.title} has a UAR of {percent(score.value)} % ({interval}; {chance_text(recipe)}){shown}."


def chance_text(recipe: RecipeReport) -> str:
    """Chance of a recipe's UAR; of fewer labels if some have no clips."""
    if recipe.partly_absent:
        return f"chance is {percent(recipe.chance)} %, a mean over seeds with clips of different labels"
    present = round(1 / recipe.chance)
    among = f" for {present} label{'s' * (present > 1)} with clips" if recipe.absent else ""
    return f"chance is {percent(recipe.chance)} %{among}"


def _ranking(recipes: Sequence[RecipeReport]) -> str:
    """All recipes by UAR."""
    each = [
        f"{recipe.title} {percent(recipe.scores['uar'].value)} %"
        + (f" ({NOT_SHOWN})" if recipe.learned is False else "")
        for recipe in recipes
    ]
    return f"By UAR: {'; '.join(each)}."
