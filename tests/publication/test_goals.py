"""Goals are listed beside the results, including missed ones."""

from __future__ import annotations

from typing import Any

from publication.goals import GOALS, goals


def score(value: float, low: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": value + 0.02, "reason": "" if low is not None else "few speakers"}


def entry(name: str, uar: float, wa: float = 0.5) -> dict[str, Any]:
    return {"name": name, "seeds": [0], "scores": {"uar": score(uar, uar - 0.02), "wa": score(wa, wa - 0.02)}}


def gain(member: str, value: float, low: float) -> dict[str, Any]:
    return {"first": "resnet18+whisper-base", "second": member, "differences": {"uar": score(value, low)}}


OVERVIEW = {
    "protocols": [
        {
            "name": "emo-superb-5",
            "recipes": [entry("resnet18", 0.6199), entry("whisper-base", 0.71), entry("mfcc-svm", 0.3)],
            "fusions": [],
            "gains": [gain("resnet18", 0.1, 0.05), gain("whisper-base", 0.01, -0.01)],
        },
        {"name": "evar", "recipes": [entry("whisper-base-probe", 0.2, wa=0.7)], "fusions": [], "gains": []},
    ]
}


def test_each_goal_is_evaluated_by_its_own_figure() -> None:
    rows = [line.strip("| ").split(" | ") for line in goals(OVERVIEW).splitlines()[2:]]
    found = {(name, asked): (reached, met) for name, asked, reached, met in rows}
    assert len(found) == len(GOALS) + 2
    main = "on `emo-superb-5`"
    assert found["`whisper-base`", f"UAR 71.0 {main}"] == ("71.0 (69.0 to 73.0), seed 0", "yes")
    assert found["`resnet18`", f"UAR 62.0 {main}"] == ("62.0 (60.0 to 64.0), seed 0", "**no**")
    assert found["`mfcc-svm`", f"UAR 40.0 {main}"][1] == "**no**"
    assert found["`whisper-base-probe`", "WA 69.0 on `evar`"][1] == "yes"
    assert found["`resnet18 x 3`", f"UAR 65.0 {main}"] == ("not trained yet", "–")
    assert found["`resnet18+whisper-base`", "above `resnet18`, paired"][1] == "yes"
    assert found["`resnet18+whisper-base`", "above `whisper-base`, paired"] == ("1.0 points (−1.0 to 3.0)", "**no**")
