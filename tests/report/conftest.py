"""A realistic results folder: three recipes, three folds, twenty-four speakers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.core.files import write_json
from serlab.tables.predictions import make_table, write_table

FOLDS = 3
SPEAKERS = 24
CORPUS = {
    "name": "crema-d",
    "fingerprint": "5f2c9d3e7ab1" * 5 + "ffff",
    "copy": "an 11,025 Hz copy, not the official files",
    "clips": 1728,
    "labels": list(EMOTIONS),
    "synthetic": False,
    "speakers_known": True,
    "label_track": "intended",
    "licence": "ODbL 1.0, contents DbCL 1.0: name the source, share alike",
    "citation": "Cao et al., IEEE Trans. Affective Computing 5(4), 2014, https://doi.org/10.1109/TAFFC.2014.2336244",
}
PROTOCOL = {
    "name": "speaker-3",
    "definition": "three folds grouped by speaker; dev is a fifth of the other speakers",
    "speaker_disjoint": True,
    "sentence_disjoint": False,
    "folds": FOLDS,
}
RECIPES = {
    "whisper-base-probe": ("Whisper-base probe", "Whisper-base encoder", 1.6, 0.79),
    "resnet18": ("ResNet18", None, 1.15, 0.83),
    "mfcc-svm": ("MFCC + SVM", None, 0.7, 0.72),
}


def clips_of(speakers: list[int], sentences: int = 12, labels: tuple[str, ...] = EMOTIONS) -> pd.DataFrame:
    rows = [
        (f"{1001 + speaker}_S{sentence:02d}_{label[:3].upper()}_XX", str(1001 + speaker), label)
        for speaker in speakers
        for sentence in range(sentences)
        for label in labels
    ]
    return pd.DataFrame(rows, columns=["clip", "speaker", "label"])


def guess(clips: pd.DataFrame, skill: float, key: int, labels: tuple[str, ...] = EMOTIONS) -> np.ndarray:
    """Logits that lean to the true label, more for some speakers and labels than for others."""
    random = np.random.default_rng(key)
    hard = {label: 1.35 - 0.15 * index for index, label in enumerate(("angry", "neutral", "sad", "happy", "fear"))}
    ease = {speaker: 1 + 0.35 * np.sin(2.7 * int(speaker)) for speaker in clips["speaker"].unique()}
    strength = skill * clips["label"].map(hard).fillna(0.6) * clips["speaker"].map(ease)
    truth = clips["label"].to_numpy()[:, None] == np.array(labels)
    return 1.1 * random.normal(size=truth.shape) + truth * strength.to_numpy()[:, None]


def signature(recipe: str, fold: int, seed: int, **changes: Any) -> dict[str, Any]:
    title, pretrained, _, train_uar = RECIPES[recipe]
    neural = recipe == "resnet18"
    curve = [
        {"epoch": e, "loss": 1.75 * 0.86**e + 0.05 * fold, "dev_uar": 0.55 - 0.4 * 0.8**e - 0.01 * fold * (e > 10)}
        for e in range(1, 16)
    ]
    return {
        "serlab": "0.1.0",
        "recipe": {
            "name": recipe,
            "title": title,
            "hash": f"{len(recipe):02x}ab34cd" * 8,
            "pretrained": pretrained,
            "config": {},
        },
        "corpus": CORPUS,
        "protocol": PROTOCOL,
        "fold": fold,
        "seed": seed,
        "precision": "bf16",
        "sides": ["dev", "test"],
        "training": {
            "epochs": curve if neural else [],
            "best_epoch": 13 if neural else None,
            "selection": "best dev UAR" if neural else "search",
            "train_uar": train_uar,
            "chosen": {} if neural else {"C": 0.01 * fold, "layer": 3},
        },
        "cost": {
            "parameters": 11_170_000 if neural else 20_600_000,
            "trained_parameters": 11_170_000 if neural else 6_150,
            "train_seconds": 1560.4 if neural else 12.7,
            "predict_seconds": 21.9,
            "audio_seconds": 1460.0,
            "real_time_factor": 0.015,
            "peak_memory_mb": 2410.5 if neural else 980.0,
        },
        "exclusions": [
            {
                "clip": "1076_MTI_SAD_XX",
                "path": "AudioWAV/1076_MTI_SAD_XX.flac",
                "reason": "silent",
                "fold": fold,
                "side": "train",
            }
        ],
        "versions": {"python": "3.11.7", "torch": "2.9.0"},
        "machine": {"processor": "x86_64", "cores": 2},
        "started": "2025-11-22T19:00:00Z",
        "finished": "2025-11-22T19:30:00Z",
    } | changes


def write_run(
    out: Path, recipe: str, fold: int, seed: int = 0, *, sides: tuple[str, ...] = ("dev", "test"),
    skill: float | None = None, speakers: int = SPEAKERS, folder: str | None = None, **changes: Any,
) -> Path:  # fmt: skip
    """Write one run of the fake comparison, and return its table's path."""
    skill = RECIPES[recipe][2] if skill is None else skill
    test = [speaker for speaker in range(speakers) if speaker % FOLDS == fold - 1]
    dev = [speaker for speaker in range(speakers) if speaker % FOLDS == fold % FOLDS]
    parts = []
    for side, people in (("dev", dev), ("test", test)):
        if side in sides:
            clips = clips_of(people)
            key = 1000 * seed + 100 * fold + sum(map(ord, recipe + side))
            parts.append(make_table(clips, guess(clips, skill, key), EMOTIONS, side=side, fold=fold, seed=seed))
    content = signature(recipe, fold, seed, **changes)
    corpus, protocol = content["corpus"]["name"], content["protocol"]["name"]
    path = out / corpus / protocol / (folder or recipe) / f"fold{fold}-seed{seed}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.concat(parts, ignore_index=True)
    write_table(path, table if content["corpus"]["speakers_known"] else table.assign(speaker=""))
    write_json(path.with_suffix(".json"), content)
    return path


@pytest.fixture
def add_run(tmp_path: Path) -> Callable[..., Path]:
    def add(recipe: str, fold: int, seed: int = 0, **options: Any) -> Path:
        return write_run(tmp_path, recipe, fold, seed, **options)

    return add


def write_comparison(out: Path) -> Path:
    for recipe in RECIPES:
        for fold in range(1, FOLDS + 1):
            write_run(out, recipe, fold)
    return out / CORPUS["name"] / PROTOCOL["name"]


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``<out>/crema-d/speaker-3`` with three recipes and three folds."""
    return write_comparison(tmp_path_factory.mktemp("runs"))
