"""Trials on dev subsets only, beside the preset that they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from publication.ablations import ablations

from serlab.tables.predictions import Run, make_table

LABELS = ("happy", "sad")
CORPUS = {"fingerprint": "0", "labels": list(LABELS), "speakers_known": True}


def run(folder: str, epochs: int, answers: dict[str, list[str]], train_uar: float) -> Run:
    """A model with 12 speakers per subset that gives these answers to a happy and a sad clip."""
    tables = []
    for side, answer in answers.items():
        clips = pd.DataFrame(
            [{"clip": f"{side}-{k}-{m}", "speaker": f"{side}-{k}", "label": m} for k in range(12) for m in LABELS]
        )
        right = np.array([[label == each for label in LABELS] for each in answer])
        logits = np.log(np.where(np.tile(right, (12, 1)), 0.9, 0.1))
        tables.append(make_table(clips, logits, LABELS, side=side, fold=3, seed=0))
    recipe: dict[str, Any] = {"title": "Small", "hash": folder, "config": {"training": {"epochs": epochs}}}
    signature = {"fold": 3, "seed": 0, "recipe": recipe, "training": {"train_uar": train_uar}}
    signature |= {"corpus": CORPUS, "protocol": {"name": "main"}}
    return Run(pd.concat(tables, ignore_index=True), signature, Path(folder) / "fold3-seed0.parquet")


PRESET = run("small", 15, {"dev": ["happy", "happy"], "test": ["happy", "sad"]}, 0.6)


def test_a_configuration_of_dev_alone_is_compared_on_dev() -> None:
    text = ablations([PRESET, run("small-0a1b2c", 30, {"dev": ["happy", "sad"]}, 0.8)])
    *_, row = text.splitlines()
    cells = row.strip("| ").split(" | ")
    assert cells[:5] == ["Small (epochs 30)", "Small (epochs 15)", "3; 0", "100.0", "50.0"]
    assert cells[5].startswith("50.0 (")
    assert cells[6:] == ["80.0", "60.0"]


def test_what_has_read_test_is_not_a_trial_of_dev() -> None:
    other = run("small-0a1b2c", 30, {"dev": ["happy", "sad"], "test": ["happy", "sad"]}, 0.8)
    assert ablations([PRESET, other]) == ablations([]) == "Nothing has been tried on dev subsets alone yet.\n"


def test_a_trial_of_another_fold_or_seed_is_compared_with_nothing() -> None:
    other = run("small-0a1b2c", 30, {"dev": ["happy", "sad"]}, 0.8)
    other.signature["fold"] = 4
    moved = Run(other.table.assign(fold=4), other.signature, Path("small-0a1b2c") / "fold4-seed0.parquet")
    assert ablations([PRESET, moved]) == ablations([])
