"""Tables of the cross-corpus results, computed again from the confusion counts by speaker in ``results/``.

Clips of other corpora than CREMA-D are not published, because of their licences; the counts are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from publication.tables import table
from serlab.evaluation.bootstrap import Difference, differences, intervals
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.metrics import UAR
from serlab.evaluation.resampling import Interval, Resampling
from serlab.experiments.layout import AS_IS, protocol_from
from serlab.report.crossing_counts import KEYS, counts_of, read
from serlab.report.words import percent, points
from serlab.tables.predictions import read_run

REPORT = Path("cross-corpus") / "report"
ONLY_UAR = {"uar": UAR}
Cell = Mapping[str, Any]


class Published:
    """The cells of the published report, with their counts.

    Args:
        results: the folder ``results/``.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        content = json.loads((results / REPORT / "report.json").read_text(encoding="utf-8"))
        self.cells: list[Cell] = content["cells"]
        self.counts = read(results / REPORT / "speakers.csv")

    def counts_of(self, cell: Cell, what: str) -> SpeakerCounts:
        """The counts of a cell: ``tested``, ``within``, ``paired`` or ``inside``."""
        mine = self.counts
        for key in KEYS:
            mine = mine[mine[key] == cell[key]]
        rows = mine[mine["what"] == what]
        if what == "paired" and rows.empty:
            rows = mine[mine["what"] == "tested"]
        labels = cell["labels"] or sorted({*rows["label"], *rows["predicted"]})
        return counts_of(rows.reset_index(drop=True), labels)

    def uar(self, cell: Cell, what: str = "tested") -> Interval:
        """The UAR of a cell, computed again."""
        counts = self.counts_of(cell, what)
        found: Interval = intervals(counts, metrics=ONLY_UAR, resampling=Resampling(known=True))["uar"]
        return found

    def drop(self, cell: Cell) -> Difference:
        """The paired difference from training within the target, computed again."""
        one, other = (self.counts_of(cell, what) for what in ("paired", "within"))
        found: Difference = differences(one, other, metrics=ONLY_UAR, resampling=Resampling(known=True))["uar"]
        return found

    def check(self) -> None:
        """Stop if the report says anything else than the counts, or these than a table of CREMA-D."""
        for cell in self.cells:
            pairs: list[tuple[Mapping[str, Any], Interval | Difference]] = []
            if cell["uar"]:
                pairs.append((cell["uar"], self.uar(cell)))
            if cell["inside"]:
                pairs.append((cell["inside"], self.uar(cell, "inside")))
            if cell["within"]:
                pairs.append((cell["within"]["drop"], self.drop(cell)))
            for said, found in pairs:
                for key in ("value", "low", "high"):
                    if not same(said[key], getattr(found, key)):
                        where = f"{cell['title']}, {cell['source']} to {cell['target']}"
                        sys.exit(f"{where}: the report says {said[key]}, the counts {getattr(found, key)} ({key}).")
        for path in sorted((self.results / "crema-d").glob("*/*/fold1-seed0.parquet")):
            run = read_run(path)
            if "crossing" in run.signature:
                self._check_table(path, run.table, run.signature)

    def _check_table(self, path: Path, rows: pd.DataFrame, signature: Mapping[str, Any]) -> None:
        name = path.parent.name
        protocol = signature["protocol"]["name"]
        cell = next(
            each
            for each in self.cells
            if each["recipe"] == name and each["target"] == "crema-d" and protocol == protocol_of(each)
        )
        counts = count_by_speaker(rows[rows["side"] == "test"].reset_index(drop=True), cell["labels"])
        if not np.array_equal(counts.matrices, self.counts_of(cell, "tested").matrices):
            sys.exit(f"{path} does not give the counts of the report.")


def same(one: float | None, other: float | None) -> bool:
    """Whether two values are equal up to rounding, or both missing."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < 1e-9


def protocol_of(cell: Cell) -> str:
    """Name of a cell's folder, between target and recipe."""
    if not cell["source"]:
        return AS_IS
    return protocol_from(cell["source"], balanced=cell["balanced"], normalised=cell["normalised"])


def row_of(cell: Cell) -> str:
    """What a model was trained on."""
    return f"`{cell['source']}`{', normalised' if cell['normalised'] else ''}" if cell["source"] else "–"


def matrix(found: Published) -> str:
    """One row per recipe and source, one column per target: UAR with its interval, and the number of emotions."""
    targets = list(dict.fromkeys(cell["target"] for cell in found.cells))
    rows = []
    for title, row in dict.fromkeys((cell["title"], row_of(cell)) for cell in found.cells):
        mine = {cell["target"]: cell for cell in found.cells if (cell["title"], row_of(cell)) == (title, row)}
        if any(cell["uar"] or cell["inside"] for cell in mine.values()):
            rows.append([title, row, *(_cell(found, mine.get(target)) for target in targets)])
    return table(["Recipe", "Trained on", *(f"`{target}`" for target in targets)], rows, left=2)


def _cell(found: Published, cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell["uar"]:
        return f"**{percent(cell['uar']['value'])}** ({_ends(found, cell, 'tested')}; {len(cell['labels'])})"
    if cell["inside"]:
        return f"*{percent(cell['inside']['value'])} ({_ends(found, cell, 'inside')})*"
    return "heard" if "SL012" in cell["reason"] else "–"


def _ends(found: Published, cell: Cell, what: str) -> str:
    score = found.uar(cell, what)
    if score.low is None or score.high is None:
        return f"{len(found.counts_of(cell, what).speakers)} speakers"
    return f"{percent(score.low)} to {percent(score.high)}"


def drops(found: Published) -> str:
    """What is lost against training within the target, for targets with intervals."""
    rows = []
    for cell in found.cells:
        if not cell["within"] or cell["within"]["drop"]["low"] is None:
            continue
        drop = found.drop(cell)
        assert drop.low is not None
        assert drop.high is not None
        within = cell["within"]["uar"]["value"]
        rows.append(
            [
                cell["title"],
                row_of(cell),
                f"`{cell['target']}`",
                percent(within),
                f"{points(drop.value)} ({points(drop.low)} to {points(drop.high)})",
            ]
        )
    return table(["Recipe", "Trained on", "Tested on", "UAR within", "Difference, points (95 %)"], rows, left=3)


def bodies(results: Path) -> dict[str, str]:
    """The tables by their marks; empty without results."""
    if not (results / REPORT / "report.json").is_file():
        return {}
    found = Published(results)
    found.check()
    return {"cross-corpus": matrix(found), "cross-corpus-drops": drops(found)}
