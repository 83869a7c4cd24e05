"""Several trainings of a recipe: each one, their mean, and the mean of their models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from publication.seeds import seeds

from serlab.tables.predictions import Run, make_table

LABELS = ("happy", "sad")
TITLES = {"small": "Small", "other": "Other"}


def run(name: str, fold: int, seed: int, sure: list[float], side: str = "test") -> Run:
    """A model of 12 speakers of two clips each, one meant as happy, one as sad, that says happy as sure as given."""
    clips = pd.DataFrame(
        [
            {"clip": f"{fold}-{speaker}-{label}", "speaker": f"{fold}-{speaker}", "label": label}
            for speaker in range(12)
            for label in LABELS
        ]
    )
    shares = np.array([[p, 1 - p] for p in sure])
    table = make_table(clips, np.log(np.tile(shares, (12, 1))), LABELS, side=side, fold=fold, seed=seed)
    recipe = {"name": name, "title": name, "hash": name, "pretrained": None}
    signature = {"fold": fold, "seed": seed, "recipe": recipe, "cost": {"peak_memory_mb": 1.0}}
    return Run(table, signature, Path(name) / f"fold{fold}-seed{seed}.parquet")


def cells(text: str) -> dict[str, list[str]]:
    rows = [row.strip("| ").split(" | ") for row in text.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def test_a_recipe_counts_with_the_folds_that_all_its_seeds_have() -> None:
    runs = [
        run("small", 1, 0, [0.9, 0.6]),
        run("small", 2, 0, [0.9, 0.1]),
        run("small", 3, 0, [0.1, 0.9]),
        run("small", 1, 1, [0.9, 0.1]),
        run("small", 2, 1, [0.1, 0.1]),
        run("other", 1, 0, [0.9, 0.1]),
    ]
    found = cells(seeds(runs, TITLES))
    assert list(found) == ["Small"]
    folds, numbers, each, scatter, same, mean, fused = found["Small"]
    assert (folds, numbers) == ("1, 2", "0, 1")
    # Seed 0 takes every sad clip of fold 1 for happy, seed 1 every happy clip of fold 2 for sad.
    assert each == "75.0, 75.0"
    assert scatter == "0.0"
    # They differ on every sad clip of fold 1 and on every happy clip of fold 2.
    assert same == "50.0 %"
    assert mean.startswith("**75.0** (")
    # Fold 1 is put right by the surer seed 1 (happy .35), fold 2's happy clips stand at .5, where
    # the first label wins.
    assert fused.startswith("**100.0** (")


def test_a_seed_that_has_tested_some_folds_does_not_hide_what_the_others_tested() -> None:
    runs = [run("small", fold, seed, [0.9, 0.1]) for fold in (1, 2, 3) for seed in (0, 1)]
    runs.append(run("small", 2, 2, [0.9, 0.1]))
    whole, shared = [row.strip("| ").split(" | ") for row in seeds(runs, TITLES).splitlines()[2:]]
    assert whole[:3] == ["Small", "1 to 3", "0, 1"]
    assert shared[:3] == ["Small", "2", "0 to 2"]


def test_dev_subsets_and_one_seed_show_nothing() -> None:
    runs = [run("small", 1, 0, [0.9, 0.1]), run("small", 1, 1, [0.9, 0.1], side="dev")]
    assert seeds(runs, TITLES) == "No recipe has been trained with several seeds yet.\n"


def test_recipes_stand_in_the_order_of_the_titles() -> None:
    runs = [run(name, 1, seed, [0.9, 0.1]) for name in ("other", "small") for seed in (0, 1)]
    assert list(cells(seeds(runs, TITLES))) == ["Small", "Other"]
