from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.coverage_page import INTERVALS, TESTS, publish, render

MARKED = "before\n<!-- simulated: written by python -m benchmarks.coverage -->\nold\n<!-- end of simulated -->\nafter\n"


def case(**changed: Any) -> dict[str, Any]:
    return {
        "title": "balanced",
        "speakers": 50,
        "trials": 2000,
        "without": 0.0,
        "coverage": {"before": 0.91, "now": 0.951},
        "false_alarms": {"before": 0.1, "now": 0.05},
        **changed,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    right = dict.fromkeys(INTERVALS, 0.95)
    alone = {name: 0.9512 for name in INTERVALS if name != "folds"}
    alarms = dict.fromkeys((*INTERVALS, *TESTS), 0.0503)
    setting = {"coverage": alone, "difference": right, "false_alarms": alarms, "trials": 10_000}
    trained = {what: {"both": 0.951, "speakers": 0.8} for what in ("coverage", "false_alarms")}
    return {
        "cases": [case()],
        "settings": [{"speakers": count, **setting} for count in (20, 91)],
        "population": {"recipes": ["one", "other"], "clips": 7441, "shares": {"speaker": 0.1, "clip": 0.3}},
        "trainings": [{"speakers": 91, "folds": 5, "seeds": 3, "points": 2, "trials": 2000, **trained}],
    }


def test_what_was_simulated_is_between_the_marks(tmp_path: Path, result: dict[str, Any]) -> None:
    page, pictures = tmp_path / "method.md", tmp_path / "images"
    page.write_text(MARKED)
    publish(result, page, pictures)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert "| Interval of a UAR: serlab: speakers, widened to CR2 | 95.1 | 95.1 |" in text
    assert "Interval of a UAR: five folds" not in text
    assert "| False alarms: McNemar over clips | 5.0 | 5.0 |" in text
    assert "the standard error of 95 is 0.2" in text
    assert "speaker 10, clip 30" in text
    assert "| 91, 5 | 3 | 2 | 95.1 | 80.0 | 95.1 | 80.0 |" in text
    publish(result, page, pictures)
    assert page.read_text() == text
    for name in ("coverage.svg", "coverage-cases.svg"):
        assert f"(images/{name})" in text
        assert (pictures / name).read_text().startswith("<svg ")


def test_promises_are_beside_what_was_measured_and_missed_ones_are_bold(result: dict[str, Any]) -> None:
    assert "| balanced | 50 | **91.0** | 95.1 | **10.0** | 5.0 |" in render(result)


def test_experiments_without_an_interval_do_not_count(result: dict[str, Any]) -> None:
    row = case(without=0.1, coverage={"before": 0.81, "now": 0.855}, false_alarms={"before": 0.09, "now": 0.045})
    assert "| balanced | 50 | **90.0** | 95.0 | **10.0** | 5.0 |" in render({**result, "cases": [row]})


def test_a_family_has_no_interval_of_its_own(result: dict[str, Any]) -> None:
    row = case(title="5 equal models", false_alarms={"before": 0.32, "now": 0.04})
    del row["coverage"]
    assert "| 5 equal models | 50 | – | – | **32.0** | 4.0 |" in render({**result, "cases": [row]})


def test_only_finished_rows_are_shown(tmp_path: Path, result: dict[str, Any]) -> None:
    page = tmp_path / "method.md"
    page.write_text(MARKED)
    unfinished = {**result, "cases": [case(trials=1999)], "trainings": []}
    publish(unfinished, page, tmp_path)
    assert "| balanced |" not in page.read_text()
    assert "A fold's UAR scatters" not in page.read_text()
    assert not (tmp_path / "coverage-cases.svg").exists()
    assert "91 speakers" in page.read_text()


def test_rows_from_before_the_widening_say_so(result: dict[str, Any]) -> None:
    assert render(result).count("Simulated with expanded percentiles alone") == 2
    for part in ("settings", "trainings"):
        result[part] = [{**row, "method": "widened"} for row in result[part]]
    assert "Simulated with expanded percentiles alone" not in render(result)
