"""Findings of an audit, and the meaning of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note", "not applicable"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "not applicable")
"""Most severe first."""


@dataclass(frozen=True)
class Code:
    """The meaning of a kind of finding.

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
        "A speaker in two subsets",
        "A model recognises a voice from training, so scores on training speakers say nothing about new speakers.",
        "Split by speaker, as serlab's own splits and the protocols speaker-<k> do.",
    ),
    "SL002": Code(
        "The same recording in two subsets",
        "The test contains clips that were memorised in training. Another container, level, sample rate or end does "
        "not change that.",
        "Keep duplicates in one subset, as serlab's own splits do, or remove all but one.",
    ),
    "SL003": Code(
        "The same recording with two labels",
        "At least one of the labels is wrong, so one of the two clips counts as an error whatever the model predicts.",
        "Find out which label is right and remove the other clip.",
    ),
    "SL004": Code(
        "A silent, broken or clipped clip",
        "It contains no speech, or only part of it.",
        "Replace the file or leave the clip out. serlab leaves out files that cannot be read, and lists them.",
    ),
    "SL005": Code(
        "A sentence in two subsets",
        "The model has learned how this sentence sounds in each emotion; free speech will be harder.",
        "Say so next to the score, or use a protocol that keeps sentences apart, if the corpus has one.",
    ),
    "SL006": Code(
        "A confounder predicts the label",
        "A property unrelated to emotion predicts the label, so a model may score well without recognising emotion.",
        "Check how the clips were made. Record or convert all labels in the same way, or balance them. Duration and "
        "level may themselves carry emotion.",
    ),
    "SL007": Code(
        "Too few clips of a label, or too few speakers, for a claim",
        "A score on a few clips or speakers changes by many points if one of them is replaced.",
        "Collect more, merge labels, or evaluate over all folds together.",
    ),
    "SL008": Code(
        "Unknown speakers",
        "It is unknown whether test speakers were in training, and no interval can be computed.",
        "Name the speakers in a table with a column speaker.",
    ),
    "SL009": Code(
        "Subsets that are empty or used twice",
        "Clips that select epochs and settings must not be test clips, and both subsets need clips.",
        "Give training, dev and test separate clips.",
    ),
    "SL010": Code(
        "The same voice under two speaker names",
        "If a person is in two subsets under two names, test speakers were in training.",
        "Listen to both. If they are one person, give them one name.",
    ),
    "SL011": Code(
        "Known faults of the corpus",
        "These clips are known to be faulty.",
        "Leave them out, or say that they are included.",
    ),
    "SL012": Code(
        "A teacher or pretrained weights that have heard a held-out speaker",
        "The model knows test speakers through its teacher or through the weights that it starts from.",
        "Use a teacher of the same fold (training.teacher.recipe), or weights that have heard neither dev nor test "
        "speakers.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        code: one of :data:`CODES`.
        severity: how severe it is.
        text: what was found, as a sentence.
        clips: the clips concerned, by id.
        pairs: pairs of clips or speakers, if the finding is about pairs.
        figures: the numbers behind it, by name.
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


def most_severe_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
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
        return f"The leak audit found errors ({', '.join(by_severity['error'])}): do not trust these scores."
    if by_severity["warning"]:
        return f"The leak audit found no errors, but warnings ({', '.join(by_severity['warning'])})."
    return "The leak audit found no errors and no warnings."
