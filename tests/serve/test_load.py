"""The load generator finds no wrong answer of a good server, and finds those of a bad one."""

from __future__ import annotations

import asyncio

from benchmarks.load import Load


def test_a_good_server_has_no_wrong_answer(served):
    load = Load(served.url, 1.0)
    asyncio.run(load.run(12))
    assert not load.wrong
    assert load.codes["200"] > 12
    assert load.seconds


def test_wrong_answers_are_counted(served, monkeypatch):
    load = Load(served.url, 0.3)
    load._known = {number: [0.5, 0.5, 0.0] for number in range(12)}
    asyncio.run(load.run(2))
    assert set(load.wrong) == {"a clip had other probabilities"}
