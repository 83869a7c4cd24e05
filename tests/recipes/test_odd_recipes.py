"""Recipes that are loaded already, and files with empty sections and values that YAML can hold and JSON cannot."""

from __future__ import annotations

import pytest

from serlab.core import UserError
from serlab.recipes import Training, load_recipe, with_changes
from serlab.recipes.changes import Change


def test_a_loaded_recipe_takes_the_changes_that_its_name_takes():
    checkpoint = "model.checkpoint=serlab/wav2vec2-small"
    taught = "training.teacher.recipe=whisper-base-probe"
    for name, change in (("wav2vec2-small-scratch", checkpoint), ("resnet18", taught)):
        assert with_changes(load_recipe(name), [Change(change)]) == load_recipe(name, [change])
    with pytest.raises(UserError, match="schedule_factor does nothing"):
        with_changes(load_recipe("resnet18"), [Change("training.schedule_factor=0.5")])


def test_a_section_without_content_has_the_defaults(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("title: Mine\nmodel: {kind: resnet}\ntraining:\n  # epochs: 3\naugmentation:\n")
    assert load_recipe(str(recipe)).training == Training()
    assert load_recipe(str(recipe), ["training.epochs=3"]).training.epochs == 3
    recipe.write_text("title: Mine\nmodel:\n")
    with pytest.raises(UserError, match="model"):
        load_recipe(str(recipe))


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ("{layer_norm_eps: .nan}", r"layer_norm_eps is nan; it must be a finite number"),
        ("{hidden_act: 2020-01-01}", r"hidden_act is datetime\.date\(2020, 1, 1\); it must be a number, a text"),
        ("{conv_dim: [8, !!set {a}]}", r"conv_dim is \{'a'\}; it must be"),
        ("{1: 2}", r"a key of .*config is 1; it must be of type str"),
    ],
)
def test_a_configuration_holds_what_json_can_hold(tmp_path, value, phrase):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"title: Mine\nmodel: {{kind: encoder, architecture: wav2vec2, config: {value}}}\n")
    with pytest.raises(UserError, match=phrase):
        load_recipe(str(recipe))


@pytest.mark.parametrize("text", ["!!bool foo", "!!timestamp foo", "!!float foo", "!!int foo"])
def test_a_value_that_is_not_of_its_tag_is_one_sentence(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(f"title: Mine\nmodel: {{kind: resnet}}\ntraining: {{epochs: {text}}}\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        load_recipe(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("name", "phrase"), [("", "is empty"), (" ", "is empty"), ("a/" + 5000 * "b", "not the name of")]
)
def test_a_name_that_cannot_be_one(name, phrase):
    with pytest.raises(UserError, match=phrase):
        load_recipe(name)
