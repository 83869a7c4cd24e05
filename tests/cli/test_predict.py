from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from serlab.audio import Audio

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
        expected = {entry["label"]: entry["score"] for entry in theirs(Audio.from_file(row["path"]).samples, top_k=3)}
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


def test_file_names_are_not_markup(predict, make_tone, tmp_path):
    odd = make_tone(tmp_path / '[red]odd, "name".wav')
    assert "[red]odd," in predict("mfcc-svm", odd).out
    (row,) = csv.DictReader(io.StringIO(predict("mfcc-svm", "--format", "csv", odd).out))
    assert row["path"] == str(odd)


def test_a_name_that_is_not_utf8_is_printed_as_it_is_for_programs_and_as_an_escape_for_people(
    serlab_process, tiny_models, make_tone, tmp_path
):
    odd = tmp_path / os.fsdecode(b"caf\xe9.wav")
    shutil.move(make_tone(tmp_path / "a.wav"), odd)
    for form in ("csv", "table"):
        how = {"errors": "surrogateescape"}
        ended = serlab_process("predict", "--model", tiny_models["mfcc-svm"], "--format", form, odd, **how)
        assert ended.code == 0
        assert (str(odd) if form == "csv" else r"caf\xe9.wav") in ended.out


@pytest.fixture
def many(clips, tmp_path) -> Path:
    """A folder of 600 clips and one that cannot be read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number:03}.wav").symlink_to(clips[number % len(clips)])
    (folder / "150 empty.wav").touch()
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_come_before_the_end(start_serlab, tiny_models, many):
    with start_serlab("predict", "--model", tiny_models["mfcc-svm"], "--format", "csv", many) as process:
        first = [process.stdout.readline() for _ in range(1 + 32)]
        running = process.poll() is None
        process.kill()
    assert running
    assert first[0] == "path,predicted,prob_calm,prob_happy,prob_sad\n"
    assert [line.split(",")[0] for line in first[1:]] == [str(many / f"{number:03}.wav") for number in range(32)]


def test_killed_and_started_again_it_ends_as_uninterrupted(predict, start_serlab, tiny_models, many, tmp_path):
    killed, whole = tmp_path / "killed.csv", tmp_path / "whole.csv"
    command = ("predict", "--model", tiny_models["mfcc-svm"], many, "--out", killed)
    with start_serlab(*command) as process:
        while not (killed.is_file() and killed.read_bytes().count(b"\n") > 1) and process.poll() is None:
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    before = killed.read_bytes().count(b"\n") - 1
    assert 0 < before < 600
    with killed.open("ab") as stream:
        stream.write(str(many / "59").encode())
    ended = predict("mfcc-svm", many, "--out", killed)
    assert (ended.code, ended.out) == (1, f"{killed}\n")
    assert f"{killed}: {before} of 601 files are done already." in ended.err
    assert f"left out: 1 of 601 files; {tmp_path / 'killed.excluded.csv'} says why." in ended.err
    assert predict("mfcc-svm", many, "--out", whole).code == 1
    got, expected = rows_of(killed), rows_of(whole)
    assert [row["path"] for row in got] == [str(many / f"{number:03}.wav") for number in range(600)]
    for one, other in zip(got, expected, strict=True):
        assert (one["path"], one["predicted"]) == (other["path"], other["predicted"])
        for name in ("prob_calm", "prob_happy", "prob_sad"):
            assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-6)
    for path in (killed, whole):
        assert rows_of(path.with_suffix(".excluded.csv")) == [
            {"path": str(many / "150 empty.wav"), "reason": "empty file"}
        ]
    again = killed.read_bytes()
    assert predict("mfcc-svm", many, "--out", killed).code == 1
    assert killed.read_bytes() == again


def test_out_holds_what_is_printed(predict, clips, tmp_path):
    for ending in ("csv", "jsonl"):
        path = tmp_path / f"new folder/p.{ending}"
        ended = predict("tiny-resnet", *clips[:4], "--out", path)
        assert (ended.code, ended.out, ended.err) == (0, f"{path}\n", "")
        with path.open(newline="") as stream:
            assert stream.read() == predict("tiny-resnet", *clips[:4], "--format", ending).out


def test_files_that_are_not_asked_for_do_not_count_as_left_out(predict, many, clips, tmp_path):
    path = tmp_path / "p.csv"
    assert predict("mfcc-svm", many / "150 empty.wav", "--out", path).code == 1
    assert rows_of(path) == []
    assert predict("mfcc-svm", *clips[:2], "--out", path).code == 0
    assert [row["path"] for row in rows_of(path)] == [str(clip) for clip in clips[:2]]


def test_another_models_file_is_refused(predict, clips, tmp_path):
    path = tmp_path / "p.csv"
    predict("tiny-resnet", clips[0], "--out", path, "--precision", "fp32")
    before = path.read_bytes()
    ended = predict("mfcc-svm", *clips[:2], "--out", path)
    assert ended.code == 2
    assert f"{path} holds rows of another model" in ended.sentence
    ended = predict("tiny-resnet", *clips[:2], "--out", path, "--precision", "bf16")
    assert ended.code == 2
    assert "use --precision fp32" in ended.sentence
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["--out", "p.doc"], "--out p.doc must end in .csv, .jsonl, .parquet, .vtt, .textgrid or .txt"),
        (["--out", "p.csv", "--format", "jsonl"], "--format jsonl contradicts the ending of --out p.csv"),
    ],
)
def test_an_out_that_cannot_be(predict, clips, tmp_path, monkeypatch, arguments, phrase):
    monkeypatch.chdir(tmp_path)
    ended = predict("mfcc-svm", clips[0], *arguments)
    assert ended.code == 2
    assert phrase in ended.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table", "out"])
def test_whatever_looks_like_a_recording_is_predicted_or_listed(predict, clips, tmp_path, form):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clips[0], folder / "1.wav")
    shutil.copytree(folder, tmp_path / "store")
    (folder / "linked").symlink_to(tmp_path / "store")
    (folder / "round").symlink_to(".")
    (folder / "gone.flac").symlink_to("/data/.git/annex/objects/K.flac/K.flac")
    (folder / "old.dss").write_bytes(b"DSS")
    (folder / ".hidden.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    asked = ["--out", tmp_path / "p.csv"] if form == "out" else ["--format", form]
    ended = predict("mfcc-svm", *asked, folder)
    assert ended.code == 1
    left_out = {f"{folder}/{name}" for name in (".hidden.wav", "gone.flac", "old.dss", "pipe.wav")}
    if form == "json":
        result = json.loads(ended.out)
        assert [row["path"] for row in result["predictions"]] == [f"{folder}/1.wav", f"{folder}/linked/1.wav"]
        listed = {entry["path"] for entry in result["excluded"]}
    elif form == "out":
        rows = csv.DictReader(io.StringIO((tmp_path / "p.excluded.csv").read_text(encoding="utf-8")))
        listed = {row["path"] for row in rows}
        again = predict("mfcc-svm", *asked, folder)
        assert again.code == 1
        assert len((tmp_path / "p.excluded.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(left_out)
    else:
        said = [line for line in ended.err.splitlines() if line.startswith("left out: ")]
        listed = {line.removeprefix("left out: ").split(" (")[0] for line in said}
        assert ended.out.count("1.wav") == 2
    assert listed == left_out


def test_a_file_name_with_control_characters_is_shown_as_text_and_kept_for_programs(predict, clips, tmp_path):
    steering = tmp_path / "a\x1b[2J\u202eb\n.wav"
    shutil.copy(clips[0], steering)
    broken = tmp_path / "c\x1b[31m.wav"
    broken.write_bytes(b"no sound")
    ended = predict("mfcc-svm", steering, broken)
    assert r"a\x1b[2J\u202eb\n.wav" in ended.out
    assert r"c\x1b[31m.wav" in ended.err
    assert "\x1b" not in ended.out + ended.err
    assert len(ended.out.splitlines()) == 2
    rows = json.loads(predict("mfcc-svm", "--format", "json", steering).out)["predictions"]
    assert [row["path"] for row in rows] == [str(steering)]
    (row,) = csv.DictReader(io.StringIO(predict("mfcc-svm", "--format", "csv", steering).out, newline=""))
    assert row["path"] == str(steering)


def test_an_unknown_precision_is_an_error_in_every_command(serlab, predict, tiny_corpus, clips):
    for ended in (
        predict("mfcc-svm", clips[0], "--precision", "fp8"),
        serlab("compare", tiny_corpus, "--recipes", "mfcc-svm", "--precision", "fp8"),
        serlab("train", tiny_corpus, "--recipe", "mfcc-svm", "--precision", "fp8"),
        serlab("train", tiny_corpus, "--recipe", "mfcc-svm", "--all", "--precision", "fp8"),
    ):
        assert ended.code == 2
        assert ended.sentence.startswith("--precision fp8 is not one of auto, fp32, bf16")
