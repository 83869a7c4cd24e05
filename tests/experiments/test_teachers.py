"""Distillation in comparisons: who teaches, what is cached and recorded, and what changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.experiments.taught import logits_of, same, signature_of, weights_of

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments.deployment import train_on_everyone
from serlab.experiments.scorer import Scorer
from serlab.experiments.teachers import choices_of, first_half
from serlab.frontends.cache import FeatureCache
from serlab.protocols import split
from serlab.recipes import identify, load_recipe
from serlab.training import loop

pytestmark = pytest.mark.usefixtures("fresh_cache")


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
