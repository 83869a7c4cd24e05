"""Training one model from Python: the same model as from the command line."""

from __future__ import annotations

import pytest

import serlab
from serlab.core import UserError
from serlab.recipes import load_recipe


@pytest.fixture
def train(tiny_corpus, tmp_path, one_thread):
    def call(recipe="mfcc-svm", **how):
        return serlab.train(recipe, str(tiny_corpus), out=tmp_path / "runs", **how)

    return call


def test_the_model_of_a_fold(train, tiny_comparison, tiny_recipes, tiny_models, tiny_corpus, tmp_path):
    model = train(tiny_recipes["tiny-resnet"], protocol="speaker-2")
    folder = tiny_models["tiny-resnet"]
    assert model.folder == tmp_path / "runs" / folder.relative_to(tiny_comparison.folder.parents[1])
    clip = tiny_corpus.parent / "s0_calm_0.wav"
    assert model.predict(clip) == serlab.load_model(folder).predict(clip)
    assert (model.info.fold, model.info.seed) == (1, 0)
    assert model.info.uar.own
    assert model.info.uar.speakers == 3
    again = train(load_recipe(tiny_recipes["tiny-resnet"]), protocol="speaker-2", fold=1)
    assert again.folder == model.folder


def test_the_model_of_everyone_quotes_a_tested_uar(train, tiny_comparison, tiny_corpus):
    model = train(everyone=True, quote=tiny_comparison.folder)
    info = model.info
    assert (info.protocol, info.fold) == ("everyone", None)
    assert 0 <= info.uar.value <= 1
    assert (info.uar.protocol, info.uar.speaker_disjoint, info.uar.speakers) == ("speaker-2", True, 3)
    assert model.predict(tiny_corpus.parent / "s0_calm_0.wav").label == "calm"


def test_arguments_that_contradict_each_other(train):
    for name, value in (("protocol", "speaker-2"), ("fold", 1), ("dev_only", True)):
        with pytest.raises(UserError, match=f"{name} needs a split, but everyone"):
            train(everyone=True, **{name: value})
    for name, value in (("quote", "runs"), ("epochs", 3)):
        with pytest.raises(UserError, match=f"{name} needs everyone"):
            train(**{name: value})
