"""A model trained on every clip: called untested, and quoting the scores of a comparison."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.evaluation.reliance import Reliance
from serlab.experiments.deployment import train_on_everyone
from serlab.model.folder import load, load_reliance
from serlab.recipes import load_recipe
from serlab.tables.predictions import logits_of, read_run


@pytest.fixture
def corpus(tiny_corpus):
    return load_corpus(str(tiny_corpus))


@pytest.fixture
def train(corpus, tiny_recipes, tmp_path, one_thread):
    def call(name: str, overrides=(), **how):
        recipe = load_recipe(tiny_recipes.get(name, name), overrides)
        return train_on_everyone(corpus, recipe, out=tmp_path / "runs", **how)

    return call


def signature_of(folder):
    return json.loads((folder / "serlab.json").read_text())["signature"]


@pytest.mark.parametrize("name", ["tiny-resnet", "tiny-wav2vec2", "mfcc-svm"])
def test_it_is_trained_on_every_clip_and_says_that_it_is_untested(train, tiny_comparison, tiny_corpus, name, serlab):
    folder = train(name, quote=tiny_comparison.folder)
    assert folder.parts[-4:-2] == ("tiny", "everyone")
    signature = signature_of(folder)
    assert (signature["sides"], signature["protocol"]["name"]) == ([], "everyone")
    quoted = signature["identity"]["quoted"]
    report = json.loads(tiny_comparison.report.with_name("report.json").read_text())
    (told,) = [recipe for recipe in report["recipes"] if recipe["name"] == folder.parent.name]
    assert quoted["uar"] == pytest.approx(told["scores"]["uar"]["value"])
    card = (folder / "README.md").read_text()
    assert "Untested: it was trained on every speaker" in card
    assert f"UAR {100 * quoted['uar']:.1f} %" in card
    assert "`speaker-2`" in card
    assert re.search(r"\ball 54 clips\b", card)
    assert load(folder, "fp32").labels == ("calm", "happy", "sad")
    ended = serlab("predict", "--model", folder, "--format", "json", tiny_corpus.parent / "s0_calm_0.wav")
    assert json.loads(ended.out)["predictions"][0]["label"] in ("calm", "happy", "sad")


def test_temperature_and_thresholds_come_from_the_dev_subsets_of_all_quoted_runs(train, tiny_comparison):
    folder = train("mfcc-svm", quote=tiny_comparison.folder)
    tables = [read_run(path).table for path in sorted(folder_of_runs(tiny_comparison, folder).glob("*.parquet"))]
    dev = pd.concat([table[table["side"] == "dev"] for table in tables])
    labels = ("calm", "happy", "sad")
    truth = dev["label"].map(labels.index).to_numpy()
    assert load_reliance(folder, "abstain") == Reliance.fit(logits_of(dev), truth)
    with pytest.raises(UserError, match="does not say when to abstain"):
        load_reliance(train("mfcc-svm", seed=1), "abstain")


def folder_of_runs(comparison, folder):
    return comparison.folder / folder.parent.name


def test_without_a_quotation_the_card_gives_no_figure_but_that_of_training(train):
    card = (train("mfcc-svm") / "README.md").read_text()
    assert "No comparison is quoted" in card
    assert "All settings are those of the preset `mfcc-svm`." in card
    assert "%" not in card.replace("`", "")


def test_epochs_are_the_median_of_the_best_ones_or_as_given(train, compare, tiny_recipes):
    longer = ["training.epochs=4"]
    compared = compare(load_recipe(tiny_recipes["tiny-resnet"], longer), folds=[1, 2])
    tables = compared.folder.glob("*/fold*.json")
    best = [json.loads(path.read_text())["training"]["best_epoch"] for path in tables]
    told = train("tiny-resnet", longer, quote=compared.report)
    assert len(signature_of(told)["training"]["epochs"]) == round(sum(best) / 2)
    for epochs in (1, 3):
        folder = train("tiny-resnet", longer, epochs=epochs, seed=epochs)
        history = signature_of(folder)["training"]
        assert [epoch["epoch"] for epoch in history["epochs"]] == list(range(1, epochs + 1))
        assert all("dev_uar" not in epoch for epoch in history["epochs"])
    with pytest.raises(UserError, match=r"epochs=5 is not between 1 and 4.*change training\.epochs"):
        train("tiny-resnet", longer, epochs=5)
    with pytest.raises(UserError, match="seed -1 is not between"):
        train("mfcc-svm", seed=-1)
    with pytest.raises(UserError, match="mfcc-svm has no epochs"):
        train("mfcc-svm", epochs=5)


def test_a_probe_takes_what_was_chosen_most_often(train, compare, tiny_checkpoint):
    probe = [f"model.checkpoint={tiny_checkpoint}", "model.C=[0.01, 0.1]"]
    with pytest.raises(UserError, match="chosen them with quote"):
        train("whisper-base-probe", probe)
    compared = compare(load_recipe("whisper-base-probe", probe))
    (path,) = compared.folder.glob("*/fold1-seed0.json")
    chosen = json.loads(path.read_text())["training"]["chosen"]
    folder = train("whisper-base-probe", probe, quote=compared.folder)
    assert signature_of(folder)["training"]["chosen"] == {"layer": chosen["layer"], "C": chosen["C"]}
    assert int(load(folder, "fp32").probe.layer) == chosen["layer"]


def test_what_cannot_be_quoted(train, tiny_comparison, corpus, compare, tmp_path):
    with pytest.raises(UserError, match="has no run of mfcc-svm"):
        train("mfcc-svm", quote=tmp_path / "nothing")
    with pytest.raises(UserError, match="no test subset"):
        train("mfcc-svm", quote=compare(dev_only=True).folder)
    other = tmp_path / "other"
    shutil.copytree(tiny_comparison.folder, other)
    for path in other.glob("mfcc-svm/*.json"):
        signature = json.loads(path.read_text())
        signature["identity"]["corpus"] = signature["corpus"]["fingerprint"] = "0" * 64
        path.write_text(json.dumps(signature))
    with pytest.raises(UserError, match="is of another corpus"):
        train("mfcc-svm", quote=other)


def test_the_same_is_not_trained_twice_and_another_is_not_overwritten(train, tiny_comparison, capfd):
    folder = train("mfcc-svm")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train("mfcc-svm") == folder
    assert "exists already" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(UserError, match="another configuration"):
        train("mfcc-svm", quote=tiny_comparison.folder)
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_another_precision_of_auto_is_the_same_model(train, monkeypatch):
    from serlab.experiments import context

    def found(name):
        monkeypatch.setattr(context, "precision_of", lambda _: name)

    found("fp32")
    folder = train("tiny-resnet", ["training.precision=auto"])
    found("bf16")
    assert train("tiny-resnet", ["training.precision=auto"]) == folder
    given = train("tiny-resnet", ["training.precision=fp32"])
    assert given != folder


def test_killed_and_started_again_equals_uninterrupted(train, monkeypatch, tmp_path):
    from serlab.training import loop

    longer = ["training.epochs=4"]
    undisturbed = train("tiny-resnet", longer, epochs=3)
    wanted = pd.Series((undisturbed / "model.safetensors").read_bytes())
    shutil.rmtree(tmp_path / "runs")

    def killing(learner, batches, epoch, *args):
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(learner, batches, epoch, *args)

    train_epoch = loop.train_epoch
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_epoch", killing)
        with pytest.raises(KeyboardInterrupt):
            train("tiny-resnet", longer, epochs=3)
    resumed = train("tiny-resnet", longer, epochs=3)
    assert wanted.equals(pd.Series((resumed / "model.safetensors").read_bytes()))
    history = [signature_of(resumed)["training"]["epochs"]]
    assert [epoch["epoch"] for epoch in history[0]] == [1, 2, 3]


def test_the_command(serlab, tiny_corpus, tiny_comparison, tmp_path, one_thread):
    common = ("train", tiny_corpus, "--recipe", "mfcc-svm", "--all", "--out", tmp_path)
    ended = serlab(*common, "--quote", tiny_comparison.report)
    assert ended.code == 0
    assert ended.out == f"{tmp_path / 'tiny' / 'everyone' / 'mfcc-svm' / 'seed0'}\n"
    assert "untested: it was trained on every speaker" in ended.err
    for more in (("--fold", "1"), ("--protocol", "speaker-2"), ("--dev-only",)):
        assert more[0] in serlab(*common, *more).sentence
    for more in (("--quote", tmp_path), ("--epochs", "3")):
        ended = serlab("train", tiny_corpus, "--recipe", "mfcc-svm", *more)
        assert ended.code == 2
        assert f"{more[0]} needs --all" in ended.sentence
