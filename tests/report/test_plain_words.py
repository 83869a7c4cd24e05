"""What the report says in words: how a model was chosen, on which copy, what was left out, how often test was read."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from serlab.report import build, summarise
from serlab.report.figures import draw_all
from serlab.tables.predictions import read_runs

PROBE, RESNET, SVM = "whisper-base-probe", "resnet18", "mfcc-svm"


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "crema-d" / "speaker-3"


def texts_of(page: Path) -> tuple[str, str]:
    return page.read_text(encoding="utf-8"), (page.parent / "report.md").read_text(encoding="utf-8")


def rewritten(path: Path, section: str, **changes) -> None:
    signature = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    signature[section] |= changes
    path.with_suffix(".json").write_text(json.dumps(signature), encoding="utf-8")


def test_how_a_model_was_chosen_what_was_left_out_and_what_it_cost(add_run, folder, tmp_path):
    kept_last = add_run(RESNET, 1)
    rewritten(kept_last, "training", best_epoch=15, selection="last epoch")
    rewritten(kept_last, "machine", gpu=None)
    searched = add_run(SVM, 1)
    rewritten(searched, "training", chosen={"C": 10.0, "gamma": 0.003, "inner_uar": 0.4512})
    line = {"corpus": "crema-d", "protocol": "speaker-3", "recipe": RESNET, "hash": "a", "fold": 1, "seed": 0}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    page, markdown = texts_of(build(str(folder)))
    assert "<td>15<small>last epoch</small></td>" in page
    assert "| 15 (last epoch) |" in markdown
    assert "1 reading of this protocol's test subsets, one a fold and seed, by 1 configuration" in page
    assert "1 reading of this protocol's test subsets, one a fold and seed, by 1 configuration" in markdown
    assert "gpu none" in page
    for text in (page, markdown):
        assert "C 10, gamma 0.003, UAR in the search 45.1 %" in text
        assert "26 min 0 s" in text
        assert "11.2 M" in text
        assert "2,410 MB" in text
        assert "silent" in text
        assert "train:" not in text
    assert '<td class="text">training</td>' in page


def test_the_teachers_time_is_beside_the_students_if_there_are_teachers(add_run, folder):
    taught, alone = add_run(RESNET, 1), add_run(SVM, 1)
    assert not any("Teachers' time" in text for text in texts_of(build(str(folder))))
    signature = json.loads(taught.with_suffix(".json").read_text(encoding="utf-8"))
    signature["teacher"] = {"train_seconds": 3600.0, "score_seconds": 120.0}
    taught.with_suffix(".json").write_text(json.dumps(signature), encoding="utf-8")
    for text in texts_of(build(str(folder))):
        assert text.count("Teachers' time") >= 1
        assert text.count("1 h 2 min") == 1
    table = next(line for line in texts_of(build(str(folder)))[1].splitlines() if "1 h 2 min" in line)
    assert table.count("|") == 9
    assert alone.is_file()


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        ("a copy in 11,025 Hz FLAC, not the official 16 kHz files", True),
        ("3 of 7,442 files differ from the official 16 kHz ones", True),
        ("the official 16 kHz files", False),
    ],
)
def test_the_copy_is_always_named_and_a_warning_where_it_is_another(add_run, folder, copy, said):
    path = add_run(SVM, 1)
    rewritten(path, "corpus", copy=copy)
    summary = summarise(read_runs(folder)).to_dict()
    assert summary["corpus"]["copy"] == copy
    notices = [notice["text"] for notice in summary["notices"] if notice["code"] == "copy"]
    assert notices == ([f"Data: {copy}. Other copies give other figures."] if said else [])


def test_one_fold_alone_is_not_called_all_folds(add_run, folder):
    path = add_run(SVM, 1)
    rewritten(path, "protocol", name="holdout", folds=1)
    summary = summarise(read_runs(folder)).to_dict()
    assert summary["answer"]["about"] == "On the 8 actors of CREMA-D (holdout), these trained models"
    assert "missing-folds" not in {notice["code"] for notice in summary["notices"]}


def test_the_recipe_that_is_ahead_on_the_shared_folds_is_named_whatever_the_others_say(add_run, folder):
    for fold in (1, 2):
        add_run(PROBE, fold, skill=0.9)
        add_run(RESNET, fold, skill=1.6)
    add_run(PROBE, 3, skill=9.0)
    summary = summarise(read_runs(folder)).to_dict()
    assert summary["recipes"][0]["name"] == PROBE
    assert "ResNet18 is ahead of Whisper-base probe by" in summary["answer"]["finding"]
    assert summary["pairs"][0]["differences"]["uar"]["high"] < 0


def test_titles_with_commas_and_of_any_length_stay_apart(add_run, folder):
    titles = {PROBE: "Whisper-base, frozen, logistic regression", RESNET: "ResNet18, from scratch", SVM: "MFCC, SVM"}
    for recipe, title in titles.items():
        for fold in (1, 2):
            rewritten(add_run(recipe, fold), "recipe", title=title)
    summary = summarise(read_runs(folder))
    assert " %; ResNet18, from scratch " in summary.answer.ranking
    pairs = next(drawing for drawing in draw_all(summary) if drawing.name == "differences")
    lines = ["".join(text.itertext()) for text in ElementTree.fromstring(pairs.svg).findall(".//{*}text")]
    assert max(map(len, lines)) <= len(titles[PROBE])
    assert "− ResNet18, from scratch" in lines
