"""Speech without labels that a student learns from its teachers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.experiments.taught import signature_of

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.protocols import split
from serlab.recipes import identify, load_recipe

pytestmark = pytest.mark.usefixtures("fresh_cache")


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
