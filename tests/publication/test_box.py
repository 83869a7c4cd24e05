"""The shipped model: what it is, what its card says, and that it answers."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from serlab import load_corpus, load_model
from serlab.model.box import FOLDER
from serlab.recipes import load_recipe
from serlab.tables.predictions import labels_of, read_run

HOME = Path(__file__).parents[2]
RESULTS = HOME / "results" / "crema-d" / "emo-superb-5"
RECIPE = "resnet18-small-distilled"
CARD = (FOLDER / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def signature() -> dict:
    return json.loads((FOLDER / "serlab.json").read_text("utf-8"))["signature"]


def test_it_is_small_and_half_precision():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6
    with safe_open(FOLDER / "model.safetensors", "np") as file:
        kinds = {str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118
    assert kinds <= {"float16", "int64"}


def test_its_notice_is_part_of_the_package():
    project = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]
    assert "src/serlab/box/NOTICE" in project["license-files"]
    notice = (FOLDER / "NOTICE").read_text("utf-8")
    for text in (
        "Copyright (c) 2022 OpenAI",
        "Open Database License",
        "CC BY 4.0",
        "contains information from CREMA-D",
    ):
        assert text in " ".join(notice.split())


def test_it_is_the_published_recipe_trained_on_everyone(signature):
    tested = json.loads((RESULTS / RECIPE / "fold1-seed0.json").read_text("utf-8"))
    for name in ("recipe", "corpus"):
        assert signature["identity"][name] == tested["identity"][name]
    assert signature["identity"]["protocol"] == "everyone"
    assert len(signature["training"]["epochs"]) == load_recipe(RECIPE).training.epochs
    (own,) = [record for record in signature["heard"] if record["what"] == "itself"]
    assert len(own["train"]) == 91


def test_the_card_gives_the_scores_of_the_tables(signature):
    tables = [read_run(path).table.query("side == 'test'") for path in sorted((RESULTS / RECIPE).glob("*.parquet"))]
    labels = labels_of(tables[0])
    right = np.zeros((6, 6))
    for table in tables:
        answers = table[[f"logit_{label}" for label in labels]].to_numpy().argmax(axis=1)
        np.add.at(right, (table["label"].map(labels.index).to_numpy(), answers), 1)
    shares = right / right.sum(axis=1, keepdims=True)
    assert f"UAR {100 * np.diag(shares).mean():.1f} %" in CARD
    assert signature["identity"]["quoted"]["uar"] == pytest.approx(np.diag(shares).mean())
    for label, row in zip(labels, shares, strict=True):
        (told,) = re.findall(rf"^\| {label} \|(.*)\|$", CARD, re.MULTILINE)
        assert [int(cell) for cell in told.split("|")] == pytest.approx(100 * row, abs=0.51)


def test_it_answers_and_warns(tmp_path):
    model = load_model(precision="fp32")
    assert model.labels == ("angry", "disgust", "fear", "happy", "neutral", "sad")
    assert model.info.temperature is not None
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    found = model.predict(tmp_path / "noise.wav")
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert {warning.code for warning in found.warnings} & {"unlike", "no-speech"}


@pytest.mark.cremad
def test_it_knows_the_clips_that_it_was_trained_on(cremad_root):
    clips = load_corpus("crema-d", data=cremad_root).clips.groupby("label").head(10)
    found = load_model(precision="fp32").predict(list(clips["path"]))
    right = np.mean([each.label == label for each, label in zip(found, clips["label"], strict=True)])
    assert right > 0.7
