"""Render the table of kinds and the distinct causes as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fuzz.cases import COLUMNS, Tried, short


@dataclass
class Tally:
    """Results of all inputs of one kind.

    Attributes:
        inputs: number of inputs.
        failed: number of inputs with a fault, per column.
        causes: number of failing inputs per cause, and the first of them.
        seconds, megabytes: maximum time and memory of an input.
    """

    kind: str
    inputs: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    causes: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    seconds: float = 0.0
    megabytes: float = 0.0

    def add(self, found: Tried) -> None:
        """Count an input."""
        self.inputs += 1
        self.seconds, self.megabytes = max(self.seconds, found.seconds), max(self.megabytes, found.megabytes)
        self.failed.update({fault.column for fault in found.faults})
        for key, fault in {(fault.column, fault.where): fault for fault in found.faults}.items():
            count, first = self.causes.get(key, (0, f"{found.name}: {found.text}: {fault.text}"))
            self.causes[key] = count + 1, first


def markdown(tallies: Sequence[Tally], title: str) -> str:
    """The table, then a list of causes for each kind.

    Args:
        tallies: one per kind.
        title: description, e.g. seed and version.
    """
    head = ["kind", "inputs", *COLUMNS.values(), "longest", "most memory"]
    rows = [
        [
            tally.kind,
            f"{tally.inputs:,}",
            *(f"{tally.failed[column]:,}" for column in COLUMNS),
            f"{tally.seconds:.1f} s",
            f"{tally.megabytes:,.0f} MiB",
        ]
        for tally in tallies
    ]
    lines = [title, "", _row(head), _row(["---", *["---:"] * (len(head) - 1)]), *map(_row, rows)]
    for tally in tallies:
        if tally.causes:
            lines += ["", f"## {tally.kind}: {len(tally.causes)} causes", "", *_causes(tally)]
    return "\n".join(lines) + "\n"


def _causes(tally: Tally) -> Iterable[str]:
    for (column, where), (count, first) in sorted(tally.causes.items(), key=lambda item: (item[0][0], -item[1][0])):
        yield f"- {COLUMNS[column]}, {count:,} inputs: {where}. First {short(first, 420)}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
