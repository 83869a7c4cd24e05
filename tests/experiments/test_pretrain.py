"""Pretraining within runs: shared by seeds, signed, and deaf to dev and test clips."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from fuzz.materials import RECIPES

from serlab.checkpoints.weights import identity as weights_identity
from serlab.core import UserError
from serlab.corpora import descriptions
from serlab.corpora.base import Corpus
from serlab.experiments.held_out import check_held_out
from serlab.experiments.pretrain import pretrain
from serlab.protocols import Fold
from serlab.recipes import Recipe, identify, load_recipe, recipe_from_signature
from serlab.recipes.variants import changed_settings
from serlab.training import encoder_folder, pretraining

if TYPE_CHECKING:
    from serlab.experiments.compare import Comparison

Compare = Callable[..., "Comparison"]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def recipe(tmp_path: Path, tiny_whisper: Path) -> Callable[..., Recipe]:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPES["encoder"], encoding="utf-8")
    settings = ["checkpoint=" + str(tiny_whisper), "layers=[2]", "epochs=1", "batch_size=8"]

    def load(*changes: str) -> Recipe:
        return load_recipe(str(path), [f"training.pretraining.{each}" for each in [*settings, *changes]])

    return load


@pytest.fixture
def makes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles of the pretrainings that were made, not taken from the cache."""
    titles: list[str] = []
    make = pretraining._pretrain

    def counted(task: Any, *arguments: Any) -> None:
        titles.append(task.title)
        make(task, *arguments)

    monkeypatch.setattr(pretraining, "_pretrain", counted)
    return titles


def signature_of(done: Comparison, run: str = "fold1-seed0") -> dict[str, Any]:
    (path,) = done.report.parent.parent.glob(f"*/{run}.json")
    return json.loads(path.read_text("utf-8"))


def test_seeds_share_an_encoder_and_folds_do_not(
    compare: Compare, recipe: Callable[..., Recipe], makes: list[str], empty_cache: Path
) -> None:
    done = compare(recipe(), folds=[1, 2], seeds=[0, 1])
    assert len(makes) == 2
    assert len([*(empty_cache / "encoders").glob("*/heard.json")]) == len(encoder_folder.kept()) == 2
    assert encoder_folder.clear(unused_days=1) == 0
    assert encoder_folder.clear() > 10_000
    assert not encoder_folder.kept()
    signed = [signature_of(done, f"fold{fold}-seed{seed}") for fold in (1, 2) for seed in (0, 1)]
    assert len({each["training"]["pretraining"]["speech_sha256"] for each in signed}) == 2


def test_only_training_clips_and_unlabelled_speech_are_heard(
    compare: Compare, recipe: Callable[..., Recipe], speech: Path, tiny_corpus: Path, empty_cache: Path
) -> None:
    from serlab.corpora import load_corpus
    from serlab.protocols import split

    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    done = compare(recipe(f"unlabelled=[{speech}]"), dev_only=True)

    (path,) = (empty_cache / "encoders").glob("*/heard.json")
    own, other = json.loads(path.read_text("utf-8"))["speech"]
    assert own["sha256"].keys() == {*fold.train}
    assert not {*own["speakers"]} & {*corpus.clips.set_index("clip").loc[[*fold.dev, *fold.test], "speaker"]}
    assert other["name"] == "speech"
    signed = signature_of(done)
    assert str(speech) not in json.dumps(signed)
    assert signed["recipe"]["config"]["training"]["pretraining"]["unlabelled"] == ["speech"]
    assert signed["training"]["pretraining"]["encoder"]["name"] == "whisper-random"
    assert recipe_from_signature(signed).training.pretraining.layers == (2,)
    heard = {each["what"]: each for each in signed["heard"]}
    assert heard["the pretrained encoder"]["corpus"] == "speech"
    (described,) = json.loads(done.report.with_name("report.json").read_text("utf-8"))["recipes"]
    assert described["pretrained"] == "whisper-random, by distillation"


@pytest.mark.parametrize("side", ["dev", "test"])
def test_a_planted_clip_of_dev_or_test_is_an_error(
    compare: Compare, recipe: Callable[..., Recipe], speech: Path, tiny_corpus: Path, tmp_path: Path, side: str
) -> None:
    from serlab.corpora import load_corpus
    from serlab.protocols import split

    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    planted = getattr(fold, side)[0]
    folder = tmp_path / "leaky"
    shutil.copytree(speech, folder)
    shutil.copy(corpus.clips.set_index("clip").loc[planted, "path"], folder / "renamed.wav")
    with pytest.raises(UserError, match=rf"renamed\.wav is the clip {planted} that fold 1"):
        compare(recipe(f"unlabelled=[{folder}]"), dev_only=True)


