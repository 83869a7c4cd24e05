"""Distillation in comparisons: who teaches, what is cached and recorded, and what changes nothing."""

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
from safetensors.numpy import load_file

from serlab.audio import Audio
from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments import teachers
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.deployment import train_on_everyone
from serlab.experiments.scorer import Scorer
from serlab.experiments.teachers import choices_of, first_half, teach
from serlab.frontends.cache import FeatureCache
from serlab.frontends.store import FeatureStores
from serlab.model.folder import load
from serlab.protocols import split
from serlab.recipes import Recipe, Teacher, identify, load_recipe
from serlab.training import loop

STUDENT = ("training.epochs=2", "augmentation.views=[{speed: 0.9}, {}]")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        taught = teach(RunSpec.of(recipe, parts.folds[0], 0), context, "student")
        assert taught is not None
        return taught

    return call


def signature_of(comparison, name: str = "tiny-resnet") -> dict[str, Any]:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0.json")
    return json.loads(path.read_text())


def logits_of(comparison, name: str = "tiny-resnet") -> np.ndarray:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0.parquet")
    return pd.read_parquet(path).filter(like="logit_").to_numpy()


def weights_of(comparison, name: str = "tiny-resnet") -> dict[str, np.ndarray]:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0/model.safetensors")
    return load_file(path)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_teacher_is_trained_kept_and_recorded(compare, student) -> None:
    done = compare(student())

    signature = signature_of(done)
    teacher = signature["teacher"]
    assert teacher["name"] == "mfcc-svm"
    assert teacher["hash"] == identify(load_recipe("mfcc-svm"))[0]
    assert teacher["train_seconds"] > 0
    assert [model["seed"] for model in teacher["models"]] == [0]
    assert (done.folder / "teachers" / "mfcc-svm" / "fold1-seed0" / "serlab.json").is_file()
    # It is no run of the comparison: it has no table, and no test subset was read for it.
    assert [path.name for path in done.folder.glob("*/fold1-seed0.parquet")] == ["fold1-seed0.parquet"]
    ledger = (done.folder.parent.parent / "ledger.jsonl").read_text().splitlines()
    assert len(ledger) == 1


def test_weight_0_equals_plain_training_to_the_last_bit_and_needs_no_teacher(compare, student, tmp_path) -> None:
    plain = replace(student(), training=replace(student().training, teacher=None))
    taught, silent, alone = (
        compare(recipe, keep_models=True, out=tmp_path / name)
        for name, recipe in (("taught", student()), ("silent", student(weight=0.0)), ("alone", plain))
    )

    assert same(weights_of(silent), weights_of(alone))
    np.testing.assert_array_equal(logits_of(silent), logits_of(alone))
    assert "teacher" not in signature_of(silent)
    assert not (silent.folder / "teachers").exists()
    assert signature_of(silent)["recipe"]["hash"] != signature_of(alone)["recipe"]["hash"]
    assert not same(weights_of(taught), weights_of(alone))


def test_cached_scores_equal_recomputed_ones(teaching, student, monkeypatch) -> None:
    recipe = student(views="same")
    first = teaching(recipe)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "_compute", lambda *_: pytest.fail("the scores were cached"))
        again = teaching(recipe)
    anew = teaching(recipe, cached=False)
    np.testing.assert_array_equal(first.lesson.logits, again.lesson.logits)
    np.testing.assert_array_equal(first.lesson.logits, anew.lesson.logits)
    assert first.lesson.views == recipe.augmentation.views
    assert not np.array_equal(first.lesson.logits[0], first.lesson.logits[1])
    np.testing.assert_array_equal(first.lesson.logits[1], teaching(student()).lesson.logits[0])


