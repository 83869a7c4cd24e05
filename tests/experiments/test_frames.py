"""The DataFrames of a comparison's scores and differences equal its report.json."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from serlab.experiments.frames import differences_of, scores_of

SCORES = ["recipe", "title", "side", "metric", "value", "low", "high", "reason", "clips", "speakers"]
DIFFERENCES = [
    "first", "second", "metric", "value", "low", "high", "reason", "answer", "p", "p_holm", "clips", "speakers",
]  # fmt: skip


@pytest.fixture
def report(tiny_comparison):
    return json.loads(tiny_comparison.report.with_name("report.json").read_text())


def test_scores_are_those_of_the_report(tiny_comparison, report):
    scores = tiny_comparison.scores
    assert list(scores.columns) == SCORES
    assert scores["recipe"].drop_duplicates().tolist() == [recipe["name"] for recipe in report["recipes"]]
    for recipe in report["recipes"]:
        rows = scores[scores["recipe"] == recipe["name"]].set_index("metric")
        assert rows["value"].to_dict() == {metric: score["value"] for metric, score in recipe["scores"].items()}
        assert set(rows["clips"]) == {recipe["clips"]}
        assert set(rows["side"]) == {"test"}
        assert rows["reason"].tolist() == [score["reason"] for score in recipe["scores"].values()]


def test_differences_are_those_of_the_report(tiny_comparison, report):
    differences = tiny_comparison.differences
    assert list(differences.columns) == DIFFERENCES
    uar = differences[differences["metric"] == "uar"]
    assert uar[["first", "second"]].to_numpy().tolist() == [[p["first"], p["second"]] for p in report["pairs"]]
    assert uar["value"].tolist() == [pair["differences"]["uar"]["value"] for pair in report["pairs"]]
    assert uar["answer"].tolist() == [pair["answer"] for pair in report["pairs"]]
    assert differences.loc[differences["metric"] != "uar", ["answer", "p", "p_holm"]].isna().all(axis=None)
    assert differences["low"].isna().all()
    assert differences["reason"].str.contains("fewer than 10 speakers").all()


def test_a_pair_that_cannot_be_compared_has_a_row_with_the_reason():
    pair = {"first": "a", "second": "b", "differences": None, "reason": "they have no clip in common", "p_holm": None}
    (row,) = differences_of({"pairs": [pair]}).to_dict("records")
    assert (row["first"], row["second"], row["reason"]) == ("a", "b", "they have no clip in common")
    assert pd.isna(row["value"])


def test_columns_and_their_types_stay_without_rows():
    scores, differences = scores_of({"recipes": []}), differences_of({"pairs": []})
    assert (list(scores.columns), list(differences.columns)) == (SCORES, DIFFERENCES)
    assert scores["value"].dtype == differences["p_holm"].dtype == "float64"
