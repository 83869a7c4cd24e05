"""Training targets, evaluated against labels and votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from publication.targets import targets

from serlab.tables.predictions import Run, make_table

LABELS = ("happy", "sad")
MEANT = ["happy", "happy", "sad", "sad"]
HEARD = ["happy", "sad", "sad", "sad"]


def corpus() -> pd.DataFrame:
    rows = []
    for speaker in range(24):
        for take, (meant, heard) in enumerate(zip(MEANT, HEARD, strict=True)):
            votes = {f"votes_voice_{label}": 9 if label == heard else 1 for label in LABELS}
            rows.append({"clip": f"{speaker}-{take}", "speaker": str(speaker), "label": meant, **votes})
    return pd.DataFrame(rows)


def run(fold: int, kind: str | None, answers: list[str], **training: Any) -> Run:
    """A model of one fold of 12 speakers that gives its answer a probability of 90 %."""
    clips = corpus().iloc[48 * (fold - 1) : 48 * fold]
    right = np.array([[label == answer for label in LABELS] for answer in answers])
    logits = np.log(np.where(np.tile(right, (12, 1)), 0.9, 0.1))
    settings = {"epochs": 8, **({} if kind is None else {"targets": kind}), **training}
    signature = {"fold": fold, "seed": 0, "recipe": {"config": {"model": {"kind": "resnet"}, "training": settings}}}
    table = make_table(clips, logits, LABELS, side="test", fold=fold, seed=0)
    return Run(table, signature, Path(f"small-{kind}" if kind else "small") / f"fold{fold}-seed0.parquet")


def test_each_kind_is_evaluated_by_label_and_by_votes_on_the_folds_of_all() -> None:
    # A run without the setting is from before there was one: it learned the label.
    runs = [run(1, None, MEANT), run(2, None, ["sad"] * 4), run(1, "soft", HEARD), run(1, "both", MEANT)]
    text = targets(runs, corpus())
    assert text.startswith("`small` on fold 1, seed 0 (12 test actors)")
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in text.splitlines() if " | " in row}
    assert [cell.partition(" ")[0] for cell in cells["the intended label"][:3]] == ["100.0", "83.3", "73.3"]
    assert [cell.partition(" ")[0] for cell in cells["the voice votes"][:3]] == ["75.0", "100.0", "100.0"]
    assert [cell.partition(" ")[0] for cell in cells["soft less hard"][:2]] == ["−25.0", "16.7"]
    assert [cell.partition(" ")[0] for cell in cells["both less hard"][:2]] == ["0.0", "0.0"]
    assert cells["the voice votes"][3] == "0.000"


def test_recipes_that_differ_in_more_are_not_compared() -> None:
    runs = [run(1, None, MEANT), run(1, "soft", HEARD, epochs=9)]
    assert targets(runs, corpus()) == "No recipe has been trained on votes yet.\n"
