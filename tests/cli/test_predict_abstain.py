import csv
import io
import json

import numpy as np
import pytest


@pytest.fixture
def clips(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))


def answers(serlab, model, clips, *how):
    ended = serlab("predict", "--model", model, *clips, *how)
    assert ended.code == 0, ended.err
    return ended.out


def test_off_by_default_and_in_every_format(serlab, tiny_models, clips, one_thread, tmp_path):
    model = tiny_models["tiny-resnet"]
    every = json.loads(answers(serlab, model, clips, "--format", "json"))["predictions"]
    assert None not in [row["label"] for row in every]
    asked = ("--abstain", "0.05")
    rows = json.loads(answers(serlab, model, clips, "--format", "json", *asked))["predictions"]
    left = [row["label"] is None for row in rows]
    assert 0 < sum(left) < len(rows)
    assert [row["probabilities"] for row in rows] == [row["probabilities"] for row in every]
    table = list(csv.DictReader(io.StringIO(answers(serlab, model, clips, "--format", "csv", *asked))))
    assert [row["predicted"] == "" for row in table] == left
    assert answers(serlab, model, clips, *asked).count("can't tell") == sum(left)
    out = tmp_path / "predictions.csv"
    answers(serlab, model, clips, "--out", out, *asked)
    assert [row["predicted"] == "" for row in csv.DictReader(out.open())] == left
    other = serlab("predict", "--model", model, *clips, "--out", out)
    assert other.code == 2
    assert "another --abstain (0.05)" in other.sentence


def test_the_less_sure_are_left_first(serlab, tiny_models, clips, one_thread):
    model = tiny_models["tiny-resnet"]
    rows = json.loads(answers(serlab, model, clips, "--format", "json", "--abstain", "0.05"))["predictions"]
    # One temperature keeps the order of two labels, not quite that of three.
    sure = {left: np.mean([max(row["probabilities"].values()) for row in rows if (row["label"] is None) is left])
            for left in (True, False)}  # fmt: skip
    assert sure[True] < sure[False]


@pytest.mark.parametrize(("share", "sentence"), [("2", "from 0.01 to 0.5"), ("0", "from 0.01 to 0.5")])
def test_a_share_that_makes_no_sense(serlab, tiny_models, clips, share, sentence):
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], clips[0], "--abstain", share)
    assert ended.code == 2
    assert sentence in ended.sentence


def test_a_plain_checkpoint_does_not_know_when(serlab, tiny_models, clips, tmp_path, one_thread):
    import shutil

    plain = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], plain)
    (plain / "serlab.json").unlink()
    ended = serlab("predict", "--model", plain, clips[0], "--abstain", "0.1")
    assert ended.code == 2
    assert "does not say when to abstain" in ended.sentence
