"""Write the audit's tables and figure for docs/audit.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import HOME
from benchmarks.table import fill
from serlab.report.words import counted

PAGE = HOME.parent / "docs" / "audit.md"
PICTURE = HOME.parent / "docs" / "images" / "audit.svg"
_BEGIN, _END = "<!-- measured: written by python -m benchmarks.leaks -->", "<!-- end of measured -->"


def publish(result: Mapping[str, Any], page: Path = PAGE, picture: Path = PICTURE) -> None:
    """Write the tables and the figure."""
    draw(result, picture)
    fill(page, _BEGIN, _END, render(result))


def render(result: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    by_corpus = {name: {row["kind"]: row for row in rows[1:]} for name, rows in result["recall"].items()}
    names = list(by_corpus)
    head = ["Change", *(f"Found, {name}" for name in names), *(f"False pairs, {name}" for name in names)]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for kind in by_corpus[names[0]]:
        rows = [by_corpus[name][kind] for name in names]
        cells = [f"{row['found']} of {row['planted']}" for row in rows] + [str(row["false"]) for row in rows]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    growth = result["growth"]
    lines += [
        "",
        *(
            f"Without any copy planted, {name} has {counted(len(result['recall'][name][0]['own']), 'pair')}."
            for name in names
        ),
        "",
        f"The threshold of {result['threshold']:g} was set on 100 clips of each corpus that are none of these.",
        *(_spread(name, result["distribution"][name]) for name in names),
        "",
        "![Correlations of copies and of other takes; seconds of the search by number of clips](images/audit.svg)",
        "",
        f"The whole audit of 7,442 clips took {result['first_seconds']:.0f} s the first time and "
        f"{result['again_seconds']:.1f} s when nothing had changed.",
        "",
        "| Clips | Search, s | Peak memory, MB |",
        "|--:|--:|--:|",
        *(f"| {row['clips']:,} | {row['seconds']:.1f} | {row['megabytes']:,.0f} |" for row in growth),
        "",
        _origin(result),
    ]
    return "\n".join(lines) + "\n"


def _spread(name: str, correlations: Mapping[str, Sequence[float]]) -> str:
    copies, takes = (np.array(correlations[kind]) for kind in ("copies", "takes"))
    return (
        f"In {name}, their copies correlate by {copies.min():.2f} or more (one in a hundred below "
        f"{np.quantile(copies, 0.01):.2f}), other takes of the sentence by the same speaker by {takes.max():.2f} at "
        f"most (one in a hundred above {np.quantile(takes, 0.99):.2f})."
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the threshold and the growth of the search."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 51)
    for kind, label in (("takes", "other takes, same speaker and sentence"), ("copies", "copies, changed")):
        both = [value for each in result["distribution"].values() for value in each[kind]]
        left.hist(both, edges, density=True, alpha=0.75, label=label)
    left.axvline(result["threshold"], color="0.2", linestyle=":", label="threshold")
    left.set(xlabel="correlation of the aligned waveforms, both corpora", ylabel="density")
    left.legend(frameon=False, fontsize=8)
    counts = [row["clips"] for row in result["growth"]]
    right.loglog(counts, [row["seconds"] for row in result["growth"]], marker="o", label="measured")
    first = result["growth"][0]["seconds"]
    right.loglog(counts, [first * count / counts[0] for count in counts], linestyle=":", color="0.4", label="linear")
    right.set(xlabel="clips", ylabel="seconds of the search")
    right.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _origin(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return f"Measured on {machine['processor']}, {counted(machine['threads'], 'thread')}; CREMA-D at 11,025 Hz."
