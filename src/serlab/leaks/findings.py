"""Findings of an audit: what each code means, and what was found here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note", "not applicable"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "not applicable")
"""From the gravest on."""


@dataclass(frozen=True)
class Code:
    """What a kind of finding is about.

    Attributes:
        title: in a few words.
        why: why it matters.
        todo: what to do.
    """

    title: str
    why: str
    todo: str


CODES: dict[str, Code] = {
    "SL001": Code(
        "A speaker on two sides",
        "A model knows a voice again, so scores on speakers that it was trained on say nothing about people it has "
        "never heard.",
        "Split by speaker: serlab split makes such a split, and the protocols speaker-<k> keep speakers apart (for "
        "CREMA-D, emo-superb-5).",
    ),
    "SL002": Code(
        "The same recording on two sides",
        "The test asks for clips that were learned by heart; another container, level, sample rate or end does not "
        "change that.",
        "Put all copies of a recording on one side (serlab split does), or keep one of them.",
    ),
    "SL003": Code(
        "The same recording under two labels",
        "At least one of the labels is wrong, so one of the two clips is scored as an error whatever a model says.",
        "Find out which label is right and drop the other clip.",
    ),
    "SL004": Code(
        "A silent, broken or clipped clip",
        "There is nothing in it to recognise, or only part of it.",
        "Replace the file or leave the clip out; serlab leaves out what cannot be read, and lists it.",
    ),
    "SL005": Code(
        "A sentence on two sides",
        "The model has learned how this very sentence sounds in each emotion; free speech will be harder.",
        "Say so beside the figure, or use a protocol that keeps sentences apart (for CREMA-D, actor-sentence-5).",
    ),
    "SL006": Code(
        "A nuisance tells the label",
        "What has nothing to do with emotion predicts the label, so a model may score well without hearing emotion.",
        "Look at how the clips were made; record or convert all labels alike, or balance them. Duration and level may "
        "carry emotion themselves.",
    ),
    "SL007": Code(
        "A label or the speakers are too few for a claim",
        "A score of a few clips or speakers moves by many points when one of them is exchanged.",
        "Gather more, join labels, or judge over all folds together.",
    ),
    "SL008": Code(
        "The speakers are unknown",
        "Nobody can tell whether the test voices were heard in training, and no interval can be given.",
        "Name the speakers: a table with a column speaker.",
    ),
    "SL009": Code(
        "Sides that are empty or used twice",
        "What chooses epochs and settings must not be what judges, and both need clips.",
        "Give training, dev and test clips of their own.",
    ),
    "SL010": Code(
        "The same voice under two speaker names",
        "If one person stands on two sides under two names, the test speakers were heard in training.",
        "Listen to the two; if they are one person, give them one name.",
    ),
    "SL011": Code(
        "Known faults of the corpus",
        "Others have found these clips to be faulty.",
        "Leave them out, or say that they are in.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        code: one of :data:`CODES`.
        severity: how grave it is.
        text: what was found here, a sentence.
        clips: the clips concerned, by id.
        pairs: pairs of clips or speakers, where the finding is about pairs.
        figures: numbers behind it, by name.
    """

    code: str
    severity: Severity
    text: str
    clips: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The finding as plain data, with the meaning of its code."""
        about = CODES[self.code]
        return {
            "code": self.code,
            "severity": self.severity,
            "title": about.title,
            "text": self.text,
            "clips": list(self.clips),
            "pairs": [list(pair) for pair in self.pairs],
            "figures": dict(self.figures),
            "why": about.why,
            "todo": about.todo,
        }


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings by severity, then code."""
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.code)))


def verdict(findings: Sequence[Mapping[str, Any]]) -> str:
    """The audit's result in one sentence.

    Args:
        findings: as :meth:`Finding.data` gives them.
    """
    by_severity = {
        severity: sorted({str(found["code"]) for found in findings if found["severity"] == severity})
        for severity in ("error", "warning")
    }
    if by_severity["error"]:
        return f"The leak audit found errors ({', '.join(by_severity['error'])}): these figures are not to be believed."
    if by_severity["warning"]:
        return f"The leak audit found no error, and warnings ({', '.join(by_severity['warning'])})."
    return "The leak audit found neither error nor warning."
