"""``serlab explore``: output and exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def own(tiny_corpus: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_corpus.parent, tmp_path / "own") / tiny_corpus.name


def test_it_prints_the_page_alone_and_the_suggestions_beside(serlab, own, tmp_path):
    ended = serlab("explore", own, "--out", tmp_path / "runs")
    assert ended.code == 0, ended.err
    page = Path(ended.out.strip())
    assert page == tmp_path / "runs" / "tiny" / "explore" / "index.html"
    assert page.is_file()
    data = json.loads(page.with_name("report.json").read_text())
    for suggestion in data["suggestions"]:
        assert suggestion["text"] in ended.err


def test_a_broken_file_is_listed_and_the_exit_code_is_that_of_the_audit(serlab, own, tmp_path):
    (own.parent / "s4_calm_0.wav").write_bytes(b"RIFF....WAVEnonsense")
    ended = serlab("explore", own, "--out", tmp_path / "runs")
    assert ended.code == serlab("audit", own).code == 1
    assert "left out: " in ended.err
    assert Path(ended.out.strip()).is_file()


def test_a_folder_with_one_label_can_be_explored_but_not_compared(serlab, own, tmp_path):
    folder = tmp_path / "one" / "sad"
    folder.mkdir(parents=True)
    for path in own.parent.glob("*_sad_*.wav"):
        shutil.copy(path, folder)
    ended = serlab("explore", folder.parent, "--out", tmp_path / "runs")
    assert ended.code == 0, ended.err
    assert "There is a single label" in ended.err
    assert serlab("compare", folder.parent, "--recipes", "mfcc-svm").code == 2


def test_columns_are_named_as_everywhere(serlab, own, tmp_path):
    pd.read_csv(own).rename(columns={"speaker": "who"}).to_csv(own, index=False)
    ended = serlab("explore", own, "--speaker-column", "who", "--out", tmp_path / "runs", "--audio", "none")
    assert ended.code == 0, ended.err
    page = Path(ended.out.strip()).read_text()
    assert "54 clips of 6 speakers" in page
    assert "<audio" not in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "mfc"], "unknown features 'mfc'; did you mean 'mfcc'"),
        (["--features", "resnet18"], "--features resnet18: the recipe has no pretrained encoder"),
        (["--audio", "loud"], "--audio loud is not one of"),
        (["--data", "x"], "is the folder of a known corpus"),
    ],
)
def test_mistakes(serlab, own, arguments, words):
    ended = serlab("explore", own, *arguments)
    assert ended.code == 2
    assert words in ended.sentence


def test_a_folder_that_cannot_be_written_is_found_before_the_clips_are_heard(serlab, own, tmp_path):
    (tmp_path / "file").write_text("")
    ended = serlab("explore", own, "--out", tmp_path / "file")
    assert ended.code == 3
    assert f"{tmp_path / 'file'} is a file, not a folder" in ended.sentence
    assert "listening" not in ended.err
