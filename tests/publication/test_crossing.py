"""The published cross-corpus figures, computed again without serlab's evaluation; and what is not published."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from publication.crossing import Published, bodies

HOME = Path(__file__).parents[2]
RESULTS = HOME / "results"
REPORT = RESULTS / "cross-corpus" / "report"
COUNTS = pd.read_csv(REPORT / "speakers.csv", keep_default_na=False, dtype={"speaker": str})
CELLS = json.loads((REPORT / "report.json").read_text("utf-8"))["cells"]
TESTED = [cell for cell in CELLS if cell["uar"]]


def recall(cell: dict, what: str = "tested") -> float:
    """Mean over emotions of the share of right answers."""
    same = (COUNTS["recipe"] == cell["recipe"]) & (COUNTS["target"] == cell["target"])
    rows = COUNTS[same & (COUNTS["source"] == cell["source"]) & (COUNTS["normalised"] == cell["normalised"])]
    there = what if (rows["what"] == what).any() else "tested"
    rows = rows[rows["what"] == there]
    right = rows[rows["label"] == rows["predicted"]].groupby("label")["clips"].sum()
    return float(
        np.mean([right.get(label, 0) / clips for label, clips in rows.groupby("label")["clips"].sum().items()])
    )


@pytest.mark.parametrize("cell", TESTED, ids=lambda cell: f"{cell['recipe']} {cell['source']} to {cell['target']}")
def test_uar_follows_from_the_counts(cell: dict) -> None:
    assert recall(cell) == pytest.approx(cell["uar"]["value"], abs=1e-9)
    if cell["within"]:
        assert recall(cell, "paired") - recall(cell, "within") == pytest.approx(cell["within"]["drop"]["value"])


def test_the_page_has_the_tables_of_today() -> None:
    page = (HOME / "docs" / "corpora.md").read_text("utf-8")
    for body in bodies(RESULTS).values():
        assert body.strip() in page


def test_a_report_that_differs_from_its_counts_is_refused(tmp_path: Path) -> None:
    shutil.copytree(REPORT, tmp_path / "cross-corpus" / "report")
    path = tmp_path / "cross-corpus" / "report" / "report.json"
    content = json.loads(path.read_text("utf-8"))
    next(cell for cell in content["cells"] if cell["uar"])["uar"]["value"] += 0.01
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(SystemExit, match="the report says"):
        Published(tmp_path).check()


def test_intervals_are_given_from_ten_speakers_on() -> None:
    assert {cell["target"] for cell in TESTED if cell["uar"]["low"] is not None} == {"crema-d", "ased"}
    assert {cell["target"] for cell in TESTED if cell["uar"]["low"] is None} == {"tess", "emovo", "nemo"}


def test_only_crema_d_has_clip_tables() -> None:
    for path in RESULTS.rglob("*.parquet"):
        assert path.relative_to(RESULTS).parts[0] == "crema-d"
        clips = pd.read_parquet(path, columns=["clip"])["clip"]
        assert clips.str.fullmatch(r"1\d{3}_[A-Z]{3}_[A-Z]{3}_[A-Z0-9]{1,2}").all(), path


def test_every_test_is_in_the_ledger() -> None:
    lines = [json.loads(line) for line in (RESULTS / "ledger.jsonl").read_text("utf-8").splitlines()]
    entered = {(line["corpus"], line["protocol"], line["recipe"]) for line in lines}
    for path in RESULTS.glob("*/*/*/fold*-seed*.json"):
        signature = json.loads(path.read_text("utf-8"))
        if "crossing" in signature:
            assert path.relative_to(RESULTS).parts[:3] in entered


def test_no_path_of_a_disk_is_published() -> None:
    for path in [*REPORT.iterdir(), *RESULTS.glob("*/from-*/*/*.json"), *RESULTS.glob("*/as-is/*/*.json")]:
        assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text("utf-8")), path