def test_scores_of_which_some_are_lost_are_all_computed_again(teaching, student, monkeypatch) -> None:
    first = teaching(student())
    kept, get = [], FeatureCache.get

    def losing(self, key):
        kept.append(key)
        return None if len(kept) == 3 else get(self, key)

    monkeypatch.setattr(FeatureCache, "get", losing)
    computed = []
    monkeypatch.setattr(Scorer, "_compute", lambda self, *_: computed.append(1) or first.lesson.logits[0])
    teaching(student())
    assert computed == [1]


def test_cached_scores_are_of_the_labels_of_the_corpus(teaching, student, classifier, tiny_corpus, tmp_path) -> None:
    corpus = tmp_path / "speech" / "tiny.csv"
    shutil.copytree(tiny_corpus.parent, corpus.parent)
    # The same recordings and as many labels, one of which is another one of the teacher's.
    corpus.write_text(corpus.read_text().replace(",calm", ",bored"))
    recipe = student(recipe="", checkpoint=str(classifier))
    teaching(recipe)
    cached, anew = (teaching(recipe, corpus=corpus, cached=cached).lesson.logits for cached in (True, False))
    np.testing.assert_array_equal(cached, anew)


def test_cached_scores_are_of_the_input_of_the_teacher(teaching, student, classifier) -> None:
    recipe = student(recipe="", checkpoint=str(classifier))
    first = teaching(recipe).lesson.logits
    path = classifier / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mean": 3.0}))
    cached, anew = (teaching(recipe, cached=cached).lesson.logits for cached in (True, False))
    np.testing.assert_array_equal(cached, anew)
    assert not np.allclose(cached, first)


def test_several_seeds_teach_with_their_mean(teaching, student) -> None:
    # The network itself, whose seeds differ.
    one, other, both = (teaching(student(recipe="self", seeds=seeds)).lesson for seeds in ((0,), (1,), (0, 1)))
    np.testing.assert_allclose(both.logits, (one.logits + other.logits) / 2, rtol=1e-6)
    assert not np.array_equal(one.logits, other.logits)


def test_crossfitted_teachers_never_hear_the_speakers_that_they_teach(teaching, student, tiny_corpus) -> None:
    taught = teaching(student(crossfit=True))
    corpus = load_corpus(str(tiny_corpus))
    train = split(corpus, "speaker-2").folds[0].train
    speaker_of = dict(zip(corpus.clips["clip"], corpus.clips["speaker"], strict=True))
    halves = {model.half: {*model.speakers} for model in taught.record.models}

    assert halves.keys() == {1, 2}
    assert halves[1].isdisjoint(halves[2])
    assert halves[1] | halves[2] == {speaker_of[clip] for clip in train}
    assert taught.lesson.clips == train
    # Each half's scores are those of the other half's model.
    whole = teaching(student()).lesson.logits[0]
    assert not np.isclose(taught.lesson.logits[0], whole).all(axis=1).any()
    assert (np.abs(taught.lesson.logits[0]).sum(axis=1) > 0).all()


def test_a_teacher_that_chose_by_the_dev_speakers_uses_the_students_dev(teaching, student) -> None:
    assert not teaching(student()).record.dev_used
    assert teaching(student(recipe="self")).record.dev_used
    assert not teaching(student("training.select=last", recipe="self")).record.dev_used


def test_halves_depend_on_the_speakers_alone() -> None:
    names = [f"s{number}" for number in range(9)]
    half = first_half(names)
    assert len(half) == 4
    assert half == first_half([*reversed(names), *names])
    with pytest.raises(UserError, match=r"training.teacher.crossfit needs two training speakers or more; .* has 1"):
        first_half(["s1", "s1"])


def test_a_kept_model_of_a_comparison_teaches(compare, student) -> None:
    done = compare("mfcc-svm", student(), keep_models=True)
    assert not (done.folder / "teachers").exists()
    assert signature_of(done)["teacher"]["hash"] == signature_of(done, "mfcc-svm")["recipe"]["hash"]


