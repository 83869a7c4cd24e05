"""What a model says about itself, and its card for notebooks."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser

import pytest

from serlab import load_model
from serlab.model.info import MeasuredUar, ModelInfo, card

UAR = {
    "uar": 0.614,
    "low": 0.59,
    "high": 0.638,
    "clips": 900,
    "speakers": 12,
    "protocol": "p",
    "speaker_disjoint": True,
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_card_of_a_trained_model(tiny_models):
    model = load_model(tiny_models["tiny-resnet"])
    text = " ".join(Page(model._repr_html_()).words)
    for part in ("calm, happy, sad", "fold 1 of speaker-2", "18 clips", "2 speakers", "no interval", "Acted speech"):
        assert part in text
    assert str(model.folder) not in text


def test_the_card_of_a_checkpoint_says_what_it_can(tiny_models, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], plain)
    (plain / "serlab.json").unlink()
    model = load_model(plain)
    assert model.info == ModelInfo(labels=model.labels)
    text = " ".join(Page(model._repr_html_()).words)
    assert "calm, happy, sad" in text
    assert "Trained on" not in text


def test_nothing_in_a_card_is_markup():
    evil = '<script>alert("x")</script>&\x1b[31m'
    info = ModelInfo(
        recipe=evil, recipe_hash=evil, corpus=evil, protocol=evil, fold=1, seed=0, licence=evil, limits=evil
    )
    page = Page(card(evil, (evil,), evil, info))
    assert "script" not in page.tags
    assert '<script>alert("x")</script>' in "".join(page.words)
    assert "\x1b" not in "".join(page.words)


@pytest.mark.parametrize(
    ("change", "own", "words"),
    [
        ({}, True, "61.4 % (95 % interval 59.0 to 63.8), measured on 12 speakers it has not heard"),
        ({"low": None}, True, "61.4 % (no interval), measured on 12 speakers it has not heard"),
        ({"speakers": None}, True, "61.4 % (95 % interval 59.0 to 63.8), measured on 900 clips"),
        ({"speaker_disjoint": False}, True, "61.4 % (95 % interval 59.0 to 63.8), measured on 12 speakers"),
        ({}, False, "12 speakers, for models with this recipe that were trained on a part of the corpus"),
    ],
)
def test_a_uar_is_never_without_what_it_was_measured_on(change, own, words):
    assert words in str(MeasuredUar.of({**UAR, **change}, own=own))


def test_a_quoted_uar_is_not_the_model_s_own(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    del content["tested"]
    content["signature"]["identity"] |= {"fixed": {}, "quoted": UAR}
    (folder / "serlab.json").write_text(json.dumps(content))
    info = load_model(folder).info
    assert info.fold is None
    assert (info.uar.value, info.uar.own) == (0.614, False)
