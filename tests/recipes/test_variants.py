"""The changes of a variant are listed, for any name and version."""

from __future__ import annotations

from pathlib import Path

import pytest

from serlab.checkpoints.weights import public_name
from serlab.recipes import load_recipe
from serlab.recipes.variants import changed_settings, changes_text


def recorded(name: str, *changes: str, folder: str = "") -> dict:
    recipe = load_recipe(name, changes)
    return {"name": folder or f"{name}-1a2b3c", "title": recipe.title, "config": recipe.settings()}


@pytest.mark.parametrize(
    ("name", "changes", "wanted"),
    [
        ("resnet18", [], {}),
        ("resnet18", ["training.epochs=3"], {"training.epochs": 3}),
        ("resnet18-small", ["model.logmel.bands=80", "title=Mine"], {"model.logmel.bands": 80}),
        ("wav2vec2-tiny", ["model.config.layerdrop=0.1"], {"model.config.layerdrop": 0.1}),
        ("mfcc-svm", ["model.gamma=[0.1]"], {"model.gamma": [0.1]}),
        ("whisper-base", ["model.checkpoint=me/mine"], {"model.checkpoint": "me/mine"}),
        ("resnet18", ["augmentation.mixup=0.2", "training.targets=soft"],
         {"training.targets": "soft", "augmentation.mixup": 0.2}),
    ],
)  # fmt: skip
def test_changes_of_a_preset(name, changes, wanted):
    assert changed_settings(recorded(name, *changes)) == wanted


def test_a_field_that_was_taken_away_is_a_change():
    found = changed_settings(recorded("wav2vec2-base", "model.config={layerdrop: 0.05}"))
    assert found == dict.fromkeys(("model.config.mask_time_prob", "model.config.mask_feature_prob",
                                   "model.config.mask_feature_length"))  # fmt: skip
    assert "model.config.mask_time_prob unset" in changes_text(found)


def test_another_kind_of_model_is_a_change():
    found = changed_settings(recorded("resnet18", "model={kind: svm, features: egemaps}"))
    assert (found["model.kind"], found["model.features"]) == ("svm", "egemaps")


def test_an_older_signature_lacks_later_settings_and_half_of_a_hub_name():
    recipe = recorded("whisper-base", folder="whisper-base")
    del recipe["config"]["training"]["targets"]
    recipe["config"]["model"]["checkpoint"] = "whisper-base"
    assert changed_settings(recipe) == {}


def test_a_teacher_is_named_without_its_defaults():
    changes = ["training.teacher={recipe: mfcc-svm, states_weight: 0.5, states: [1]}"]
    found = changed_settings(recorded("wav2vec2-base", *changes))
    names = {"recipe": "mfcc-svm", "states": [1], "states_weight": 0.5}
    assert found == {f"training.teacher.{name}": value for name, value in names.items()}


def test_a_recipe_of_the_user_is_compared_with_the_defaults(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nmodel: {kind: resnet, window: 128}\ntraining: {epochs: 3}\n")
    recipe = load_recipe(str(path))
    found = changed_settings({"name": "mine-1a2b3c", "title": "Mine", "config": recipe.settings()})
    assert found == {"model.window": 128, "training.epochs": 3}


def test_of_anothers_model_nothing_is_known():
    assert changed_settings({"name": "theirs", "title": "theirs", "config": {}}) is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("facebook/wav2vec2-base", "facebook/wav2vec2-base"),
        ("/somewhere/on/this/disk/my-own/", "my-own"),
        ("../models/my-own", "my-own"),
        ("~/my-own", "my-own"),
        ("/cache/models--facebook--wav2vec2-base/snapshots/0123abcd", "facebook/wav2vec2-base"),
    ],
)
def test_a_checkpoint_has_a_name_and_no_path(given, shown):
    assert public_name(given) == shown


def test_a_folder_beside_is_named_by_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "models" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("models/own") == "own"
    monkeypatch.chdir(tmp_path / "models" / "own")
    assert public_name(".") == "own"
