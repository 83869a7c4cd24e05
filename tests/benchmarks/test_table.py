"""The table lists measurements and goals; the plot shows the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness import SIZES, Outcome, Timing, record, save
from benchmarks.table import publish, render

MARKS = "<!-- results: written by make bench -->\nold\n<!-- end of results -->"


def result(name: str, **figures: list[float]) -> dict[str, Any]:
    sides = {side: [Timing(2.0, 1, start_up=1.5)] for side in ("serlab", "peer")}
    return record(name, Outcome(figures, sides, "clip", {"corpus": "crema-d", "copy": "a copy"}), SIZES["full"])


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


@pytest.mark.parametrize(("ratio", "verdict"), [(2.9, "no"), (3.0, "yes"), (6.5, "stretch")])
def test_the_median_decides_whether_a_goal_is_met(ratio: float, verdict: str) -> None:
    line = line_of(render([result("log-mel", ratio=[ratio - 1, ratio, ratio + 9])]), "log-mel of clips")
    assert line.endswith(f"| {verdict} |")
    assert f"{ratio:.2f}x ({ratio - 1:.2f} to " in line


def test_a_row_with_two_goals_shows_both_verdicts() -> None:
    line = line_of(render([result("bootstrap", ratio=[150.0], seconds=[1.2])]), "10,000 replicates")
    assert "1.20 s; 150x" in line
    assert line.endswith("| no; yes |")


def test_extrapolated_ratios_are_called_so() -> None:
    assert "(extrapolated)" in line_of(render([result("w2v2-five-epochs-all", ratio=[2.5])]), "five epochs")


def test_growth_is_relative_to_its_first_figure() -> None:
    growth = result("growth") | {
        "figures": {},
        "by_clips": [{"clips": n, "scan": c, "log_mel": 2 * c, "predict": c} for n, c in ((1000, 2.0), (3000, 3.0))],
        "by_length": [{"seconds": s, "ms_a_second": c} for s, c in ((1, 4.0), (30, 5.0))],
    }
    text = render([growth])
    assert "| 3,000 | 1.50 | 1.50 | 1.50 |" in text
    assert "| cost | 1.00 | 1.25 |" in text


def test_a_machine_is_listed_once_with_the_commits_of_its_rows() -> None:
    rows = [
        result(name, ratio=[3.0]) | {"commit": commit} for name, commit in (("log-mel", "a1"), ("whisper-train", "b2"))
    ]
    text = render([*rows, result("resnet18-train", ratio=[1.0]) | {"commit": "a1"}])
    assert text.count("Measured on") == 1
    assert text.count("(a1; whisper-train: b2).") == 1


def test_full_results_go_between_the_marks_of_the_page_and_into_a_picture(tmp_path: Path) -> None:
    page, picture = tmp_path / "performance.md", tmp_path / "images" / "performance.svg"
    page.write_text(f"# Before\n\n{MARKS}\n\nAfter.\n", encoding="utf-8")
    save(result("log-mel", ratio=[3.5, 4.0, 4.5]), tmp_path)
    for _ in range(2):
        assert publish("full", tmp_path, page, picture) == page
        text = page.read_text(encoding="utf-8")
        assert text.startswith("# Before\n\n<!-- results")
        assert text.endswith("<!-- end of results -->\n\nAfter.\n")
        assert text.count("4.00x (3.50 to 4.50)") == 1
        assert "images/performance.svg" in text
        assert "old" not in text
    svg = picture.read_text(encoding="utf-8")
    assert "log-mel" in svg
    assert "var(" not in svg


def test_quick_results_stay_out_of_the_documentation_and_are_marked(tmp_path: Path) -> None:
    save(result("log-mel", ratio=[4.0]), tmp_path)
    path = publish("quick", tmp_path, tmp_path / "page.md", tmp_path / "picture.svg")
    assert "A quick pass" in path.read_text(encoding="utf-8")
    assert not (tmp_path / "page.md").exists()
    assert not (tmp_path / "picture.svg").exists()


def test_without_results_there_is_no_table() -> None:
    assert "no results yet" in render([])
