from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def compare(serlab, tiny_corpus, tmp_path, one_thread):
    """``serlab compare`` on the tiny corpus: by default an SVM on fold 1 of two."""

    def call(*arguments: object, recipes: str = "mfcc-svm"):
        usual = {"--recipes": recipes, "--protocol": "speaker-2", "--folds": "1", "--out": tmp_path / "out"}
        given = {str(word).partition("=")[0] for word in arguments}
        own = [word for name, value in usual.items() if not given & {name, name[:-1]} for word in (name, value)]
        return serlab("compare", tiny_corpus, *own, *arguments)

    return call


@pytest.mark.slow
def test_standard_output_is_the_reports_path_and_nothing_else(compare, tiny_recipes, tmp_path):
    ended = compare(recipes=",".join([*tiny_recipes.values(), "mfcc-svm"]))
    assert ended.code == 0
    report = tmp_path / "out" / "tiny" / "speaker-2" / "report" / "index.html"
    assert ended.out == f"{report}\n"
    assert report.is_file()
    for name in ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm"):
        assert f"{name} fold 1 seed 0: done, training UAR" in ended.err
    assert "%|" not in ended.err
    again = compare(recipes=",".join([*tiny_recipes.values(), "mfcc-svm"]))
    assert (again.code, again.out) == (0, ended.out)
    assert "3 of 3 runs are there already" in again.err
    assert "done" not in again.err


def test_a_relative_out_gives_a_relative_path(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare("--out", "here").out == "here/tiny/speaker-2/report/index.html\n"


@pytest.mark.parametrize("setting", ["model.C=[1.0]", "mfcc-svm:model.C=[1.0]"])
def test_a_setting_has_a_folder_of_its_own_and_is_listed(compare, tmp_path, setting):
    compare()
    ended = compare("--set", setting)
    assert ended.code == 0
    folder = tmp_path / "out" / "tiny" / "speaker-2"
    folders = [path.name for path in folder.glob("mfcc-svm*")]
    assert len(folders) == 2
    signatures = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("mfcc-svm*/fold1-seed0.json")]
    assert {s["recipe"]["name"] for s in signatures} == set(folders)
    for signature in signatures:
        if signature["recipe"]["name"] != "mfcc-svm":
            assert signature["recipe"]["name"] == f"mfcc-svm-{signature['recipe']['hash'][:6]}"
    report = json.loads((folder / "report" / "report.json").read_text())
    changed = {recipe["name"]: recipe["changed"] for recipe in report["recipes"]}
    assert changed.pop("mfcc-svm") == {}
    assert list(changed.values()) == [{"model.C": [1.0]}]
    for name in ("index.html", "report.md"):
        assert "model.C=" in (folder / "report" / name).read_text()


@pytest.mark.parametrize(
    "options", [["--set", "training.epochs=3"], ["--precision", "fp32"], ["--set", "model.head.kind=pooled"]]
)
def test_what_a_recipe_does_not_use_is_left_out_by_name(compare, tmp_path, options):
    ended = compare(*options)
    assert ended.code == 0
    assert f"{' '.join(options)} is left out for mfcc-svm: " in ended.err
    assert {path.name for path in (tmp_path / "out" / "tiny" / "speaker-2").glob("mfcc-svm*")} == {"mfcc-svm"}


def test_what_is_set_for_a_recipe_that_does_not_use_it_is_refused(compare, tmp_path):
    ended = compare("--set", "mfcc-svm:training.epochs=3")
    assert ended.code == 2
    assert "training.epochs is for networks; mfcc-svm is a support vector machine." in ended.sentence
    assert not (tmp_path / "out").exists()


def test_a_setting_for_a_recipe_that_is_not_compared(compare):
    ended = compare("--set", "resnet18:training.epochs=3")
    assert ended.code == 2
    assert "resnet18" in ended.sentence


