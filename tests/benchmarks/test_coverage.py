"""A killed simulation goes on where it stopped, and rows of another method are made again."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.coverage import complete, resumed

from serlab.core.files import write_json


class Coin:
    """Simulations of which one in four experiments holds; records what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[range] = []

    def __call__(self, trials: range) -> dict[str, Any]:
        self.asked.append(trials)
        holds = sum(trial % 4 == 0 for trial in trials) / len(trials)
        return {"trials": len(trials), "without": 0.0, "coverage": {"now": holds}}


def last_of(rows: Any) -> list[dict[str, Any]]:
    *_, last = rows
    return last


def test_killed_and_resumed_is_undisturbed() -> None:
    what = [({"name": "one", "title": "first"}, Coin()), ({"name": "two", "title": "second"}, Coin())]
    undisturbed = last_of(complete([], what, 1203))
    stopped = complete([], what, 1203)
    for _ in range(3):
        killed = next(stopped)
    coins = [({"name": "one", "title": "first"}, Coin()), ({"name": "two", "title": "second"}, Coin())]
    assert last_of(complete(killed, coins, 1203)) == undisturbed
    assert [coin.asked for _, coin in coins] == [[range(1000, 1203)], [range(500, 1000), range(1000, 1203)]]
    assert undisturbed[0]["coverage"]["now"] == pytest.approx(301 / 1203, abs=1e-3)


def test_more_experiments_are_added_and_fewer_are_not_made_again() -> None:
    what = [({"name": "one", "title": ""}, Coin())]
    rows = last_of(complete([], what, 500))
    assert list(complete(rows, what, 300)) == []
    assert last_of(complete(rows, what, 800))[0]["trials"] == 800


def test_a_row_of_another_method_is_replaced_and_others_stay() -> None:
    old = [{"name": name, "trials": 10_000, "coverage": {"now": 0.1}} for name in ("one", "two")]
    coin = Coin()
    rows = next(complete(old, [({"name": "one", "title": ""}, coin), ({"name": "two", "title": ""}, coin)], 500))
    assert [row["trials"] for row in rows] == [500, 10_000]
    assert rows[0]["coverage"]["now"] == 0.25


def test_another_population_starts_again(tmp_path) -> None:
    path = tmp_path / "coverage.json"
    assert resumed(path, {"clips": 1})["cases"] == []
    write_json(path, {"population": {"clips": 1}, "cases": [{"name": "one"}], "settings": [], "trainings": []})
    assert resumed(path, {"clips": 1})["cases"] == [{"name": "one"}]
    assert resumed(path, {"clips": 2})["cases"] == []
