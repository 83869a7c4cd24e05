import json

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.report import build
from serlab.tables.predictions import read_runs


def corpus_clips(folder) -> pd.DataFrame:
    """A corpus's table for all clips that the runs name, with votes and demographics."""
    rows = pd.concat([run.table for run in read_runs(folder)])[["clip", "speaker", "label"]]
    clips = rows.drop_duplicates("clip").reset_index(drop=True)
    truth = clips["label"].map(EMOTIONS.index).to_numpy()
    random = np.random.default_rng(0)
    for modality in ("voice", "face", "both"):
        votes = random.multinomial(9, 0.4 * np.eye(6)[truth] + 0.1)
        clips[[f"votes_{modality}_{label}" for label in EMOTIONS]] = votes
    odd = clips["speaker"].astype(int) % 2
    return clips.assign(path="", level="XX", age=20 + odd, sex=np.where(odd, "Male", "Female"))


@pytest.fixture
def folder(add_run):
    for recipe in ("resnet18", "mfcc-svm"):
        for fold in (1, 2, 3):
            path = add_run(recipe, fold)
    return path.parent.parent


def test_every_section_stands_in_page_markdown_and_json(folder):
    clips = corpus_clips(folder)
    clips.loc[clips.index[:300], "level"] = "LO"
    clips.loc[clips.index[300:400], "level"] = "MD"
    clips.loc[clips.index[400:500], "level"] = "HI"
    page = build(folder, clips=clips, audio="none").read_text()
    for title in ("Calibration", "Abstention", "Prediction sets", "Groups of actors", "Other labels", "Human raters"):
        assert f"<summary>{title}" in page
    for text in ("agreement&gt;=0.8", "Confidence and accuracy", "Confusions of human raters", "Krippendorff"):
        assert text in page
    markdown = (folder / "report" / "report.md").read_text()
    assert "## How far to trust it" in markdown
    for text in ("perceived", "Debiased RMS", "Attained in", "Jensen-Shannon", "errors correlate with the raters' by"):
        assert text in markdown
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["people"]["people"]["raters"]["count"] == 9 * len(clips)
    trust = report["recipes"][0]["trust"]
    assert set(trust["groups"]) == {"sex", "age"}
    # All of them are 20 or 21 years old: one band, so nothing to compare.
    assert trust["groups"]["age"]["gap"] is None


def test_a_fold_without_dev_and_uneven_seeds_are_said(add_run):
    for seed in (0, 1):
        path = add_run("resnet18", 1, seed=seed)
    table = pd.read_parquet(path)
    table[table["side"] == "test"].iloc[:-1].to_parquet(path)
    report = json.loads((build(path.parent.parent).parent / "report.json").read_text())
    texts = {notice["code"]: notice["text"] for notice in report["notices"]}
    assert texts["uneven-clips"] == "Left out, because not every seed judged them: 1 clip of ResNet18."
    # Eight speakers have no intervals, so nothing is said of what these are about.
    assert "few-speakers" in texts
    assert "few-seeds" not in texts
    assert "for ResNet18: fold 1 seed 1 has no rows of the side dev." in texts["no-calibration"]
    assert report["over_seeds"]
    assert report["scope"] == "two seeds"


def test_without_the_corpus_what_needs_no_votes_is_there(folder):
    page = build(folder).read_text()
    assert "<summary>Calibration" in page
    assert "<summary>Human raters" not in page
    assert "<summary>Other labels" not in page
    assert "<summary>Groups" not in page


def test_differences_come_with_the_answer_and_adjusted_p(folder, add_run):
    for fold in (1, 2, 3):
        add_run("whisper-base-probe", fold)
    page = build(folder).read_text()
    report = json.loads((folder / "report" / "report.json").read_text())
    assert len(report["pairs"]) == 3
    for pair in report["pairs"]:
        assert pair["p"] <= pair["p_holm"] <= 1
        assert pair["answer"] in ("better", "worse", "equivalent", "not shown")
    assert "p of UAR" in page
    assert "(Holm, at 5 %)" in page
