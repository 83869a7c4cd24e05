from __future__ import annotations

from benchmarks.coverage_page import INTERVALS, TESTS, publish


def test_what_was_simulated_is_between_the_marks(tmp_path):
    page, picture = tmp_path / "method.md", tmp_path / "images" / "coverage.svg"
    page.write_text(
        "before\n<!-- simulated: written by python -m benchmarks.coverage -->\nold\n<!-- end of simulated -->\nafter\n"
    )
    right = dict.fromkeys(INTERVALS, 0.95)
    alone = {name: 0.9512 for name in INTERVALS if name != "folds"}
    alarms = dict.fromkeys((*INTERVALS, *TESTS), 0.0503)
    setting = {"coverage": alone, "difference": right, "false_alarms": alarms}
    trained = {what: {"both": 0.951, "speakers": 0.8} for what in ("coverage", "false_alarms")}
    shares = {"speaker": 0.1, "clip": 0.3}
    result = {
        "trials": 10000, "replicates": 2000, "training_trials": 2000,
        "settings": [{"speakers": count, **setting} for count in (20, 91)],
        "population": {"recipes": ["one", "other"], "clips": 7441, "shares": shares},
        "trainings": [{"speakers": 91, "folds": 5, "seeds": 3, "points": 2, **trained}],
    }  # fmt: skip
    publish(result, page, picture)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert "| Interval of a UAR: serlab: speakers, expanded percentiles | 95.1 | 95.1 |" in text
    assert "Interval of a UAR: five folds" not in text
    assert "| False alarms: McNemar over clips | 5.0 | 5.0 |" in text
    assert "the standard error of 95 is 0.2" in text
    assert "speaker 10, clip 30" in text
    assert "| 91, 5 | 3 | 2 | 95.1 | 80.0 | 95.1 | 80.0 |" in text
    publish(result, page, picture)
    assert page.read_text() == text
    assert picture.read_text().lstrip().startswith("<?xml")
