"""The shipped encoder: what it has heard, that it is what transformers loads, and that recipes start from it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import Wav2Vec2Model

from publication import encoder
from serlab.checkpoints.weights import PACKAGED
from serlab.core.files import sha256_file
from serlab.recipes import load_recipe
from serlab.training.encoder_folder import heard_by, read

HOME = Path(__file__).parents[2]
FOLDER = PACKAGED / "wav2vec2-small"


def test_it_is_small_and_half_precision():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6
    with safe_open(FOLDER / "model.safetensors", "np") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"float16"}  # noqa: SIM118
    assert read(FOLDER)["weights_sha256"] == sha256_file(FOLDER / "model.safetensors")


def test_its_notice_is_part_of_the_package():
    project = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]
    assert "src/serlab/pretrained/wav2vec2-small/NOTICE" in project["license-files"]
    notice = " ".join((FOLDER / "NOTICE").read_text("utf-8").split())
    for text in ("Copyright (c) 2022 OpenAI", "LibriSpeech (Panayotov", "CC BY 4.0", "Changes: ", "LJ Speech"):
        assert text in notice


def test_it_has_heard_no_corpus_of_emotional_speech():
    sources = heard_by(FOLDER)
    assert sources is not None
    assert {source["name"]: len(source["sha256"]) for source in sources} == {"librispeech": 1664, "ljspeech": 141}
    assert all(Path(name).name.split("-")[0].removeprefix("LJ").isdigit() for name in heard_names(sources))


def heard_names(sources):
    return [Path(name).stem for source in sources for name in source["sha256"]]


def test_the_settings_are_those_of_the_recipe_that_pretrains_it():
    scratch, made = load_recipe(encoder.RECIPE), read(FOLDER)
    assert len(made["epochs"]) == scratch.training.pretraining.epochs
    with torch.device("meta"):
        model = Wav2Vec2Model(Wav2Vec2Model.config_class.from_pretrained(FOLDER))
    assert made["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert {name: getattr(model.config, name) for name in ("hidden_size", "num_hidden_layers", "conv_bias")} == {
        name: scratch.model.config[name] for name in ("hidden_size", "num_hidden_layers", "conv_bias")
    }


def test_transformers_loads_it():
    model, report = Wav2Vec2Model.from_pretrained(FOLDER, output_loading_info=True, dtype=torch.float32)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    states = model(torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))).last_hidden_state
    assert states.shape == (1, 48, 256)
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("name", ["wav2vec2-small", "wav2vec2-small-distilled", "wav2vec2-small-distilled-long"])
def test_recipes_start_from_it(name):
    assert load_recipe(name).model.checkpoint == f"serlab/{FOLDER.name}"


def test_an_encoder_that_heard_something_else_is_not_shipped(tmp_path):
    made = read(FOLDER)
    for name in ("pretraining.json", "heard.json"):
        (tmp_path / name).write_text((FOLDER / name).read_text("utf-8"))
    heard = json.loads((tmp_path / "heard.json").read_text("utf-8"))
    heard["speech"][1]["name"] = "crema-d"
    (tmp_path / "heard.json").write_text(json.dumps(heard))
    with pytest.raises(SystemExit, match="has heard librispeech, crema-d"):
        encoder.main([str(tmp_path)])
    made["settings"]["epochs"] += 1
    (tmp_path / "pretraining.json").write_text(json.dumps(made))
    with pytest.raises(SystemExit, match="was not pretrained with the settings"):
        encoder.main([str(tmp_path)])