def test_dev_only(compare, tmp_path):
    ended = compare("--dev-only")
    assert ended.code == 0
    (path,) = (tmp_path / "out").rglob("fold1-seed0.parquet")
    assert set(pd.read_parquet(path)["side"]) == {"dev"}
    assert not (tmp_path / "out" / "ledger.jsonl").exists()
    compare()
    assert set(pd.read_parquet(path)["side"]) == {"dev", "test"}
    assert len((tmp_path / "out" / "ledger.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "1-2-3", "0-99999999", "1.5", "١"])
def test_what_is_not_a_list_of_numbers(compare, text):
    for option in ("--folds", "--seeds"):
        ended = compare(f"{option}={text}")
        assert ended.code == 2
        assert f"{option} {text} must be whole numbers" in ended.sentence


def test_one_or_many_of_an_option_is_understood_and_ranges_are(compare, tmp_path):
    assert compare("--recipe", "mfcc-svm", "--fold", "1-2", "--seed", "0").code == 0
    assert sorted(path.stem for path in (tmp_path / "out").rglob("*.parquet")) == ["fold1-seed0", "fold2-seed0"]


def test_models_that_are_kept_can_be_tried_with_the_printed_line(compare, serlab, tiny_corpus):
    assert "to try a model" not in compare().err
    ended = compare("--keep-models")
    (line,) = [line for line in ended.err.splitlines() if line.startswith("to try a model: serlab ")]
    words = shlex.split(line.partition("serlab ")[2])
    assert words[-1] == "FILE"
    assert serlab(*words[:-1], tiny_corpus.parent / "s0_calm_0.wav").code == 0
    assert ended.out.endswith("index.html\n")


def test_a_smoke_run_and_a_part(compare, tmp_path):
    assert "tiny-smoke" in compare("--smoke").out
    ended = compare("--limit", "1")
    assert "tiny-limit1" in ended.out
    assert compare("--limit", "0").code == 2


def test_seeds_and_folds(compare, tmp_path):
    assert compare("--folds", "2,1", "--seeds", "3,0").code == 0
    found = sorted(path.stem for path in (tmp_path / "out").rglob("*.parquet"))
    assert found == ["fold1-seed0", "fold1-seed3", "fold2-seed0", "fold2-seed3"]


def test_columns_by_other_names(serlab, tiny_corpus, tmp_path):
    table = pd.read_csv(tiny_corpus)
    table["path"] = [str(tiny_corpus.parent / name) for name in table["path"]]
    path = tmp_path / "mine.csv"
    table.rename(columns={"path": "file", "label": "emotion", "speaker": "who"}).to_csv(path, index=False)
    ended = serlab(
        "compare", path, "--path-column", "file", "--label-column", "emotion", "--speaker-column", "who",
        "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--folds", "1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 0
    (path,) = (tmp_path / "out").rglob("fold1-seed0.parquet")
    assert set(pd.read_parquet(path)["speaker"]) < {f"s{number}" for number in range(6)}


def test_a_corpus_without_speakers_says_once_that_disjointness_is_unknown(serlab, tiny_corpus, tmp_path):
    table = pd.read_csv(tiny_corpus).drop(columns="speaker")
    table["path"] = [str(tiny_corpus.parent / name) for name in table["path"]]
    path = tmp_path / "nobody.csv"
    table.to_csv(path, index=False)
    ended = serlab(
        "compare", path, "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--folds", "1", "--out", tmp_path / "out"
    )
    assert ended.code == 0
    assert ended.err.count("has no speakers") == 1
    report = Path(ended.out.strip()).with_name("report.md").read_text()
    assert "unknown" in report


def test_train_keeps_a_model_folder_and_prints_it(serlab, tiny_corpus, tiny_recipes, tmp_path, make_tone, one_thread):
    ended = serlab(
        "train", tiny_corpus, "--recipe", tiny_recipes["tiny-resnet"], "--protocol", "speaker-2", "--fold", "2",
        "--seed", "1", "--dev-only", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 0
    folder = Path(ended.out.removesuffix("\n"))
    assert folder.name == "fold2-seed1"
    assert (folder / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "ledger.jsonl").exists()
    predicted = serlab("predict", "--model", folder, make_tone(tmp_path / "a.wav"), "--format", "json")
    assert predicted.code == 0
    assert json.loads(predicted.out)["model"] == str(folder)


def test_training_that_diverges_stops_with_a_sentence(serlab, tiny_corpus, tiny_recipes, tmp_path, one_thread):
    ended = serlab(
        "train", tiny_corpus, "--recipe", tiny_recipes["tiny-resnet"], "--protocol", "speaker-2", "--dev-only",
        "--set", "training.learning_rate=1e30", "--set", "training.epochs=3", "--set", "training.max_grad_norm=1e30",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 1
    assert "loss is not finite" in ended.sentence
    assert "training.learning_rate" in ended.sentence
    assert ended.out == ""
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.slow
def test_a_comparison_opens_no_socket(tiny_corpus, tiny_recipes, tmp_path, start_serlab, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.bind'):\n"
        "        raise RuntimeError(f'{event} {arguments}')\n"
        "sys.addaudithook(refuse)\n"
    )
    process = start_serlab(
        "compare", tiny_corpus, "--recipes", tiny_recipes["tiny-wav2vec2"], "--protocol", "speaker-2", "--folds", "1",
        "--out", tmp_path / "out", env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.endswith("report/index.html\n")
