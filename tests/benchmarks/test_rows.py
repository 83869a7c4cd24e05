"""Every row can be built, and one of them runs; no test depends on speed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from benchmarks.__main__ import main, measure, still_valid
from benchmarks.harness import SIZES, Outcome, Skipped, Timing, load, record, save
from benchmarks.rows import ROWS, Goal

TINY, FULL = SIZES["tiny"], SIZES["full"]


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_a_measurement_and_goals_that_can_be_surpassed(name: str) -> None:
    row = ROWS[name]
    module, function = row.measure.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert set(row.needs) <= ROWS.keys()
    for goal in row.goals:
        assert goal.met(goal.goal)
        if goal.stretch is not None:
            assert goal.met(goal.stretch)
            assert not goal.met(goal.goal, goal.stretch)


def test_a_goal_of_seconds_is_met_from_below() -> None:
    assert Goal("seconds", 2).met(1.9)
    assert not Goal("seconds", 2).met(2.1)
    assert not Goal("ratio", 2).met(1.9)


def test_a_tiny_row_runs_and_its_file_says_what_it_is(tiny_bench: Path) -> None:
    assert measure([ROWS["log-mel"]], TINY, tiny_bench) == 0
    result = json.loads((tiny_bench / "log-mel.json").read_text(encoding="utf-8"))
    assert result["mode"] == "tiny"
    assert result["peer"] == "librosa loop"
    assert set(result["figures"]["ratio"]) == {"min", "median", "max"}
    assert [len(result["sides"][side]["seconds_a_clip"]) for side in ("serlab", "peer")] == [TINY.repeats] * 2
    assert result["sides"]["serlab"]["clips"] == [TINY.clips] * TINY.repeats
    assert {"processor", "cores", "threads", "flags", "memory_gib"} <= result["machine"].keys()
    assert {"python", "torch", "transformers", "numpy", "librosa", "serlab"} <= result["versions"].keys()
    assert [(goal["goal"], goal["stretch"]) for goal in result["goals"]] == [(3, 6)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_toy_models_train_through_every_side(tiny_bench: Path) -> None:
    names = ("w2v2-train-all", "w2v2-train-top4", "w2v2-five-epochs-all", "w2v2-five-epochs-top4")
    assert measure([ROWS[name] for name in names], TINY, tiny_bench) == 0
    assert load("w2v2-five-epochs-top4", tiny_bench)["extrapolated"]


def outcome(ours: float, peer: float, fill: float = 0.0) -> Outcome:
    sides = {
        "serlab": [Timing(10 * ours, 10, extra={"fill_seconds_a_clip": fill})],
        "peer": [Timing(10 * peer, 10)],
    }
    return Outcome({"ratio": [peer / ours]}, sides, "clip", {"batch_size": 8})


def test_five_epochs_fill_the_cache_once(tmp_path: Path) -> None:
    save(record("w2v2-train-all", outcome(0.4, 1.0, fill=0.5), TINY), tmp_path)
    extrapolate = importlib.import_module("benchmarks.encoders").extrapolate
    found = extrapolate(TINY, ["w2v2-five-epochs-all"], tmp_path)["w2v2-five-epochs-all"]
    assert found.figures["ratio"] == pytest.approx([5 * 1.0 / (0.5 + 5 * 0.4)])
    with pytest.raises(Skipped, match="w2v2-train-top4"):
        extrapolate(TINY, ["w2v2-five-epochs-top4"], tmp_path)


def test_a_full_row_is_done_once_unless_forced(
    tiny_bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []
    features = importlib.import_module("benchmarks.features")
    monkeypatch.setattr(
        features, "measure", lambda size, rows, folder: calls.append(rows) or dict.fromkeys(rows, outcome(1.0, 4.0))
    )
    row = ROWS["log-mel"]
    measure([row], FULL, tiny_bench)
    measure([row], FULL, tiny_bench)
    assert len(calls) == 1
    assert "log-mel: done already" in capsys.readouterr().err
    measure([row], FULL, tiny_bench, force=True)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "change", [{"mode": "quick"}, {"code": "older"}, {"machine": {}}, {"versions": {}}, {"format": 0}]
)
def test_a_result_of_other_origin_is_not_taken_over(tiny_bench: Path, change: dict[str, object]) -> None:
    result = record("log-mel", outcome(1.0, 4.0), FULL)
    save(result, tiny_bench)
    assert still_valid("log-mel", FULL, tiny_bench)
    save(result | change, tiny_bench)
    assert not still_valid("log-mel", FULL, tiny_bench)


def test_a_row_that_cannot_be_measured_here_is_named_and_the_others_continue(
    tiny_bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> dict[str, Outcome]:
        raise Skipped("no such precision")

    monkeypatch.setattr(importlib.import_module("benchmarks.whisper"), "measure", refuse)
    assert measure([ROWS["whisper-train"], ROWS["log-mel"]], TINY, tiny_bench) == 1
    assert "whisper-train cannot be measured here: no such precision" in capsys.readouterr().err
    assert load("log-mel", tiny_bench) is not None


def test_a_wrong_name_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log-mell"]) == 2
    assert "did you mean 'log-mel'" in capsys.readouterr().err


def test_a_described_corpus_is_loaded_twice_and_compared_with_a_loop(tiny_bench: Path) -> None:
    names = ("described-first", "described-again")
    assert measure([ROWS[name] for name in names], TINY, tiny_bench) == 0
    first, again = (load(name, tiny_bench) for name in names)
    for found in (first, again):
        assert found["sides"]["serlab"]["files"] == [200] * TINY.repeats
        assert set(found["figures"]) == {"seconds", "ratio"}
