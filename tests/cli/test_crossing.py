from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def other(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A second corpus: the tiny one's first two speakers at half speed, with codes for labels."""
    import pandas as pd
    import soundfile

    folder = tmp_path / "other"
    shutil.copytree(tiny_corpus.parent, folder)
    table = pd.read_csv(tiny_corpus)
    table = table[table["speaker"].isin(["s0", "s1"])]
    for name in table["path"]:
        wave, _ = soundfile.read(folder / name)
        soundfile.write(folder / name, wave[::-1] * 0.9, 12000)
    table.replace({"label": {"happy": "HAP", "sad": "tri"}}).to_csv(folder / "other.csv", index=False)
    (folder / "tiny.csv").unlink()
    return folder / "other.csv"


def test_standard_output_is_the_reports_path_and_the_judgement_is_said(serlab, tiny_corpus, other, tmp_path) -> None:
    command = ["compare", "--train", tiny_corpus, "--test", other, "--recipes", "mfcc-svm", "--out", tmp_path / "out"]
    ended = serlab(*command)
    assert ended.code == 0, ended.err
    report = tmp_path / "out" / "cross-corpus" / "report" / "index.html"
    assert ended.out == f"{report}\n"
    assert "SVM on MFCC statistics, tiny to other: UAR " in ended.err
    assert "(2 speakers: no interval)" in ended.err
    again = serlab(*command)
    assert (again.code, again.out) == (0, ended.out)
    assert "choosing C" not in again.err


def test_columns_of_tables_can_be_named(serlab, tiny_corpus, other, tmp_path) -> None:
    import pandas as pd

    for table in (tiny_corpus, other):
        renamed = pd.read_csv(table).rename(columns={"label": "emo", "path": "path"})
        renamed.to_csv(table.parent / f"{table.stem}2.csv", index=False)
    ended = serlab(
        "compare", "--train", tiny_corpus.parent / "tiny2.csv", "--test", other.parent / "other2.csv",
        "--recipes", "mfcc-svm", "--label-column", "emo", "--labels", "calm-as-neutral", "--out", tmp_path / "out",
    )  # fmt: skip
    (tiny_corpus.parent / "tiny2.csv").unlink()
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "other2" / "from-tiny2").is_dir()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--train", "a"], "--train needs --test"),
        (["--labels", "iemocap-4"], "--labels needs --train and --test"),
        (["--balance"], "--balance needs --train and --test"),
        (["crema-d", "--train", "a", "--test", "b"], "crema-d is not used"),
        (["--train", "a", "--test", "b", "--protocol", "holdout"], "--protocol is for comparisons within one corpus"),
        (["--train", "a", "--test", "b", "--dev-only"], "--dev-only is for comparisons within one corpus"),
        (["--test", "b", "--recipes", "mfcc-svm"], "--train is empty, but mfcc-svm must be trained"),
        (["--train", "crema-d", "--test", "each"], "--test each leaves one corpus out at a time"),
        (["--train", "synthetic", "--test", "b", "--labels", "x.yaml"], "x.yaml"),
        (["--train", "synthetic", "--test", "b", "--labels", "iemocap"], "is neither a YAML file nor one of"),
        (["--train", "a", "--test", "b", "--data", "folder"], "--data folder must name the corpus here"),
        (["crema-d", "--data", "tess=x"], "--data tess=x is for tess, but the corpus is crema-d"),
        (["crema-d", "--data", "crema-d=x", "--data", "crema-d=y"], "crema-d is given twice"),
        (["crema-d", "--data", "x", "--data", "crema-d=y"], "--data gives two folders for crema-d"),
    ],
)
def test_contradictions_are_one_sentence(serlab, options, sentence, tmp_path) -> None:
    ended = serlab("compare", *options, "--out", tmp_path / "out")
    assert ended.code == 2
    assert sentence in ended.sentence
    assert not (tmp_path / "out").exists()


def test_data_may_name_the_corpus(serlab, tmp_path) -> None:
    ended = serlab("protocols", "crema-d", "--data", f"crema-d={tmp_path / 'nothing'}")
    assert ended.code == 2
    assert f"looked for the folder {tmp_path / 'nothing'}" in ended.sentence


def test_what_has_no_effect_on_a_finished_model_is_refused_or_said(serlab, tiny_corpus, tmp_path) -> None:
    command = ["compare", "--test", tiny_corpus, "--recipes", "box", "--limit", "1", "--out", tmp_path / "out"]
    ended = serlab(*command, "--set", "training.epochs=3")
    assert ended.code == 2
    assert "--set training.epochs=3 changes a recipe before its training" in ended.sentence
    assert not (tmp_path / "out").exists()
    ended = serlab(*command, "--seeds", "0,1", "--balance")
    assert ended.code == 0, ended.err
    assert "nothing is trained, and this has no effect: --seeds, --balance." in ended.err
