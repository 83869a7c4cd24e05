"""Corpora of tones whose pitch says the emotion, under other names and with other voices; students and teachers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from serlab.corpora import load_corpus
from serlab.experiments import teachers
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.crossing import Crossing, compare_across
from serlab.frontends.store import FeatureStores
from serlab.protocols import split
from serlab.recipes import Recipe, Teacher, load_recipe

HERTZ = {"angry": 150.0, "happy": 500.0, "sad": 1500.0, "calm": 3000.0}
STUDENT = ("training.epochs=2", "augmentation.views=[{speed: 0.9}, {}]")
ITALIAN = {"angry": "rab", "happy": "gio", "sad": "tri", "calm": "calm"}


def write_corpus(
    folder: Path,
    name: str,
    emotions: tuple[str, ...],
    speakers: int,
    *,
    spelled: dict[str, str] | None = None,
    seed: int,
) -> str:
    """Write a corpus of tones, and return the path of its table."""
    random = np.random.default_rng(seed)
    rows = []
    (folder / name).mkdir(parents=True)
    for emotion in emotions:
        for speaker in range(speakers):
            for take in range(3):
                time = np.arange(round((0.3 + 0.1 * take) * 16000)) / 16000
                wave = 0.3 * np.sin(2 * np.pi * HERTZ[emotion] * (1 + 0.04 * speaker) * time)
                path = f"{name}/s{speaker}_{emotion}_{take}.wav"
                soundfile.write(folder / path, wave + 0.02 * random.standard_normal(len(time)), 16000)
                rows.append({"path": path, "label": (spelled or {}).get(emotion, emotion), "speaker": f"s{speaker}"})
    table = folder / f"{name}.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return str(table)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Tables of four corpora: english, italian (with calm, 11 speakers), two speakers, and one speaker."""
    folder = tmp_path_factory.mktemp("corpora")
    three = ("angry", "happy", "sad")
    return {
        "english": write_corpus(folder, "english", three, 5, seed=0),
        "italian": write_corpus(folder, "italian", (*three, "calm"), 11, spelled=ITALIAN, seed=1),
        "two": write_corpus(folder, "two", three, 2, seed=2),
        "one": write_corpus(folder, "one", three, 1, seed=3),
    }


@pytest.fixture
def cross(corpora: dict[str, str], tmp_path: Path) -> Callable[..., Crossing]:
    """Cross-corpus runs of an SVM; corpora by their names above."""

    def tables(named: Any) -> Any:
        if isinstance(named, list):
            return [tables(each) for each in named]
        return corpora.get(named, named) if isinstance(named, str) else named

    def call(train: Any, test: Any, *recipes: str, out: Path = tmp_path / "out", **how: Any) -> Crossing:
        return compare_across(tables(train), tables(test), recipes or ["mfcc-svm"], out=out, **how)

    return call


@pytest.fixture
def of_others(tiny_whisper: Path, tmp_path: Path):
    """A plain transformers classifier with the given labels."""

    def make(*labels: str) -> str:
        folder = tmp_path / "theirs"
        shutil.copytree(tiny_whisper, folder)
        if labels:
            config = json.loads((folder / "config.json").read_text())
            config |= {"id2label": dict(enumerate(labels)), "label2id": {name: n for n, name in enumerate(labels)}}
            (folder / "config.json").write_text(json.dumps(config))
            weights = load_file(folder / "model.safetensors")
            for name in ("classifier.weight", "classifier.bias"):
                shape = (len(labels), *weights[name].shape[1:])
                weights[name] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return str(folder)

    return make


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of features for this test alone."""
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def student(tiny_recipes: dict[str, str]) -> Callable[..., Recipe]:
    """A tiny ResNet with a teacher, by default a support vector machine of seed 0."""

    def make(*changes: str, **teacher: Any) -> Recipe:
        recipe = load_recipe(tiny_recipes["tiny-resnet"], [*STUDENT, *changes])
        given = Teacher(**{"recipe": "mfcc-svm", **teacher})
        return replace(recipe, training=replace(recipe.training, teacher=given))

    return make


@pytest.fixture
def teaching(tiny_corpus: Path, tmp_path: Path, one_thread: None) -> Callable[..., teachers.Taught]:
    """What the teachers of a recipe say about fold 1."""

    def call(recipe: Recipe, *, cached: bool = True, out: str = "out", corpus: Path = tiny_corpus) -> teachers.Taught:
        corpus = load_corpus(str(corpus))
        parts = split(corpus, "speaker-2")
        context = RunContext(corpus, parts, tmp_path / out, FeatureStores(cached=cached))
        taught = teachers.teach(RunSpec.of(recipe, parts.folds[0], 0), context, "student")
        assert taught is not None
        return taught

    return call


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A random audio classifier of plain transformers: another order of labels, in capitals, and one more."""
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    labels = {0: "SAD", 1: "Bored", 2: "happy", 3: "calm"}
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=64,
        num_mel_bins=32, id2label=labels, label2id={name: place for place, name in labels.items()},
    )  # fmt: skip
    folder = tmp_path / "their classifier"
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(folder)
    return folder
