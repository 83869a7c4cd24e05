"""Finished models, of serlab and of other programs, on corpora that they were not made for."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from serlab.core import UserError
from serlab.experiments.crossing import compare_across
from serlab.experiments.crossing_models import CAUTION, is_model


def test_a_model_of_others_is_tested_as_it_is_with_a_caution(of_others, tiny_corpus: Path, tmp_path: Path, one_thread):
    done = compare_across([], str(tiny_corpus), [of_others("hap", "sad")], out=tmp_path / "out")
    (row,) = done.scores.to_dict("records")
    assert (row["source"], row["labels"], row["clips"]) == ("", 2, 36)
    (path,) = (tmp_path / "out" / "tiny" / "as-is").glob("theirs-*/fold1-seed0.parquet")
    table = pd.read_parquet(path)
    assert {*table["side"]} == {"test"}
    assert [name for name in table.columns if name.startswith("logit_")] == ["logit_happy", "logit_sad"]
    cell = json.loads(done.report.with_name("report.json").read_text())["cells"][0]
    assert cell["caution"] == CAUTION
    assert cell["dropped"] == {"calm": 18}
    assert len(cell["calibration"]) == 1
    assert CAUTION in done.report.read_text()


def test_its_scores_are_those_of_its_pipeline(of_others, tiny_corpus: Path, tmp_path: Path, one_thread):
    from serlab.model.model import load_model

    folder = of_others("hap", "sad")
    compare_across([], str(tiny_corpus), [folder], out=tmp_path / "out")
    table = pd.read_parquet(next((tmp_path / "out").rglob("fold1-seed0.parquet")))
    row = table.iloc[0]
    expected = load_model(folder).predict(tiny_corpus.parent / f"{row['clip']}.wav").probabilities
    odds = row["logit_happy"] - row["logit_sad"]
    import math

    assert math.exp(odds) == pytest.approx(expected["hap"] / expected["sad"], rel=1e-3)


def test_numbered_labels_are_refused_unless_mapped(of_others, tiny_corpus: Path, tmp_path: Path, one_thread):
    folder = of_others()
    with pytest.raises(UserError, match="theirs calls a label LABEL_0, which does not say what it means"):
        compare_across([], str(tiny_corpus), [folder], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    labels = {"theirs": {"LABEL_0": "sad", "LABEL_1": "calm"}}
    done = compare_across([], str(tiny_corpus), [folder], labels=labels, out=tmp_path / "out")
    assert done.scores.loc[0, "labels"] == 2


def test_a_finished_run_is_not_repeated(of_others, tiny_corpus: Path, tmp_path: Path, one_thread):
    folder = of_others("hap", "sad")
    for _ in range(2):
        compare_across([], str(tiny_corpus), [folder], out=tmp_path / "out")
    assert len((tmp_path / "out" / "ledger.jsonl").read_text().splitlines()) == 1


def test_a_model_of_serlab_is_not_tested_on_speakers_that_it_has_heard(tiny_models, tiny_corpus: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"SL012: the model fold1-seed0 was trained on \d test speakers"):
        compare_across([], str(tiny_corpus), [str(tiny_models["mfcc-svm"])], out=tmp_path / "out")


def test_a_model_of_serlab_has_no_caution_but_for_its_pretrained_weights(
    tiny_models, tiny_corpus: Path, tmp_path: Path
):
    from dataclasses import replace

    from serlab.corpora.emotions import LabelMap
    from serlab.experiments.crossing_models import load_given

    model = load_given(str(tiny_models["mfcc-svm"]), LabelMap())
    assert (model.known, model.caution) == (True, "")
    weights = {"what": f"the model {model.name}: the pretrained weights w", "corpus": None, "train": None, "dev": None}
    found = replace(model, records=[*model.records, weights])
    assert found.known
    assert found.caution == "There is no record of what these have heard: the pretrained weights w."


def test_what_counts_as_a_model(tmp_path: Path) -> None:
    assert is_model(str(tmp_path))
    assert is_model("owner/name")
    assert not is_model("mfcc-svm")
    assert not is_model("recipes/mine.yaml")
