from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

LABELS = ("angry", "calm")


@pytest.fixture
def predictions(tmp_path) -> Path:
    """Predictions of another program: 24 clips of 12 speakers."""
    random = np.random.default_rng(0)
    clips = pd.DataFrame({"clip": [f"c{n:02d}" for n in range(24)], "speaker": [f"s{n // 2}" for n in range(24)]})
    clips["label"] = np.tile(LABELS, 12)
    angry = np.where(clips["label"] == "angry", 0.7, 0.3) + random.uniform(-0.29, 0.29, 24)
    path = tmp_path / "predictions.csv"
    clips.assign(prob_angry=angry, prob_calm=1 - angry).to_csv(path, index=False)
    return path


def test_evaluate_as_a_table(serlab, predictions):
    ended = serlab("evaluate", predictions)
    assert (ended.code, ended.err) == (0, "")
    table = pd.read_csv(predictions)
    guess = np.where(table["prob_angry"] > 0.5, "angry", "calm")
    uar = 100 * balanced_accuracy_score(table["label"], guess)
    assert ended.out.startswith("24 clips, 12 speakers\n")
    assert f"UAR{uar:20.1f} %   95 % interval" in ended.out


def test_evaluate_as_json(serlab, predictions):
    result = json.loads(serlab("evaluate", predictions, "--format", "json").out)
    assert result["labels"] == list(LABELS)
    assert result["scores"]["uar"]["low"] <= result["scores"]["uar"]["value"] <= result["scores"]["uar"]["high"]


def test_evaluate_writes_a_report_on_request(serlab, predictions, tmp_path):
    page = tmp_path / "judged" / "index.html"
    ended = serlab("evaluate", predictions, "--report", page.parent)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, f"report: {page}")
    assert "<html" in page.read_text(encoding="utf-8")
    ended = serlab("evaluate", predictions, "--report", page.parent, "--format", "json")
    assert json.loads(ended.out)["report"] == str(page)
    ended = serlab("evaluate", predictions, "--report", predictions)
    assert ended.code == 2


def test_a_report_for_a_paper(serlab, predictions, tiny_comparison, tmp_path):
    assert serlab("evaluate", predictions, "--report", tmp_path / "judged", "--latex").code == 0
    assert "label" in (tmp_path / "judged" / "paper" / "labels.csv").read_text()
    ended = serlab("evaluate", predictions, "--latex")
    assert (ended.code, ended.err) == (
        2,
        "serlab: --latex writes into a report's folder; name one with --report FOLDER.\n",
    )
    own = shutil.copytree(tiny_comparison.folder.parent, tmp_path / "own")
    assert serlab("report", own, "--latex").code == 0
    assert (own / tiny_comparison.folder.name / "report" / "paper" / "scores.tex").is_file()


def test_evaluate_serlabs_own_table_in_both_subsets(serlab, tiny_comparison):
    (path,) = tiny_comparison.folder.glob("mfcc-svm*/fold1-seed0.parquet")
    for side, clips in (("dev", 9), ("test", 27)):
        assert json.loads(serlab("evaluate", path, "--side", side, "--format", "json").out)["clips"] == clips
    ended = serlab("evaluate", path, "--side", "train")
    assert ended.code == 2
    assert "'train'" in ended.sentence


def test_clips_that_cannot_be_evaluated_are_listed_with_exit_code_1(serlab, tiny_comparison, tiny_corpus, tmp_path):
    (source,) = tiny_comparison.folder.glob("mfcc-svm*/fold1-seed0.parquet")
    table = pd.read_parquet(source).query("side == 'test'").drop(columns=["speaker", "label"])
    table.iloc[0, table.columns.get_loc("clip")] = "stranger"
    path = tmp_path / "predictions.csv"
    table.to_csv(path, index=False)
    ended = serlab("evaluate", path, "--corpus", tiny_corpus)
    assert ended.code == 1
    assert "left out: stranger (not in the corpus tiny)" in ended.out
    assert "26 clips" in ended.out


def test_what_predict_writes_is_evaluated_as_it_is(serlab, tiny_comparison, tiny_models, tiny_corpus, tmp_path):
    """From another folder, with paths that differ from the ids in prefix and extension; CSV, JSON lines, JSON."""
    model, folder = tiny_models["mfcc-svm"], tiny_corpus.parent
    scores = []
    for name in ("p.csv", "p.jsonl", "p.json"):
        path = tmp_path / name
        ended = serlab("predict", "--model", model, "--format", name.partition(".")[2], "--abstain", "0.4", folder)
        path.write_text(ended.out)
        ended = serlab("evaluate", path, "--corpus", tiny_corpus, "--format", "json")
        assert (ended.code, ended.err) == (0, "")
        scores.append(json.loads(ended.out))
    assert scores[0] == scores[1] == scores[2]
    assert (scores[0]["clips"], scores[0]["unpredicted"]) == (54, 0)
    ended = serlab("evaluate", tmp_path / "p.jsonl")
    assert "has no column label" in ended.sentence
    ids = tmp_path / "ids.csv"
    table = pd.read_csv(tmp_path / "p.csv")
    table.assign(path=[Path(name).stem for name in table["path"]]).rename(columns={"path": "clip"}).to_csv(ids)
    ended = serlab("evaluate", tmp_path / "p.csv", ids, "--corpus", tiny_corpus, "--format", "json")
    (pair,) = json.loads(ended.out)["pairs"]
    assert (pair["clips"], pair["only"], pair["differences"]["uar"]["value"]) == (54, [0, 0], 0)


