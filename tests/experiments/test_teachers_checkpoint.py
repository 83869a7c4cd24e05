"""Checkpoints as teachers: classifiers of plain transformers, and models that serlab trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.experiments.taught import signature_of

from serlab.audio import Audio
from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.model.folder import load
from serlab.recipes import identify

pytestmark = pytest.mark.usefixtures("fresh_cache")


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
