"""Nested folders of labels and speakers."""

from __future__ import annotations

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.corpora.levels import read_levels

LABELS = ("happy", "sad")
PEOPLE = ("Actor_01", "Actor_02", "Actor_03")


@pytest.mark.parametrize(
    ("layout", "levels"),
    [
        ("{label}/{who}/{n}", {"label": 0, "speaker": 1}),
        ("{who}/{label}/{n}", {"label": 1, "speaker": 0}),
        ("data/{who}/{label}/{n}", {"label": 2, "speaker": 1}),
        ("{side}/{label}/{n}", {"label": 1}),
        ("{label}/{who}-{n}", {"label": 0}),
        ("{who}/{n}-{label}", {"label": 0}),
        ("{who}/{side}/{n}", None),
        ("{n}", None),
    ],
)
def test_layouts(layout, levels):
    names = [
        f"{layout.format(label=label, who=who, n=n, side='train' if n else 'test')}.wav"
        for label in LABELS
        for who in PEOPLE
        for n in range(2)
    ]
    assert read_levels(names) == levels


def test_a_folder_per_speaker_and_label(tmp_path, make_tone, capsys):
    for place, who in enumerate(PEOPLE):
        for label in LABELS:
            make_tone(tmp_path / who / label / "1.wav", hz=200 + 50 * place + 10 * len(label))
    corpus = load_corpus(str(tmp_path))
    assert corpus.speakers_known
    assert set(corpus.clips["speaker"]) == set(PEOPLE)
    assert corpus.labels == LABELS
    assert "folders of level 2 are labels and folders of level 1 are speakers" in capsys.readouterr().err


def test_clips_at_two_depths(tmp_path, make_tone):
    make_tone(tmp_path / "happy" / "ann" / "1.wav")
    make_tone(tmp_path / "sad" / "2.wav")
    with pytest.raises(UserError, match=r"1.wav is deeper than label/clip; put each clip into"):
        load_corpus(str(tmp_path))
