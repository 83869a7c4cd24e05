"""The table lists measurements and goals; the plot shows the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness import SIZES, Outcome, Timing, record, save
from benchmarks.table import draw, publish, render

MARKS = "<!-- results: written by make bench -->\nold\n<!-- end of results -->"


def result(name: str, **figures: list[float]) -> dict[str, Any]:
    sides = {side: [Timing(2.0, 1, start_up=1.5)] for side in ("serlab", "peer")}
    return record(name, Outcome(figures, sides, "clip", {"corpus": "crema-d", "copy": "a copy"}), SIZES["full"])


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


@pytest.mark.parametrize(("ratio", "verdict"), [(2.9, "no"), (3.0, "yes"), (6.5, "stretch")])
def test_the_median_decides_whether_a_goal_is_met(ratio: float, verdict: str) -> None:
    line = line_of(render([result("log-mel", ratio=[ratio - 1, ratio, ratio + 9])]), "log-mel of clips")
    assert line.endswith(f"| {verdict} (at least 3, stretch 6) |")
    assert f"{ratio:.2f}x ({ratio - 1:.2f} to " in line


def test_a_row_with_two_goals_shows_both_verdicts() -> None:
    line = line_of(render([result("bootstrap", ratio=[150.0], seconds=[1.2])]), "10,000 replicates")
    assert "1.20 s; 150x" in line
    assert line.endswith("| no (at most 1); yes (at least 100) |")


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
    assert text.count("was measured on") == 1
    assert text.count("(a1; whisper-train: b2).") == 1


def test_full_results_go_between_the_marks_of_the_page_and_into_a_picture(tmp_path: Path) -> None:
    page, picture = tmp_path / "performance.md", tmp_path / "images" / "performance.svg"
    page.write_text(f"# Before\n\n{MARKS}\n\nAfter.\n", encoding="utf-8")
    save(result("log-mel", ratio=[3.5, 4.0, 4.5]), tmp_path / "one-kind")
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


def test_kinds_of_processors_are_side_by_side_with_goals_of_their_own(tmp_path: Path) -> None:
    intel = {"machine": result("log-mel", ratio=[1.0])["machine"] | {"processor": "Intel(R) Xeon(R) Processor"}}
    amx = {"machine": intel["machine"] | {"flags": ["avx2", "avx512f", "avx512_bf16", "amx_bf16"]}}
    plain = {"machine": intel["machine"] | {"flags": ["avx2", "avx512f"]}}
    found = [
        result("w2v2-predict-bf16", ratio=[4.0], ratio_bf16=[1.5]) | amx,
        result("w2v2-predict-bf16", ratio=[1.2]) | plain,
        result("log-mel", ratio=[5.0]) | plain,
    ]
    text = render(found)
    assert "| intel-amx: median (minimum to maximum) | goal met? | intel-avx512: median" in text
    cells = line_of(text, "prediction of files, wav2vec2-base, bf16").strip("| ").split(" | ")[2:]
    assert cells == [
        "4.00x; 1.50x the peer in bf16",
        "yes (at least 3.5, stretch 4.5); no (at least 1.6, stretch 2)",
        "1.20x",
        "yes (at least 1.1)",
    ]
    assert line_of(text, "log-mel").split(" | ")[2:4] == ["–", "–"]
    assert draw(found, tmp_path / "plot.svg")
    assert "intel-avx512" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_quick_results_stay_out_of_the_documentation_and_are_marked(tmp_path: Path) -> None:
    save(result("log-mel", ratio=[4.0]), tmp_path)
    path = publish("quick", tmp_path, tmp_path / "page.md", tmp_path / "picture.svg")
    assert "A quick pass" in path.read_text(encoding="utf-8")
    assert not (tmp_path / "page.md").exists()
    assert not (tmp_path / "picture.svg").exists()


def test_without_results_there_is_no_table() -> None:
    assert "no results yet" in render([])