def test_files_of_predict_whose_names_are_not_utf_8_are_listed(serlab, tiny_corpus, tmp_path):
    rows = [("s0_calm_0", 0.8), (os.fsdecode(b"gr\xfcn.wav"), 0.7)]
    table, lines = tmp_path / "p.csv", tmp_path / "p.jsonl"
    text = "path,predicted,prob_calm,prob_happy,prob_sad\n"
    text += "".join(f"{name},calm,{share},{1 - share},0\n" for name, share in rows)
    table.write_bytes(text.encode("utf-8", "surrogateescape"))
    shares = [{"calm": share, "happy": 1 - share, "sad": 0} for _, share in rows]
    entries = [{"path": name, "label": "calm", "probabilities": p} for (name, _), p in zip(rows, shares, strict=True)]
    lines.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    for path, shown in ((table, "gr\\xfcn.wav"), (lines, "gr\\udcfcn.wav")):
        ended = serlab("evaluate", path, "--corpus", tiny_corpus)
        assert ended.code == 1
        assert f"left out: {shown} (not in the corpus tiny)" in ended.out


def test_columns_may_be_named(serlab, predictions, tiny_corpus, tmp_path):
    table = pd.read_csv(predictions).rename(columns={"clip": "utt", "label": "emo", "speaker": "who"})
    table.to_csv(predictions, index=False)
    assert "the column 'utt' looks like the clips: --path-column utt" in serlab("evaluate", predictions).sentence
    options = ["--path-column", "utt", "--label-column", "emo", "--speaker-column", "who"]
    assert serlab("evaluate", predictions, *options).out.startswith("24 clips, 12 speakers\n")
    corpus = tiny_corpus.with_name("renamed.csv")
    pd.read_csv(tiny_corpus).rename(columns={"label": "emo"}).to_csv(corpus, index=False)
    table = pd.read_csv(corpus).rename(columns={"path": "utt", "emo": "predicted"})[["utt", "predicted"]]
    table.to_csv(predictions, index=False)
    options = ["--corpus", corpus, "--path-column", "utt", "--label-column", "emo"]
    # The predictions have the one, the corpus's table the other.
    ended = serlab("evaluate", predictions, *options)
    assert (ended.code, ended.out.splitlines()[1].split()[:2]) == (0, ["UAR", "100.0"])
    ended = serlab("evaluate", predictions, "--corpus", corpus)
    assert "the column 'utt' looks like the clips: --path-column utt" in ended.sentence or "emo" in ended.sentence


def test_a_named_column_wins_over_the_usual_name(serlab, predictions):
    table = pd.read_csv(predictions)
    table.assign(file=table["clip"], clip=range(24), emo=table["label"], label="calm").to_csv(predictions, index=False)
    ended = serlab("evaluate", predictions, "--path-column", "file", "--label-column", "emo")
    assert ended.code == 0
    assert "is used for" not in ended.err
    assert "columns not used: clip, label." in ended.err
    rows = [line.split() for line in ended.out.splitlines()]
    assert [row[-1] for row in rows if row and row[0] in LABELS] == ["12", "12"]


@pytest.mark.parametrize(("option", "name"), [("--speaker-column", "talkr"), ("--label-column", "lable")])
def test_a_named_column_that_is_nowhere_is_refused(serlab, predictions, option, name):
    columns = "clip, speaker, label, prob_angry, prob_calm"
    ended = serlab("evaluate", predictions, option, name)
    said = f"{option} {name} is not a column of {predictions}; the columns are {columns}."
    assert (ended.code, ended.sentence) == (2, said)


def test_columns_may_be_named_beside_a_description(serlab, tiny_corpus, tmp_path):
    clips = pd.read_csv(tiny_corpus)
    description = tiny_corpus.with_name("own.yaml")
    codes = ", ".join(f"{label}: {label}" for label in sorted(clips["label"].unique()))
    description.write_text(
        f"files:\n  pattern: (?P<speaker>[^_]+)_(?P<label>[a-z]+)_.*\n  codes:\n    label: {{{codes}}}\n"
    )
    table = tmp_path / "p.csv"
    stems = [Path(name).stem for name in clips["path"]]
    pd.DataFrame({"utt": stems, "predicted": clips["label"]}).to_csv(table, index=False)
    ended = serlab("evaluate", table, "--corpus", description, "--path-column", "utt")
    assert (ended.code, ended.out.splitlines()[1].split()[:2]) == (0, ["UAR", "100.0"])


