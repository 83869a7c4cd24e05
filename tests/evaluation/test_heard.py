"""Scores of a model on its own training speakers are said to be that."""

from __future__ import annotations

import json

import pytest

from serlab.corpora import load_corpus


@pytest.fixture
def predicted(serlab, tiny_models, tiny_corpus, tmp_path):
    table = tmp_path / "p.csv"
    done = serlab("predict", "--model", tiny_models["mfcc-svm"], tiny_corpus.parent, "--out", table)
    assert done.code == 0, done.err
    return table


def test_training_speakers_among_the_judged_are_counted(serlab, predicted, tiny_models, tiny_corpus):
    heard = json.loads((tiny_models["mfcc-svm"] / "serlab.json").read_text("utf-8"))["signature"]["heard"][0]["train"]
    speakers = len(set(load_corpus(str(tiny_corpus)).clips["speaker"]))
    judged = serlab("evaluate", predicted, "--corpus", tiny_corpus)
    assert judged.code == 0, judged.err
    assert f"was trained on {len(heard)} of the {speakers} speakers" in judged.err


def test_so_are_those_of_its_teachers(serlab, predicted, tiny_corpus, tmp_path):
    side = tmp_path / "p.csv.json"
    content = json.loads(side.read_text("utf-8"))
    student = tmp_path / "student"
    student.mkdir()
    nobody = {"corpus": "tiny", "fingerprint": None, "train": [], "dev": []}
    heard = [{**nobody, "what": "itself"}, {**nobody, "what": "the teacher x", "train": ["s1"], "dev": ["s2"]}]
    (student / "serlab.json").write_text(json.dumps({"signature": {"heard": heard}}), "utf-8")
    side.write_text(json.dumps(content | {"model": str(student)}), "utf-8")
    judged = serlab("evaluate", predicted, "--corpus", tiny_corpus)
    assert "caution: the model: the teacher x of " in judged.err
    assert "was trained on 1 of the 6 speakers" in judged.err
    assert judged.err.count("caution: ") == 1


def test_other_corpora_and_tables_are_not_spoken_of(serlab, predicted, tiny_corpus, tmp_path):
    other = tmp_path / "other" / "theirs.csv"
    other.parent.mkdir()
    text = tiny_corpus.read_text("utf-8").splitlines()
    other.write_text("\n".join([text[0], *(f"{tiny_corpus.parent}/{line}" for line in text[1:-3])]), "utf-8")
    judged = serlab("evaluate", predicted, "--corpus", other)
    assert "was trained on" not in judged.err
    (predicted.parent / "p.csv.json").unlink()
    judged = serlab("evaluate", predicted, "--corpus", tiny_corpus)
    assert judged.code == 0, judged.err
    assert "was trained on" not in judged.err