def test_a_kept_model_of_an_older_version_teaches_as_its_identity_says(compare, student) -> None:
    done = compare("mfcc-svm", keep_models=True)
    path = done.folder / "mfcc-svm" / "fold1-seed0" / "serlab.json"
    content = json.loads(path.read_text())
    train = content["signature"].pop("heard")[0]["train"]
    path.write_text(json.dumps(content))
    signature = signature_of(compare(student()))
    assert signature["teacher"]["models"][0]["speakers"] == signature["heard"][1]["train"] == train
    assert not (done.folder / "teachers").exists()


def test_another_model_in_a_teachers_folder_is_refused(compare, student) -> None:
    done = compare(student())
    path = done.folder / "teachers" / "mfcc-svm" / "fold1-seed0" / "serlab.json"
    content = json.loads(path.read_text())
    content["signature"]["identity"]["recipe"] = "0" * 12
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"fold1-seed0 has a teacher of another configuration"):
        compare(student(temperature=3.0))


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


def test_a_classifier_of_transformers_teaches_with_a_warning(compare, student, classifier, capfd) -> None:
    recipe = student(recipe="", checkpoint=str(classifier))
    done = compare(recipe)
    assert "it is unknown what the teacher their classifier has heard" in capfd.readouterr().err
    signature = signature_of(done)
    assert signature["teacher"]["name"] == "their classifier"
    assert str(classifier.parent) not in json.dumps(signature)
    assert [each["corpus"] for each in signature["heard"]] == ["tiny", None]
    assert not (done.folder / "teachers").exists()

    moved = classifier.rename(classifier.with_name("moved"))
    assert identify(student(recipe="", checkpoint=str(moved)))[0] == signature["recipe"]["hash"]


def test_a_checkpoints_labels_are_found_by_name(teaching, student, classifier, tiny_corpus) -> None:
    taught = teaching(student(recipe="", checkpoint=str(classifier))).lesson
    fitted = load(classifier)
    corpus = load_corpus(str(tiny_corpus)).clips.set_index("clip")
    clip = corpus.loc[taught.clips[0], "path"]
    raw = fitted.logits([fitted.frontend(Audio.from_file(clip).samples)])[0]
    np.testing.assert_allclose(taught.logits[0, 0], raw[[3, 2, 0]], atol=1e-4)

    config = json.loads((classifier / "config.json").read_text())
    config["id2label"]["3"] = "quiet"
    config["label2id"] = {name: int(place) for place, name in config["id2label"].items()}
    (classifier / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"does not have the label calm of the corpus; it has SAD, Bored, happy, quiet"):
        teaching(student(recipe="", checkpoint=str(classifier)), cached=False)


def test_a_model_of_another_fold_cannot_teach(compare, student, tiny_models) -> None:
    recipe = student(recipe="", checkpoint=str(tiny_models["tiny-resnet"]))
    with pytest.raises(UserError, match=r"SL012 in fold 2 of tiny: the teacher fold1-seed0 was trained on"):
        compare(recipe, folds=[2])


def test_a_teacher_is_either_a_recipe_or_a_checkpoint(student) -> None:
    for wrong in ({"recipe": ""}, {"checkpoint": "x"}):
        with pytest.raises(UserError, match=r"training.teacher needs either a recipe or a checkpoint, not both"):
            student(**wrong)
    with pytest.raises(UserError, match=r"are for recipes, not a checkpoint"):
        student(recipe="", checkpoint="x", seeds=(0, 1))


@pytest.fixture
def speech(tmp_path: Path, make_tone) -> Path:
    """A folder of three recordings without labels, one that cannot be read, and one without sound."""
    for number, hertz in enumerate((180, 600, 1700)):
        make_tone(tmp_path / "speech" / f"{number}.wav", hz=hertz)
    (tmp_path / "speech" / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "speech" / "silent.wav", np.zeros(16000), 16000)
    return tmp_path / "speech"


