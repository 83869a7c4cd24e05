"""Across protocols: fusions are judged like recipes, and a recipe under two protocols on the clips of both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import recall_score
from tests.report.conftest import PROTOCOL, write_run

from serlab.core import UserError
from serlab.evaluation.fusion import fit_weights
from serlab.report import build_overview
from serlab.report.overview import survey
from serlab.tables import ledger
from serlab.tables.predictions import labels_of, read_protocols

LEAKY = PROTOCOL | {"name": "clip-random-3", "speaker_disjoint": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for fold in (1, 2, 3):
        for seed in (0, 1):
            write_run(tmp_path, "resnet18", fold, seed)
        write_run(tmp_path, "mfcc-svm", fold)
    for fold in (1, 2):
        write_run(tmp_path, "resnet18", fold, skill=2.0, protocol=LEAKY)
    return tmp_path / "crema-d"


def uar(table: pd.DataFrame) -> float:
    labels = labels_of(table)
    predicted = table[[f"logit_{label}" for label in labels]].to_numpy().argmax(axis=1)
    return recall_score(table["label"], [labels[i] for i in predicted], average="macro")


def test_the_leak_premium_is_the_difference_on_the_clips_that_both_tested(folder: Path) -> None:
    (pair,) = survey(read_protocols(folder)).to_dict()["between"]

    tables = {
        name: pd.concat([run.table for run in runs if "resnet18" in str(run.path)]).query(
            "side == 'test' and seed == 0"
        )
        for name, runs in read_protocols(folder).items()
    }
    fair = tables["speaker-3"].merge(tables["clip-random-3"]["clip"])
    expected = uar(tables["clip-random-3"]) - uar(fair)
    assert (pair["first"], pair["second"], pair["leak"]) == ("speaker-3", "clip-random-3", True)
    assert pair["clips"] == len(fair) < len(tables["speaker-3"])
    assert pair["seeds"] == [0]
    found = pair["differences"]["uar"]
    assert found["value"] == pytest.approx(expected)
    assert found["low"] < expected < found["high"]


def test_recipes_of_another_configuration_are_not_compared_across_protocols(folder: Path) -> None:
    for path in folder.glob("clip-random-3/resnet18/*.json"):
        signature = json.loads(path.read_text())
        signature["recipe"]["hash"] = "0123456789ab"
        path.write_text(json.dumps(signature))
    assert survey(read_protocols(folder)).to_dict()["between"] == []


def test_seeds_are_fused_unasked_and_recipes_when_asked(folder: Path) -> None:
    found = survey(read_protocols(folder), ["mfcc-svm+resnet18"]).to_dict()
    protocol = next(each for each in found["protocols"] if each["name"] == "speaker-3")

    fusions = {fusion["name"]: fusion for fusion in protocol["fusions"]}
    assert set(fusions) == {"resnet18 x 2", "mfcc-svm+resnet18"}
    one = next(recipe for recipe in protocol["recipes"] if recipe["name"] == "resnet18")
    both = fusions["resnet18 x 2"]
    assert both["scores"]["uar"]["value"] > one["scores"]["uar"]["value"]
    assert both["clips"] == one["clips"]
    assert both["seeds"] == one["seeds"] == [0, 1]
    assert both["cost"]["parameters"] == 2 * one["cost"]["parameters"]
    assert not both["not_learned"]
    members = [(gain["first"], gain["second"]) for gain in protocol["gains"]]
    assert members == [("mfcc-svm+resnet18", "mfcc-svm"), ("mfcc-svm+resnet18", "resnet18")]
    assert all(gain["seeds"] == [0] for gain in protocol["gains"])


def test_weights_are_fitted_on_each_folds_dev_side_alone(folder: Path) -> None:
    found = survey(read_protocols(folder), ["mfcc-svm+resnet18", "mfcc-svm+resnet18@dev"]).to_dict()
    protocol = next(each for each in found["protocols"] if each["name"] == "speaker-3")
    equal, fitted = (next(f for f in protocol["fusions"] if f["name"].endswith(end)) for end in ("resnet18", "@dev"))

    assert equal["hash"] != fitted["hash"]
    assert not equal["weights"]
    runs = {run.path: run.table for run in read_protocols(folder)["speaker-3"] if run.signature["seed"] == 0}
    for fused in fitted["runs"]:
        tables = [t[t["side"] == "dev"] for p, t in runs.items() if p.name == f"fold{fused['fold']}-seed0.parquet"]
        assert tuple(fused["chosen"].values()) == pytest.approx(fit_weights(tables))
    for name, (least, most) in fitted["weights"].items():
        each = [run["chosen"][name] for run in fitted["runs"]]
        assert (least, most) == (min(each), max(each))
    assert fitted["weights"]["mfcc-svm"][1] < fitted["weights"]["resnet18"][0]


def test_weights_need_a_dev_side(folder: Path) -> None:
    write_run(folder.parent, "mfcc-svm", 2, sides=("test",))
    with pytest.raises(UserError, match="no dev predictions in fold 2, seed 0"):
        survey(read_protocols(folder), ["mfcc-svm+resnet18@dev"])


@pytest.mark.parametrize("fusion", ["resnet18", "resnet18+", "resnet18+resnet18", "@dev"])
def test_what_is_no_fusion_is_refused(folder: Path, fusion: str) -> None:
    with pytest.raises(UserError, match="join the names of two or more recipes"):
        survey(read_protocols(folder), [fusion])


def test_a_fusion_that_no_protocol_has_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="no protocol has all recipes of the fusion resnet18\\+whisper"):
        survey(read_protocols(folder), ["resnet18+whisper"])


def test_protocols_of_different_data_are_refused(add_run: Callable[..., Path], folder: Path) -> None:
    other = {"corpus": json.loads(next(folder.glob("*/*/*.json")).read_text())["corpus"] | {"fingerprint": "0" * 64}}
    add_run("mfcc-svm", 1, protocol=PROTOCOL | {"name": "other"}, **other)
    with pytest.raises(UserError, match="different data"):
        survey(read_protocols(folder))


def test_page_markdown_and_data_are_written_beside_the_protocols_reports(folder: Path) -> None:
    page = build_overview(folder, fusions=["mfcc-svm+resnet18", "mfcc-svm+resnet18@dev"])

    assert page == folder / "report" / "index.html"
    html, text = page.read_text(), page.with_name("report.md").read_text()
    for words in ("clip-random-3, leaks", "ResNet18, mean of 2 seeds", "leak premium"):
        assert words in text
    for shown in (html, text):
        assert re.search(r"mfcc-svm 0\.\d\d to 0\.\d\d, resnet18 [01]\.\d\d", shown)
    assert "An 11,025 hz copy" not in text
    assert "http" not in html.replace("http-equiv", "")
    assert (folder / "speaker-3" / "report" / "index.html").is_file()
    assert json.loads(page.with_name("report.json").read_text())["between"]


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs"):
        build_overview(tmp_path)


def test_a_fusion_is_entered_into_the_ledger_once(folder: Path) -> None:
    for _ in range(2):
        build_overview(folder, fusions=["mfcc-svm+resnet18"])
    lines = ledger.read(folder.parent)
    assert sorted((line["recipe"], line["fold"]) for line in lines) == [
        (name, fold) for name in ("mfcc-svm+resnet18", "resnet18 x 2") for fold in (1, 2, 3)
    ]
    assert {line["protocol"] for line in lines} == {"speaker-3"}


@pytest.mark.parametrize("fusion", ["resnet18+mfcc-svm", "mfcc-svm+resnet18", "resnet18+mfcc-svm@dev"])
def test_what_was_only_developed_is_not_fused_with_what_was_tested(tmp_path: Path, fusion: str) -> None:
    write_run(tmp_path, "resnet18", 1)
    write_run(tmp_path, "mfcc-svm", 1, sides=("dev",))
    with pytest.raises(UserError, match="mfcc-svm has no test predictions"):
        survey(read_protocols(tmp_path / "crema-d"), [fusion])


def test_the_margin_is_that_of_differences_between_protocols_too(folder: Path) -> None:
    found = survey(read_protocols(folder), margin=0.3)
    assert found.between
    assert {each.comparison.margin for each in found.between} == {0.3}
