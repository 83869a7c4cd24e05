import csv
import io
import json
import shutil

import numpy as np
import pytest

ASKED = ("--abstain", "0.05")


@pytest.fixture
def clips(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))


@pytest.fixture
def answers(serlab, one_thread):
    def call(model, clips, *how):
        ended = serlab("predict", "--model", model, *clips, *how)
        assert ended.code == 0, ended.err
        return ended.out

    return call


@pytest.fixture
def unsure(tiny_models, answers, clips, tmp_path):
    """A model that should answer the more confident half of the clips, and its predictions for all."""
    folder = tmp_path / "unsure"
    shutil.copytree(tiny_models["tiny-resnet"], folder)
    rows = json.loads(answers(folder, clips, "--format", "json"))["predictions"]
    content = json.loads((folder / "serlab.json").read_text())
    middle = float(np.median([max(row["probabilities"].values()) for row in rows]))
    content["signature"]["training"]["reliance"] = {"temperature": 1.0, "thresholds": [middle] * 50}
    (folder / "serlab.json").write_text(json.dumps(content))
    return folder, rows


def test_off_by_default_and_in_every_format(serlab, answers, unsure, clips, tmp_path):
    model, every = unsure
    assert None not in [row["label"] for row in every]
    rows = json.loads(answers(model, clips, "--format", "json", *ASKED))["predictions"]
    left = [row["label"] is None for row in rows]
    sure = [max(row["probabilities"].values()) for row in rows]
    assert 0 < sum(left) < len(rows)
    assert max(s for s, out in zip(sure, left, strict=True) if out) < min(
        s for s, out in zip(sure, left, strict=True) if not out
    )
    assert [row["probabilities"] for row in rows] == [row["probabilities"] for row in every]
    table = list(csv.DictReader(io.StringIO(answers(model, clips, "--format", "csv", *ASKED))))
    assert [row["predicted"] == "" for row in table] == left
    assert answers(model, clips, *ASKED).count("can't tell") == sum(left)


def test_a_file_keeps_to_one_way_of_answering(serlab, answers, unsure, clips, tmp_path):
    model, _ = unsure
    out = tmp_path / "predictions.csv"
    answers(model, clips[:4], "--out", out, *ASKED)
    answers(model, clips, "--out", out, *ASKED)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(clips)
    assert 0 < sum(row["predicted"] == "" for row in rows) < len(rows)
    other = serlab("predict", "--model", model, *clips, "--out", out)
    assert other.code == 2
    assert "was written with --abstain 0.05" in other.sentence


@pytest.mark.parametrize("share", ["2", "0"])
def test_a_share_that_makes_no_sense(serlab, tiny_models, clips, share):
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], clips[0], "--abstain", share)
    assert ended.code == 2
    assert "from 0.01 to 0.5" in ended.sentence


def test_a_plain_checkpoint_does_not_know_when(serlab, tiny_models, clips, tmp_path, one_thread):
    plain = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], plain)
    (plain / "serlab.json").unlink()
    ended = serlab("predict", "--model", plain, clips[0], "--abstain", "0.1")
    assert ended.code == 2
    assert "does not say when to abstain" in ended.sentence
