"""Goals for the published results, set before training, and whether they are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from publication.tables import MAIN, ends_text, protocol_of, table
from serlab.evaluation.metrics import METRICS
from serlab.report.words import numbered, percent, points


@dataclass(frozen=True)
class Goal:
    """A goal for one score of one recipe, or of a mean of models.

    Attributes:
        name: the recipe's or the mean's.
        level: the goal, as a share.
        protocol: under which protocol.
        score: which score.
    """

    name: str
    level: float
    protocol: str = MAIN
    score: str = "uar"


GOALS = (
    Goal("whisper-base", 0.71),
    Goal("whisper-base-probe", 0.68),
    Goal("whisper-base-probe", 0.69, "evar", "wa"),
    Goal("resnet18", 0.62),
    Goal("resnet18 x 3", 0.65),
    Goal("egemaps-svm", 0.48),
    Goal("mfcc-svm", 0.40),
    Goal("wav2vec2-tiny", 0.25),
    Goal("resnet18-small-distilled", 0.645),
    Goal("resnet18-distilled", 0.64),
    Goal("resnet18-long", 0.62),
    Goal("wav2vec2-small-distilled", 0.56),
    Goal("wav2vec2-small-distilled-long", 0.56),
    Goal("whisper-base-long", 0.73),
    Goal("whisper-base-long x 3", 0.745),
)
ABOVE_MEMBERS = ("resnet18+whisper-base", "resnet18-distilled+whisper-base-long")
"""Fusions that should be better than each of their members, in paired comparisons."""


def goals(overview: Mapping[str, Any]) -> str:
    """Every goal beside the result; a goal is reached by the score itself, regardless of its interval.

    Args:
        overview: of all protocols, as ``serlab report`` writes it.

    Returns:
        A Markdown table.
    """
    rows = [_row(goal, _entry(overview, goal.protocol, goal.name)) for goal in GOALS]
    protocol = protocol_of(overview, MAIN)
    gains = [pair for pair in (protocol["gains"] if protocol else ()) if pair["first"] in ABOVE_MEMBERS]
    for pair in gains:
        gain = pair["differences"]["uar"]
        reached = f"{points(gain['value'])} points ({ends_text(gain)})"
        above = gain["low"] is not None and gain["low"] > 0
        rows.append([f"`{pair['first']}`", f"above `{pair['second']}`, paired", reached, _met(above)])
    return table(("Recipe", "Asked", "Reached (95 % over actors)", "Met"), rows, left=4)


def _entry(overview: Mapping[str, Any], protocol: str, name: str) -> Mapping[str, Any] | None:
    found = protocol_of(overview, protocol)
    entries = found["recipes"] + found["fusions"] if found else []
    return next((entry for entry in entries if entry["name"] == name), None)


def _row(goal: Goal, entry: Mapping[str, Any] | None) -> list[str]:
    asked = f"{METRICS[goal.score].title} {percent(goal.level)} on `{goal.protocol}`"
    if entry is None:
        return [f"`{goal.name}`", asked, "not trained yet", "–"]
    score = entry["scores"][goal.score]
    reached = f"{percent(score['value'])} ({ends_text(score)}), {numbered('seed', entry['seeds'])}"
    return [f"`{goal.name}`", asked, reached, _met(score["value"] >= goal.level)]


def _met(reached: bool) -> str:
    return "yes" if reached else "**no**"
