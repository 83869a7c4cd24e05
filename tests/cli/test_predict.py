from __future__ import annotations

import csv
import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from serlab.audio import read

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")


@pytest.fixture
def clips(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))


@pytest.fixture
def predict(serlab, tiny_models, one_thread):
    def call(name: str, *arguments: object):
        return serlab("predict", "--model", tiny_models[name], *arguments)

    return call


@pytest.mark.parametrize("name", NAMES)
def test_json(predict, tiny_models, clips, name):
    ended = predict(name, "--format", "json", *clips[:4])
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert list(result) == ["model", "predictions", "excluded"]
    assert result["model"] == str(tiny_models[name])
    assert result["excluded"] == []
    assert [row["path"] for row in result["predictions"]] == [str(path) for path in clips[:4]]
    for row in result["predictions"]:
        assert list(row) == ["path", "label", "probabilities"]
        assert list(row["probabilities"]) == ["calm", "happy", "sad"]
        assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_all_formats_say_the_same(predict, clips):
    rows = json.loads(predict("mfcc-svm", "--format", "json", *clips[:4]).out)["predictions"]
    lines = predict("mfcc-svm", "--format", "jsonl", *clips[:4]).out.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = list(csv.DictReader(io.StringIO(predict("mfcc-svm", "--format", "csv", *clips[:4]).out)))
    assert list(table[0]) == ["path", "predicted", "prob_calm", "prob_happy", "prob_sad"]
    for line, row in zip(table, rows, strict=True):
        assert (line["path"], line["predicted"]) == (row["path"], row["label"])
        assert [float(line[f"prob_{name}"]) for name in row["probabilities"]] == list(row["probabilities"].values())
    shown = predict("mfcc-svm", *clips[:4]).out.splitlines()
    assert shown[0].split() == ["file", "emotion", "calm", "happy", "sad"]
    for line, row in zip(shown[1:], rows, strict=True):
        assert line.split()[:2] == [row["path"], row["label"]]
        assert line.split()[2:] == [f"{share:.2f}" for share in row["probabilities"].values()]


def test_csv_can_be_evaluated(predict, serlab, tiny_corpus, clips, tmp_path):
    lines = predict("mfcc-svm", "--format", "csv", *clips).out.replace("path,", "clip,", 1)
    path = tmp_path / "predictions.csv"
    path.write_text(lines.replace(f"{tiny_corpus.parent}/", "").replace(".wav", ""))
    ended = serlab("evaluate", path, "--corpus", tiny_corpus, "--format", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["scores"]["uar"]["value"] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_twice_on_shuffled_input_gives_the_same(predict, clips, name):
    shuffled = random.Random(1).sample(clips, len(clips))
    how = ("--format", "json", "--precision", "fp32")
    results = [json.loads(predict(name, *how, *paths).out)["predictions"] for paths in (clips, shuffled)]
    once, twice = ({row["path"]: row for row in rows} for rows in results)
    assert once.keys() == twice.keys()
    for path, row in once.items():
        assert row["label"] == twice[path]["label"]
        np.testing.assert_allclose(
            list(row["probabilities"].values()), list(twice[path]["probabilities"].values()), atol=1e-4
        )


def test_a_folder_is_searched_and_each_file_named_once(predict, clips):
    ended = predict("mfcc-svm", "--format", "jsonl", clips[0].parent, clips[3])
    assert [json.loads(line)["path"] for line in ended.out.splitlines()] == [str(path) for path in clips]


def test_a_plain_transformers_folder_gives_transformers_own_logits(serlab, tiny_models, clips, tmp_path):
    from transformers import pipeline

    folder = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    (folder / "serlab.json").unlink()
    ended = serlab("predict", "--model", folder, "--precision", "fp32", "--format", "json", *clips[:3])
    assert ended.code == 0
    theirs = pipeline("audio-classification", model=str(folder), device="cpu")
    for row in json.loads(ended.out)["predictions"]:
        expected = {entry["label"]: entry["score"] for entry in theirs(read(Path(row["path"])), top_k=3)}
        assert row["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_precision_can_be_chosen(predict, clips):
    fp32, bf16 = (
        np.array([list(row["probabilities"].values()) for row in json.loads(predict(*arguments).out)["predictions"]])
        for arguments in (
            ("tiny-wav2vec2", "--format", "json", "--precision", precision, *clips[:5])
            for precision in ("fp32", "bf16")
        )
    )
    assert not np.array_equal(fp32, bf16)
    np.testing.assert_allclose(fp32, bf16, atol=0.05)


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_what_cannot_be_read_is_listed_and_the_rest_predicted(predict, clips, tmp_path, form):
    broken = tmp_path / "[red] broken.wav"
    broken.write_bytes(b"")
    ended = predict("mfcc-svm", "--format", form, broken, clips[0])
    assert ended.code == 1
    assert str(clips[0]) in ended.out
    if form == "json":
        assert json.loads(ended.out)["excluded"] == [{"path": str(broken), "reason": "empty file"}]
    else:
        assert f"left out: {broken} (empty file)" in ended.err


def test_file_names_are_no_markup(predict, make_tone, tmp_path):
    odd = make_tone(tmp_path / '[red]odd, "name".wav')
    assert "[red]odd," in predict("mfcc-svm", odd).out
    (row,) = csv.DictReader(io.StringIO(predict("mfcc-svm", "--format", "csv", odd).out))
    assert row["path"] == str(odd)
