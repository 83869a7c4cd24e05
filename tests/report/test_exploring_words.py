"""What the clips suggest: sentences that do not go beyond them."""

from __future__ import annotations

import dataclasses

import pytest
from tests.report.explored import corpus_of, crossed, space_of, table_of, view_of

from serlab.corpora.base import Corpus


def said(corpus: Corpus, **how: object) -> str:
    return "\n".join(f"{each.severity}: {each.text}" for each in view_of(corpus, table_of(corpus), **how).suggestions)


def test_a_corpus_without_problems_gets_its_protocol_alone() -> None:
    assert said(corpus_of(crossed(12, 4))) == (
        "note: Use speaker-5 (the default): 2 folds, speakers apart, 2 to 3 test speakers each."
    )


def test_holes_are_said_with_names_and_many_are_cut() -> None:
    text = said(corpus_of(crossed(12, 3, without=[(f"s{s:04}", "label01") for s in (1, 3)])))
    assert "note: 2 speakers have no clip of 'label01': s0001 and s0003." in text
    text = said(corpus_of(crossed(12, 9, without=[(f"s{s:04}", "label03") for s in range(7)])))
    assert "7 speakers have no clip of 'label03': s0000, s0001, s0002, s0003, s0004, …." in text


def test_a_corpus_full_of_holes_gets_one_sentence() -> None:
    holes = [(f"s{s:04}", f"label{k:02}") for s in range(7) for k in range(7)]
    text = said(corpus_of(crossed(12, 9, without=[*holes, ("s0008", "label03")])))
    assert text.count("no clip") == 1
    assert "50 of 108 pairs of speaker and label have no clip; most often 'label03' is missing, for 8 speakers." in text


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.3, 0.1), "labels 10.0 %: clips differ more by speaker than by label, so keep speakers apart."),
        ((0.1, 0.3), "labels 30.0 %: in these features, clips differ more by label than by speaker."),
    ],
)
def test_which_explains_more(shares: tuple[float, float], expected: str) -> None:
    corpus = corpus_of(crossed(12, 4))
    assert expected in said(corpus, space=space_of(corpus, *shares))


def test_label_and_speaker_in_one_are_not_compared() -> None:
    corpus = corpus_of([(f"s{s:02}", "happy" if s % 2 else "sad") for s in range(12)] * 2)
    text = said(corpus, space=space_of(corpus))
    assert "warning: All speakers have clips of one label only, so label and speaker cannot be separated." in text
    assert "explain" not in text


@pytest.mark.parametrize(("speakers", "words"), [(1, "1 speaker is"), (2, "2 speakers are"), (9, "9 speakers are")])
def test_too_few_speakers(speakers: int, words: str) -> None:
    text = said(corpus_of(crossed(speakers, 3)))
    assert f"warning: {words} too few for an interval over speakers, which needs 10" in text
    assert "the corpus can still be the test corpus of models that are trained on others." in text


def test_unknown_speakers_come_first_and_no_speaker_is_mentioned_as_known() -> None:
    corpus = corpus_of([("", "happy"), ("", "sad")], speakers_known=False)
    protocols = [dataclasses.replace(view_of(corpus, table_of(corpus)).protocols[0], disjoint=None, speakers=())]
    text = said(corpus, protocols=protocols)
    assert text.startswith("warning: The speakers are unknown, so the same voice may be in training and test;")
    assert "2 folds; it cannot keep speakers apart, because they are unknown." in text


def test_uneven_labels_and_a_single_one() -> None:
    text = said(corpus_of([("a", "happy")] * 30 + [("b", "sad")] * 10))
    assert "'happy' has 30 clips and 'sad' 10" in text
    assert "right for 75.0 % of the clips" in text
    assert "warning: There is a single label; a training needs two." in said(corpus_of([("a", "sad"), ("b", "sad")]))


def test_files_duplicates_rates_and_no_protocol() -> None:
    corpus = corpus_of(crossed(12, 2))
    corpus.clips.loc[:, "sample_rate"] = [8000] * 23 + [48000]
    text = said(
        corpus, excluded=[{"clip": "x", "reason": "silent"}] * 2, duplicates=[("clip00000", "clip00001")], protocols=()
    )
    assert "warning: 2 clips or entries cannot be used (x: silent, …)." in text
    assert "note: 1 pair of clips is the same recording;" in text
    assert "Sample rates differ: 48,000 Hz (1 clip); and 8,000 Hz (23 clips)" in text
    assert "warning: No protocol fits" in text
    corpus.clips.loc[:, "sample_rate"] = 8000
    assert "The clips have 8,000 Hz, so they contain nothing above 4 kHz." in said(corpus)
