from __future__ import annotations

import json

import pytest
import yaml

from serlab.model.card import model_card
from serlab.recipes import load_recipe


@pytest.fixture
def signature(tiny_comparison):
    return json.loads(next(tiny_comparison.folder.glob("tiny-wav2vec2*/fold1-seed0.json")).read_text())


def test_card_says_what_the_model_is_and_what_it_was_trained_on(signature):
    card = model_card(signature, needs_serlab=False)
    front, text = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(front) == {"library_name": "transformers", "pipeline_tag": "audio-classification"}
    text = " ".join(text.split())
    for phrase in (
        "# Tiny Wav2Vec2, from scratch",
        "Recognises calm, happy, sad in speech",
        "fold 1 of `speaker-2` of tiny (the user's own 16,000 Hz WAV files)",
        "Trained from scratch.",
        "Speaker-disjoint protocol: yes.",
        "also loads in plain transformers",
    ):
        assert phrase in text


def test_card_says_what_it_started_from_and_that_it_needs_serlab(signature):
    signature["recipe"]["pretrained"] = "wav2vec2-base"
    card = model_card(signature, needs_serlab=True)
    assert "library_name: serlab" in card
    assert "Started from the pretrained weights wav2vec2-base." in card
    assert "plain transformers" not in card


def test_card_says_who_taught_the_model(signature):
    assert "Taught by" not in model_card(signature, needs_serlab=True)
    teacher = {"name": "whisper-base-probe", "title": "Whisper-base probe", "hash": "a" * 64, "models": [{}, {}]}
    card = model_card({**signature, "teacher": teacher}, needs_serlab=True)
    assert (
        "Trained from scratch. Taught by 2 models of Whisper-base probe (`whisper-base-probe`, aaaaaaaaaaaa)." in card
    )
    assert "hidden states" not in card
    settings = {"training": {"teacher": {"states": [1, 3], "states_weight": 0.5}}}
    recipe = {**signature["recipe"], "config": {**signature["recipe"]["config"], **settings}}
    card = model_card({**signature, "teacher": teacher, "recipe": recipe}, needs_serlab=True)
    assert "Its frames also learned hidden states of that encoder (layers 1, 3)." in card


@pytest.mark.parametrize(("disjoint", "words"), [(False, "NO, the subsets share speakers"), (None, "unknown")])
def test_card_hides_no_leak(signature, disjoint, words):
    signature["protocol"]["speaker_disjoint"] = disjoint
    assert f"Speaker-disjoint protocol: {words}." in model_card(signature, needs_serlab=False)


def test_card_lists_every_setting_that_differs_and_the_weights_by_hash(signature):
    assert "Settings other than the defaults: " in model_card(signature, needs_serlab=False)
    recipe = load_recipe("wav2vec2-base", ["training.epochs=3", "model.config.layerdrop=0.1"])
    signature["weights_sha256"] = "ab" * 32
    signature["recipe"] |= {"name": "wav2vec2-base-1a2b3c", "config": recipe.settings(), "pretrained": "my-own"}
    card = model_card(signature, needs_serlab=False)
    changed = "model.config.layerdrop=0.1, training.epochs=3"
    assert f"Settings other than those of the preset `wav2vec2-base`: {changed}." in card
    assert f"pretrained weights my-own (SHA-256 {'ab' * 32})." in card
    signature["recipe"] |= {"name": "wav2vec2-base", "config": load_recipe("wav2vec2-base").settings()}
    assert "All settings are those of the preset `wav2vec2-base`." in model_card(signature, needs_serlab=False)
