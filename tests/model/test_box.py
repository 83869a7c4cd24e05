"""The shipped model, under its reserved name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import serlab
from serlab import load_model
from serlab.core import UserError
from serlab.core.progress import say_once
from serlab.model import box


@pytest.fixture
def shipped(tiny_models, monkeypatch) -> Path:
    monkeypatch.setattr(box, "FOLDER", tiny_models["mfcc-svm"])
    say_once.cache_clear()
    return tiny_models["mfcc-svm"]


@pytest.fixture
def clip(tiny_corpus) -> Path:
    return tiny_corpus.parent / "s0_calm_0.wav"


def test_the_shipped_model_is_the_default(shipped, clip):
    expected = load_model(shipped).predict(clip)
    assert load_model().folder == load_model("box").folder == shipped
    assert load_model().predict(clip) == expected
    assert serlab.predict("box", clip).predictions == (expected,)


def test_a_folder_of_that_name_is_written_as_a_path(shipped, tiny_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_models["tiny-resnet"], "box")
    for name in ("./box", Path("box"), tmp_path / "box"):
        assert load_model(name).folder.resolve() == tmp_path / "box"
    assert load_model("box").folder == shipped


def test_the_command_line_uses_it_and_says_so_once(shipped, serlab, clip, tmp_path):
    ended = serlab("predict", clip, clip, "--format", "csv")
    assert ended.code == 0
    assert ended.err.count("the model that serlab ships") == 1
    named = serlab("predict", "--model", "box", clip, clip, "--format", "csv")
    assert named.out == ended.out == serlab("predict", "--model", shipped, clip, clip, "--format", "csv").out
    assert "ships" not in named.err


def test_an_installation_without_it_says_what_to_do(serlab, clip, monkeypatch, tmp_path):
    monkeypatch.setattr(box, "FOLDER", tmp_path / "absent")
    for ask in (load_model, lambda: load_model("box")):
        with pytest.raises(UserError, match="this installation of serlab has no shipped model"):
            ask()
    for model in ([], ["--model", "box"]):
        ended = serlab("predict", *model, clip)
        assert ended.code == 2
        assert "no shipped model (box); name the folder of a model" in ended.sentence
