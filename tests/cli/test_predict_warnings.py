"""Warnings about files on the command line: as data in JSON, as lines on standard error elsewhere."""

import json

import numpy as np
import pytest
import soundfile

RATE = 16000


@pytest.fixture
def files(tmp_path, tiny_corpus):
    time = np.arange(3 * RATE) / RATE
    samples = 0.3 * np.sin(2 * np.pi * 480 * time) + 0.02 * np.random.default_rng(0).standard_normal(len(time))
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    return tmp_path / "long.wav", tiny_corpus.parent / "s0_calm_0.wav"


@pytest.mark.parametrize("how", [(), ("--format", "csv"), ("--out", "rows.csv"), ("--out", "rows.parquet")])
def test_each_warning_is_one_line_per_file(serlab, tiny_models, files, monkeypatch, tmp_path, how):
    monkeypatch.chdir(tmp_path)
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], *files, *how)
    assert ended.code == 0
    said = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert said == [f"warning: {files[0]} (long): it lasts 3.0 s; 98 % of the training clips last 0.3 to 0.5 s."]
    assert "98 %" not in ended.out


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_programs_get_codes(serlab, tiny_models, files, form):
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], *files, "--format", form)
    assert ended.err == ""
    rows = json.loads(ended.out)["predictions"] if form == "json" else map(json.loads, ended.out.splitlines())
    long, usual = rows
    assert [warning["code"] for warning in long["warnings"]] == ["long"]
    assert "warnings" not in usual
