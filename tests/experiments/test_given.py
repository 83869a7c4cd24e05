"""Finished models beside trained recipes, on the test subsets of one corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments.crossing_models import CAUTION, is_model
from serlab.protocols import split
from serlab.tables import ledger


def test_a_model_of_others_is_compared_on_the_same_test_subsets(compare, of_others, tmp_path: Path) -> None:
    folder = of_others("neutral-calm", "hap", "SADNESS")
    with pytest.raises(UserError, match="'neutral-calm' of theirs is not a known emotion"):
        compare("mfcc-svm", folder)
    labels = {"theirs": {"neutral-calm": "calm"}}
    found = compare("mfcc-svm", folder, labels=labels)
    assert set(found.scores["title"]) == {"SVM on MFCC statistics", "theirs"}
    (path,) = found.folder.glob("theirs-*/fold1-seed0.parquet")
    theirs, ours = pd.read_parquet(path), pd.read_parquet(found.folder / "mfcc-svm" / "fold1-seed0.parquet")
    assert sorted(theirs["clip"]) == sorted(ours.loc[ours["side"] == "test", "clip"])
    assert set(theirs["side"]) == {"test"}
    assert CAUTION in found.report.read_text(encoding="utf-8")
    assert len(found.differences) > 0
    lines = len(ledger.read(tmp_path / "out"))
    compare("mfcc-svm", folder, labels=labels)
    assert len(ledger.read(tmp_path / "out")) == lines == 2


def test_only_a_finished_model(compare, of_others) -> None:
    found = compare(of_others("calm", "happy", "sad"))
    assert list(found.scores.loc[found.scores["metric"] == "uar", "title"]) == ["theirs"]


def test_a_folder_with_the_name_of_a_preset_does_not_hide_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mfcc-svm").mkdir()
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [is_model(name) for name in ("mfcc-svm", "./mfcc-svm", "my-model")] == [False, True, True]


def test_another_map_of_labels_is_another_configuration(compare, of_others) -> None:
    folder = of_others("calm", "happy", "sad")
    found = compare(folder)
    compare(folder, labels={"theirs": {"calm": "sad", "sad": "calm"}})
    assert len(list(found.folder.glob("theirs-*"))) == 2


def test_a_model_must_know_every_label(compare, of_others, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="theirs does not know calm of tiny; "):
        compare(of_others("happy", "sad"))
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_tested_on_speakers_that_it_has_heard(compare, tiny_models, tmp_path: Path) -> None:
    model = str(tiny_models["mfcc-svm"])
    assert json.loads((Path(model) / "serlab.json").read_text("utf-8"))["signature"]["fold"] == 1
    found = compare(model)
    assert list(found.scores.loc[found.scores["metric"] == "uar", "title"]) == ["SVM on MFCC statistics (fold1-seed0)"]
    with pytest.raises(UserError, match=r"SL012: the model fold1-seed0 was trained on . test speakers .* of fold 2"):
        compare(model, folds=[2])


@pytest.mark.parametrize("side", ["test", "dev"])
def test_a_model_is_not_tested_on_clips_that_it_has_heard_without_labels(
    compare, of_others, tiny_corpus: Path, side: str
) -> None:
    corpus, folder = load_corpus(str(tiny_corpus)), of_others("calm", "happy", "sad")
    (clip, *_) = getattr(split(corpus, "speaker-2").folds[0], side)
    heard = {"y.wav": corpus.clips.set_index("clip").loc[clip, "sha256"]}
    record = {"format": 1, "speech": [{"name": "a folder", "speakers": None, "sha256": heard}]}
    (Path(folder) / "heard.json").write_text(json.dumps(record), encoding="utf-8")
    if side == "dev":
        compare(folder, folds=[1])
        return
    with pytest.raises(UserError, match=rf"SL012: something behind the model has heard y.wav, the clip {clip} of fold"):
        compare(folder, folds=[1])


def test_nothing_is_tested_while_developing(compare, of_others) -> None:
    with pytest.raises(UserError, match="is a finished model"):
        compare(of_others("calm", "happy", "sad"), dev_only=True)
