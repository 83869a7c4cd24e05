from __future__ import annotations

import yaml

from serlab.corpora import descriptions
from serlab.protocols import definitions
from serlab.recipes import load_recipe, preset_names


def test_corpora(serlab):
    ended = serlab("corpora")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == [*descriptions(), "or"]


def test_recipes(serlab):
    ended = serlab("recipes")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == preset_names()


def test_one_recipe_with_all_its_settings(serlab, tmp_path):
    ended = serlab("recipes", "resnet18", "--set", "training.epochs=3")
    assert ended.code == 0
    shown = yaml.safe_load(ended.out)
    assert shown["training"]["epochs"] == 3
    path = tmp_path / "mine.yaml"
    path.write_text(ended.out)
    assert load_recipe(str(path)).settings() == load_recipe("resnet18", ["training.epochs=3"]).settings()
    assert serlab("recipes", "resnet18", "--set", "resnet18:training.epochs=3").out == ended.out


def test_protocols(serlab):
    ended = serlab("protocols")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(definitions())


def test_protocols_that_fit_a_corpus_with_their_sizes(serlab, tiny_corpus):
    ended = serlab("protocols", tiny_corpus)
    assert ended.code == 0
    lines = dict(line.split(": ", 1) for line in ended.out.splitlines())
    assert list(lines) == ["speaker-2", "speaker-3", "speaker-5 (default)", "holdout"]
    assert lines["speaker-2"] == "speaker-disjoint; train/dev/test 18/9/27 18/9/27"


def test_a_setting_needs_its_recipe(serlab):
    ended = serlab("recipes", "--set", "training.epochs=3")
    assert ended.code == 2
    assert "--set needs a recipe" in ended.sentence


def test_a_refused_setting_of_one_recipe_is_shown_as_written(serlab):
    ended = serlab("recipes", "mfcc-svm", "--set", "mfcc-svm:training.epochs=3")
    assert ended.code == 2
    assert "--set mfcc-svm:training.epochs=3: training.epochs is for networks" in ended.err
