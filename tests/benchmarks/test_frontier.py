"""The picture of size, time and UAR names every recipe, at its published score."""

from __future__ import annotations

import json

from benchmarks import frontier


def test_the_picture_names_all_recipes(tmp_path, monkeypatch):
    score = {"value": 0.7, "low": 0.6, "high": 0.8}
    names = ("resnet18-small-distilled", "resnet18-distilled")
    report = {"recipes": [{"name": name, "scores": {"uar": score}} for name in names]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    monkeypatch.setattr(frontier, "RESULTS", tmp_path / "report.json")
    monkeypatch.setattr(frontier, "PICTURE", tmp_path / "frontier.svg")
    points = [("box", "fp32"), ("resnet18-distilled", "fp32"), ("resnet18-distilled", "int8")]
    frontier.draw([frontier.Point(name, precision, 1, 5.0, 10.0) for name, precision in points])
    drawn = (tmp_path / "frontier.svg").read_text()
    for text in ("box", "resnet18-distilled", "fp32", "int8"):
        assert text in drawn
