"""The worked example: the most confident fear for a neutral clip, only from tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from publication.example import example

from serlab.tables.predictions import Run

LABELS = ("fear", "neutral", "sad")


def a_run(name: str, surest: float, seed: int = 0, draw: int = 0) -> Run:
    random = np.random.default_rng(draw)
    rows = []
    for side, speakers in (("dev", range(12)), ("test", range(20, 24))):
        for speaker in speakers:
            for place, label in enumerate(LABELS):
                logits = random.normal(0, 1, 3) + 2 * np.eye(3)[place]
                rows.append([f"{speaker}_{label}", str(speaker), label, side, 1, seed, *logits])
    columns = ["clip", "speaker", "label", "side", "fold", "seed", *(f"logit_{label}" for label in LABELS)]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table["clip"] == "21_neutral", columns[6:]] = [surest, 0.0, -1.0]
    return Run(table, {}, Path(name) / f"fold1-seed{seed}.parquet")


def test_the_surest_of_all_models_is_shown_for_each_of_them() -> None:
    text = example([a_run("one", 4.0), a_run("other", 6.0, draw=1)])
    assert "`21_neutral` (fold 1)" in text
    assert "`other` (seed 0) is surest" in text
    probability = 100 * np.exp(6) / (np.exp(6) + 1 + np.exp(-1))
    (row,) = [line for line in text.splitlines() if line.startswith("| `other`")]
    assert f"| {probability:.1f}, " in row
    assert any(line.startswith("| `one`") for line in text.splitlines())
    assert text.endswith("2 of the 2 models give fear more than neutral.\n")
    assert "1 of the 2 models" in example([a_run("one", 4.0), a_run("other", -1.0)])


def test_trainings_of_one_recipe_are_distinguished_by_their_seeds() -> None:
    text = example([a_run("one", 4.0), a_run("other", 5.0), a_run("other", 6.0, seed=1)])
    assert "`other` (seed 1) is surest" in text
    names = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    assert names == ["| `one`", "| `other`, seed 0", "| `other`, seed 1"]


def test_votes_are_shown_if_they_are_known() -> None:
    clips = pd.DataFrame(
        {"clip": ["21_neutral"], "votes_voice_fear": [5], "votes_voice_neutral": [3], "votes_voice_sad": [1]}
    )
    text = example([a_run("one", 4.0)], clips)
    assert "Of the 9 people who heard it, 5 called it fear and 3 neutral." in text


def test_no_such_clip_gives_no_example() -> None:
    run = a_run("one", -9.0)
    sure = run.table["label"] == "neutral"
    run.table.loc[sure, ["logit_fear", "logit_neutral"]] = [-9.0, 9.0]
    assert example([run]) == ""
    assert example([]) == ""
