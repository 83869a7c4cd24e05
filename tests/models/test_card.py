from __future__ import annotations

import json

import pytest
import yaml

from serlab.models.card import model_card


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


@pytest.mark.parametrize(("disjoint", "words"), [(False, "NO, speakers are on both sides"), (None, "unknown")])
def test_card_hides_no_leak(signature, disjoint, words):
    signature["protocol"]["speaker_disjoint"] = disjoint
    assert f"Speaker-disjoint protocol: {words}." in model_card(signature, needs_serlab=False)
