"""The published tables show and compare every recipe, whatever its training score."""

from publication.tables import differences


def entry(name: str, uar: float, learned: bool | None) -> dict:
    return {"name": name, "title": name.upper(), "scores": {"uar": {"value": uar}}, "learned": learned}


def pair(first: str, second: str) -> dict:
    gain = {"value": 0.05, "low": 0.02, "high": 0.08, "reason": ""}
    return {
        "first": first,
        "second": second,
        "answer": "better",
        "answer_alone": "better",
        "family": 3,
        "scope": "models",
        "differences": {"uar": gain},
        "p_holm": 0.01,
        "folds": [1],
        "seeds": [0],
    }


def test_each_recipe_is_compared_with_the_next_one():
    recipes = [entry("a", 0.6, True), entry("b", 0.5, None), entry("c", 0.2, False)]
    report = {"recipes": recipes, "pairs": [pair("a", "b"), pair("a", "c"), pair("b", "c")]}
    rows = [line.split(" | ")[:2] for line in differences(report).splitlines()[2:]]
    assert rows == [["| A", "B"], ["| B", "C"]]