@pytest.mark.parametrize("side", ["dev", "test"])
def test_a_checkpoint_that_has_heard_a_clip_of_dev_or_test_is_an_error(
    compare: Compare, recipe: Callable[..., Recipe], speech: Path, tiny_corpus: Path, tmp_path: Path, side: str
) -> None:
    from serlab.corpora import load_corpus
    from serlab.protocols import split

    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    planted = getattr(fold, side)[-1]
    (tmp_path / "leaky").mkdir()
    shutil.copy(corpus.clips.set_index("clip").loc[planted, "path"], tmp_path / "leaky" / "renamed.wav")
    folder = pretrain(recipe(), [str(speech), str(tmp_path / "leaky")], out=tmp_path / "encoder")
    started = load_recipe(str(tmp_path / "tiny.yaml"), ["training.pretraining.epochs=1", f"model.checkpoint={folder}"])
    with pytest.raises(UserError, match=rf"has heard renamed\.wav, the clip {planted} that fold 1"):
        compare(started, dev_only=True)


def test_a_copy_of_a_known_corpus_in_another_format_is_recognised_by_its_names(
    recipe: Callable[..., Recipe], speech: Path, tmp_path: Path
) -> None:
    clips = pd.DataFrame(
        {"clip": ["1001_DFA_ANG_XX", "1002_DFA_ANG_XX"], "sha256": ["", "a"], "speaker": ["1001", "1002"]}
    )
    corpus = Corpus("crema-d", clips, ("angry",), "", "", "", "", description=descriptions()["crema-d"])
    fold = Fold(3, ("1002_DFA_ANG_XX",), (), ("1001_DFA_ANG_XX",))
    folder = tmp_path / "speech"
    shutil.copytree(speech, folder)
    check_held_out(recipe(f"unlabelled=[{folder}]"), corpus, fold)
    (folder / "0" / "1001_dfa_ang_xx.16k.wav").parent.mkdir()
    shutil.copy(folder / "s0" / "0.wav", folder / "0" / "1001_dfa_ang_xx.16k.wav")
    with pytest.raises(UserError, match="is the clip 1001_DFA_ANG_XX that fold 3 of crema-d holds out"):
        check_held_out(recipe(f"unlabelled=[{folder}]"), corpus, fold)


def test_the_speech_and_the_encoder_are_part_of_the_hash(
    recipe: Callable[..., Recipe], speech: Path, tiny_whisper: Path, tmp_path: Path
) -> None:
    without = identify(recipe())[0]
    once = identify(recipe(f"unlabelled=[{speech}]"))[0]
    copy = tmp_path / "copy"
    shutil.copytree(speech, copy)
    assert without != once == identify(recipe(f"unlabelled=[{copy}]"))[0]
    (copy / "s0" / "0.wav").unlink()
    assert identify(recipe(f"unlabelled=[{copy}]"))[0] != once
    other = tmp_path / "another-name"
    shutil.copytree(tiny_whisper, other)
    assert identify(recipe(f"checkpoint={other}"))[0] == without


def test_a_recipe_without_pretraining_keeps_its_hash() -> None:
    assert identify(load_recipe("wav2vec2-tiny"))[0] == "5a10f72725fd"


def test_a_variant_names_its_changes() -> None:
    changed = load_recipe("wav2vec2-small-scratch", ["training.pretraining.epochs=3"])
    config = changed.settings()
    found = changed_settings({"name": "wav2vec2-small-scratch-abcdef", "title": changed.title, "config": config})
    assert found == {"training.pretraining.epochs": 3}


def test_the_encoder_starts_a_recipe(
    compare: Compare, recipe: Callable[..., Recipe], speech: Path, tmp_path: Path
) -> None:
    folder = pretrain(recipe(), [str(speech)], out=tmp_path / "encoder")
    started = load_recipe(str(tmp_path / "tiny.yaml"), ["training.pretraining.epochs=1", f"model.checkpoint={folder}"])
    assert started.training.pretraining is None
    assert not started.model.architecture
    done = compare(started, dev_only=True)
    assert signature_of(done)["weights_sha256"] == weights_identity(folder)


def test_another_folder_is_not_overwritten(recipe: Callable[..., Recipe], speech: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        pretrain(recipe(), [str(speech)], out=tmp_path / "mine")


def test_speech_and_the_folder_may_be_relative_and_above(
    recipe: Callable[..., Recipe], speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=r"out=\. is the current folder, which is replaced"):
        pretrain(recipe(), [os.path.relpath(speech)], out=".")
    made = pretrain(recipe(), [os.path.relpath(speech)], out="../made")
    assert made.samefile(tmp_path / "made")
    assert sorted(each.name for each in tmp_path.iterdir() if "made" in each.name) == ["made"]


@pytest.mark.parametrize(
    ("name", "words"), [("resnet18", "is for speech encoders"), ("wav2vec2-base", "starts from pretrained weights")]
)
def test_pretraining_of_other_recipes_is_an_error(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe(name, ["training.pretraining.epochs=1"])