def test_two_folders_of_one_name_are_taught_apart(teaching, student, speech, make_tone, tmp_path) -> None:
    for number, hertz in enumerate((2500, 3000)):
        make_tone(tmp_path / "other" / "speech" / f"{number}.wav", hz=hertz)

    def taught(*folders: Path) -> Any:
        named = ", ".join(map(str, folders))
        return teaching(student(f"training={{unlabelled: [{named}], teacher: {{recipe: mfcc-svm}}}}")).lesson

    other = tmp_path / "other" / "speech"
    both = taught(speech, other)
    assert len({file.clip for file in both.unlabelled}) == 5
    assert [both.clips[-5:], both.clips[-5]] == [tuple(file.clip for file in both.unlabelled), "speech: 0.wav"]
    np.testing.assert_allclose(both.logits[:, -5:-2], taught(speech).logits[:, -3:], atol=1e-5)
    np.testing.assert_allclose(both.logits[:, -2:], taught(other).logits[:, -2:], atol=1e-5)


def test_speech_that_cannot_be_used_at_all_is_one_sentence(teaching, student, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    soundfile.write(tmp_path / "none" / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(UserError, match=r"no recording that can be used \(first: silent.wav: silent\)"):
        teaching(student(f"training={{unlabelled: [{tmp_path / 'none'}], teacher: {{recipe: mfcc-svm}}}}"))


def test_speech_without_labels_is_scored_learned_from_and_recorded(compare, teaching, student, speech, capfd) -> None:
    recipe = student(f"training={{epochs: 2, unlabelled: [{speech}], teacher: {{recipe: mfcc-svm}}}}")
    lesson = teaching(recipe).lesson
    assert [file.clip for file in lesson.unlabelled] == ["speech: 0.wav", "speech: 1.wav", "speech: 2.wav"]
    assert lesson.clips[-3:] == tuple(file.clip for file in lesson.unlabelled)
    np.testing.assert_array_equal(lesson.logits[:, :-3], teaching(student()).lesson.logits)
    assert np.abs(lesson.logits[:, -3:]).sum(axis=2).all()
    said = capfd.readouterr().err
    assert "speech: left out: broken.wav (" in said
    assert "speech: left out: silent.wav (silent)" in said

    heard = signature_of(compare(recipe))["heard"]
    assert ["the unlabelled speech speech", "speech", None] in [
        [each["what"], each["corpus"], each["train"]] for each in heard
    ]
    before = identify(recipe)
    moved = speech.rename(speech.with_name("elsewhere"))
    again = replace(recipe, training=replace(recipe.training, unlabelled=(str(moved),)))
    assert identify(again) == before != identify(student())


def test_speech_with_a_held_out_clip_is_refused(teaching, student, speech, tiny_corpus) -> None:
    corpus = load_corpus(str(tiny_corpus))
    held = split(corpus, "speaker-2").folds[0].test[0]
    shutil.copy(corpus.clips.set_index("clip").loc[held, "path"], speech / "copy.wav")
    with pytest.raises(UserError, match=rf"whose copy.wav is the clip {held} that fold 1 of tiny holds out"):
        teaching(student(f"training={{unlabelled: [{speech}], teacher: {{recipe: mfcc-svm}}}}"))


def test_speech_without_labels_needs_a_teacher(tiny_recipes) -> None:
    with pytest.raises(UserError, match=r"training.unlabelled needs training.teacher"):
        load_recipe(tiny_recipes["tiny-resnet"], ["training.unlabelled=[speech]"])


def test_identity_holds_the_teacher_and_its_settings(student, tmp_path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text("title: x\nmodel: {kind: resnet}\n")
    hashes = [
        identify(student(**changes))[0]
        for changes in (
            {}, {"seeds": (1,)}, {"temperature": 3.0}, {"weight": 0.5}, {"crossfit": True}, {"views": "same"},
            {"recipe": str(copy)}, {"recipe": "self"},
        )
    ]  # fmt: skip
    assert len({*hashes}) == len(hashes)
    moved = tmp_path / "moved.yaml"
    moved.write_text(copy.read_text())
    assert identify(student(recipe=str(moved)))[0] == identify(student(recipe=str(copy)))[0]


def test_a_recipe_that_is_its_own_teacher_twice_over_ends_with_a_sentence(student, tmp_path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"title: x\nmodel: {{kind: resnet}}\ntraining: {{teacher: {{recipe: {path}}}}}\n")
    with pytest.raises(UserError, match=r"the teacher of loop has a teacher in turn, and so on"):
        identify(load_recipe(str(path)))


def test_a_killed_teacher_and_a_killed_student_resume_exactly(compare, student, tmp_path, monkeypatch) -> None:
    recipe = student("training.epochs=3", recipe="self")
    whole = compare(recipe, keep_models=True, out=tmp_path / "whole")

    validate, left = loop.validate, [2]
    broken = tmp_path / "broken"

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return validate(*arguments)

    monkeypatch.setattr(loop, "validate", interrupted)
    for after in (2, 2):  # in the teacher's third epoch, then in the student's second
        left[0] = after
        with pytest.raises(KeyboardInterrupt):
            compare(recipe, keep_models=True, out=broken)
    left[0] = 99
    resumed = compare(recipe, keep_models=True, out=broken)

    assert left[0] == 99 - 2
    assert same(weights_of(whole), weights_of(resumed))
    np.testing.assert_array_equal(logits_of(whole), logits_of(resumed))
    hashes = [signature_of(done)["teacher"]["models"][0]["sha256"] for done in (whole, resumed)]
    assert hashes[0] == hashes[1]


def test_a_model_of_all_speakers_has_a_teacher_of_all_speakers(student, tiny_corpus, tmp_path, one_thread) -> None:
    folder = train_on_everyone(load_corpus(str(tiny_corpus)), student(), out=tmp_path)
    signature = json.loads((folder / "serlab.json").read_text())["signature"]
    (model,) = signature["teacher"]["models"]
    itself, teacher = signature["heard"]
    assert model["speakers"] == itself["train"] == teacher["train"] == [f"s{number}" for number in range(6)]
    assert teacher["what"] == "the teacher mfcc-svm (seed 0)"
    assert (tmp_path / "tiny" / "everyone" / "teachers" / "mfcc-svm" / "seed0" / "serlab.json").is_file()


def test_a_teacher_of_all_speakers_takes_its_choices_from_the_quoted_comparison(
    compare, student, tiny_corpus, tiny_checkpoint, tmp_path
) -> None:
    probe = tmp_path / "probe.yaml"
    probe.write_text(
        f"title: Probe\nmodel: {{kind: probe, checkpoint: {tiny_checkpoint}}}\ntraining: {{precision: fp32}}\n"
    )
    recipe, corpus = student(recipe=str(probe)), load_corpus(str(tiny_corpus))
    with pytest.raises(UserError, match=r"chooses its layer and C on a dev subset, and there is none"):
        train_on_everyone(corpus, recipe, out=tmp_path)

    done = compare(recipe)
    assert str(tmp_path) not in (done.folder / recipe.folder(identify(recipe)[0]) / "fold1-seed0.json").read_text()
    folder = train_on_everyone(corpus, recipe, quote=done.folder, out=tmp_path)
    (model,) = json.loads((folder / "serlab.json").read_text())["signature"]["teacher"]["models"]
    (chosen,) = choices_of([signature_of(done)])
    assert model["training"]["chosen"] == {name: chosen["chosen"][name] for name in ("layer", "C")}


def test_parallel_runs_share_a_teacher(compare, student) -> None:
    done = compare(student(), seeds=[0, 1], jobs=2)
    signatures = [json.loads(path.read_text()) for path in sorted(done.folder.glob("tiny*/*.json"))]
    assert [signature["seed"] for signature in signatures] == [0, 1]
    assert len({signature["teacher"]["models"][0]["sha256"] for signature in signatures}) == 1
    assert len([*(done.folder / "teachers").glob("*/fold*")]) == 1