def test_labels_alone_are_evaluated_and_reported_without_calibration(serlab, predictions, tmp_path):
    table = pd.read_csv(predictions)
    guess = np.where(table["prob_angry"] > 0.5, "angry", "calm")
    hard = tmp_path / "hard.csv"
    table[["clip", "speaker", "label"]].assign(predicted=guess).to_csv(hard, index=False)
    ended = serlab("evaluate", hard, predictions, "--report", tmp_path / "judged")
    assert (ended.code, ended.err) == (0, "")
    assert "no probabilities" in ended.out
    page, text = ((tmp_path / "judged" / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    assert "hard gives no probabilities" in page
    assert "hard gives no probabilities" in text
    (tmp_path / "alone").mkdir()
    assert serlab("evaluate", hard, "--report", tmp_path / "alone").code == 0
    assert not (tmp_path / "alone" / "figures" / "reliability.svg").exists()


@pytest.fixture
def results(tiny_comparison, tmp_path) -> Path:
    """A copy of the tiny comparison's results, without its report."""
    shutil.copytree(tiny_comparison.folder, tmp_path / "out" / "tiny" / "speaker-2")
    folder = tmp_path / "out" / "tiny" / "speaker-2"
    shutil.rmtree(folder / "report")
    return folder


def test_report_again(serlab, results, tiny_comparison):
    ended = serlab("report", results)
    assert (ended.code, ended.out) == (0, f"{results / 'report' / 'index.html'}\n")
    for name in ("index.html", "report.md", "report.json"):
        assert (results / "report" / name).is_file()
    first, again = (
        json.loads((folder / "report" / "report.json").read_text()) for folder in (tiny_comparison.folder, results)
    )
    assert again.keys() == first.keys()


def test_report_of_a_table_without_its_signature(serlab, results):
    (path,) = results.glob("mfcc-svm*/fold1-seed0.json")
    path.unlink()
    ended = serlab("report", results)
    assert ended.code == 2
    assert str(path) in ended.sentence


def test_report_of_a_known_corpus_does_not_need_its_audio(serlab, results, monkeypatch):
    monkeypatch.delenv("SERLAB_DATA", raising=False)
    known = results.parent.with_name("crema-d")
    results.parent.rename(known)
    ended = serlab("report", known / "speaker-2", "--data", known / "absent")
    assert (ended.code, ended.out) == (0, f"{known / 'speaker-2' / 'report' / 'index.html'}\n")


def test_report_of_a_corpus_is_an_overview_of_its_protocols(serlab, results):
    ended = serlab("report", results.parent)
    assert (ended.code, ended.out) == (0, f"{results.parent / 'report' / 'index.html'}\n")
    assert (results / "report" / "index.html").is_file()


def test_a_report_shows_the_recipes_that_are_named(serlab, results):
    names = sorted({path.parent.name for path in results.glob("*/fold*.parquet")})
    for folder in (results, results.parent):
        assert serlab("report", folder, "--recipes", f"{names[0]}, ").code == 0
        report = json.loads((results / "report" / "report.json").read_text())
        assert [recipe["name"] for recipe in report["recipes"]] == names[:1]
    assert len(names) > 1


def test_fusing_is_of_a_whole_corpus(serlab, results):
    ended = serlab("report", results, "--fuse", "a+b")
    assert ended.code == 2
    assert "--fuse needs the folder of a corpus" in ended.err


def test_entries_that_a_corpus_leaves_out_are_listed_by_evaluate_too(serlab, tmp_path, make_tone):
    rows = ["clip,prob_calm,prob_sad"]
    for label in ("calm", "sad"):
        for number in range(3):
            make_tone(tmp_path / "own" / label / f"{number}.wav", hz=200 + 50 * number)
            rows.append(f"{label}/{number},0.7,0.3")
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert serlab("evaluate", tmp_path / "p.csv", "--corpus", tmp_path / "own").code == 0
    (tmp_path / "own/angry").mkdir()
    ended = serlab("evaluate", tmp_path / "p.csv", "--corpus", tmp_path / "own", "--format", "json")
    assert ended.code == 1
    left_out = {"path": str(tmp_path / "own/angry"), "reason": "a folder without audio"}
    assert json.loads(ended.out)["excluded"] == [left_out]
    assert f"left out: {left_out['path']} ({left_out['reason']})" in ended.err
