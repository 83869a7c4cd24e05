"""Cross-corpus runs with teachers, kept models, parts of corpora, several jobs, and normalised features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlab.core import UserError
from serlab.experiments import crossing_runs
from serlab.experiments.crossing import compare_across
from serlab.experiments.crossing_everyone import train_on_corpora
from serlab.frontends.functionals import MfccStatistics
from serlab.model.model import load_model
from serlab.recipes import load_recipe
from serlab.report.crossing_counts import counts_of, read
from serlab.tables import ledger
from serlab.training.encoder_folder import heard_by


def table_of(out: Path, target: str, source: str, recipe: str = "mfcc-svm") -> pd.DataFrame:
    (path,) = (out / target / source).glob(f"{recipe}*/fold1-seed0.parquet")
    return pd.read_parquet(path)


def signature_of(out: Path, target: str, source: str, recipe: str = "mfcc-svm") -> dict[str, Any]:
    (path,) = (out / target / source).glob(f"{recipe}*/fold1-seed0.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def student(tmp_path: Path, tiny_recipes: dict[str, str]) -> str:
    """A tiny ResNet that a support vector machine teaches."""
    path = tmp_path / "student.yaml"
    text = Path(tiny_recipes["tiny-resnet"]).read_text(encoding="utf-8")
    path.write_text(text.replace("epochs: 1", "epochs: 2, teacher: {recipe: mfcc-svm}"), encoding="utf-8")
    return str(path)


def test_a_teacher_is_trained_on_the_same_sources(cross, student: str, tmp_path: Path, one_thread: None) -> None:
    cross([["english", "two"]], "one", student)
    signature = signature_of(tmp_path / "out", "one", "from-english+two", "student")
    trained = {each["corpus"]: each["train"] for each in signature["heard"] if each["what"] == "itself"}
    taught = {each["corpus"]: each["train"] for each in signature["heard"] if "teacher" in each["what"]}
    assert trained == taught
    assert {name: len(speakers) for name, speakers in taught.items()} == {"english": 4, "two": 2}
    (model,) = signature["teacher"]["models"]
    assert sorted(model["speakers"]) == [*(f"english/{each}" for each in trained["english"]), "two/s0", "two/s1"]
    assert (tmp_path / "out" / "english+two" / "as-source" / "teachers" / "mfcc-svm").is_dir()


def test_a_teacher_that_has_heard_the_target_leaves_it_blank(
    cross, student: str, tiny_recipes: dict[str, str], tmp_path: Path, one_thread: None
) -> None:
    (teacher,) = cross("two", "one", tiny_recipes["tiny-resnet"], keep_models=True).models
    recipe = tmp_path / "taught.yaml"
    text = Path(student).read_text(encoding="utf-8")
    recipe.write_text(text.replace("recipe: mfcc-svm", f"checkpoint: {teacher}"), encoding="utf-8")
    with pytest.raises(UserError, match="SL012: the teacher fold1-seed0 was trained on a test speaker"):
        cross("english", "two", str(recipe))


def test_killed_and_resumed_equals_undisturbed(cross, student: str, tmp_path: Path, one_thread: None, monkeypatch):
    cross("english", ["one", "two"], student, out=tmp_path / "whole")
    first = crossing_runs._test

    def killed(each, *others: Any) -> None:
        if each.target.corpus.name == "two":
            raise KeyboardInterrupt
        first(each, *others)

    with monkeypatch.context() as patch:
        patch.setattr(crossing_runs, "_test", killed)
        with pytest.raises(KeyboardInterrupt):
            cross("english", ["one", "two"], student)
    (path,) = (tmp_path / "out").glob("one/from-english/student*/fold1-seed0.parquet")
    before = path.stat().st_mtime_ns
    cross("english", ["one", "two"], student)
    assert path.stat().st_mtime_ns == before
    for target in ("one", "two"):
        pd.testing.assert_frame_equal(
            *(table_of(tmp_path / out, target, "from-english", "student") for out in ("whole", "out"))
        )
    assert [each["corpus"] for each in ledger.read(tmp_path / "out")] == ["one", "two"]


def test_a_balanced_run_never_resumes_another(cross, student: str, tmp_path: Path, one_thread: None, monkeypatch):
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crossing_runs, "_test", killed)
        with pytest.raises(KeyboardInterrupt):
            cross([["english", "two"]], "one", student)
    cross([["english", "two"]], "one", student, balance=True)
    cross([["english", "two"]], "one", student, balance=True, out=tmp_path / "alone")
    pd.testing.assert_frame_equal(
        *(table_of(tmp_path / out, "one", "from-english+two-balanced", "student") for out in ("out", "alone"))
    )


def test_kept_models_say_what_they_have_heard_and_can_be_tested_elsewhere(cross, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cross([["english", "two"]], "one")
    tested = len(ledger.read(out))
    (folder,) = cross([["english", "two"]], "one", keep_models=True).models
    assert len(ledger.read(out)) == tested
    assert folder == out / "english+two" / "as-source" / "mfcc-svm" / "fold1-seed0"
    assert load_model(folder).info.labels == ("angry", "happy", "sad")
    scores = cross([], ["two", "one"], str(folder)).scores.set_index("target")
    assert (
        scores.loc["two", "reason"] == "SL012: the model fold1-seed0 was trained on 2 test speakers (the first is s0)"
    )
    assert scores.loc["one", "uar"] == cross([["english", "two"]], "one").scores.loc[0, "uar"]


def test_a_kept_model_says_which_recordings_without_labels_were_heard(cross, monkeypatch) -> None:
    speech = {"name": "a corpus", "speakers": ["a"], "sha256": {"a_1.wav": "0" * 64}}
    monkeypatch.setattr(crossing_runs.heard, "speech_before", lambda _: [speech])
    (folder,) = cross("two", "one", keep_models=True).models
    assert heard_by(folder) == [speech]


def test_a_model_of_another_configuration_is_never_replaced(cross, tmp_path: Path) -> None:
    (folder,) = cross("english", "one", keep_models=True).models
    path = folder / "serlab.json"
    path.write_text(path.read_text(encoding="utf-8").replace("s-", "s-0"), encoding="utf-8")
    with pytest.raises(UserError, match="holds a model of another configuration"):
        cross("english", "one", keep_models=True)


def test_parts_of_corpora_have_names_of_their_own(cross, tmp_path: Path) -> None:
    out = tmp_path / "out"
    labels = {"italian": {"calm": "sad"}}
    (row,) = cross("english", "italian", limit=1, labels=labels).scores.to_dict("records")
    assert (row["source"], row["target"], row["clips"]) == ("english-limit1", "italian-limit1", 44)
    cross("english", "one", smoke=True)
    assert [each.get("smoke") for each in ledger.read(out)] == [None, True]
    assert {path.name for path in out.glob("cross-corpus*")} == {"cross-corpus-limit1", "cross-corpus-smoke"}
    assert "The figures mean nothing" in (out / "cross-corpus-smoke" / "report" / "report.md").read_text("utf-8")
    with pytest.raises(UserError, match="leaves no clip"):
        cross("english", "one", limit=0)


def test_what_is_named_twice_is_tested_once(cross, corpora, tmp_path: Path) -> None:
    found = cross(["english", ["english", "english"]], ["one", "one"], "mfcc-svm", "mfcc-svm", seeds=[0, 0])
    assert len(found.scores) == 1
    assert read(found.report.with_name("speakers.csv"))["clips"].sum() == 9
    assert len(ledger.read(tmp_path / "out")) == 1


def test_several_jobs_give_the_same_tables(corpora, tmp_path: Path) -> None:
    train = [[corpora["english"]], [corpora["two"], corpora["english"]]]
    for jobs, out in ((1, "one"), (2, "several")):
        compare_across(train, [corpora["one"]], ["mfcc-svm"], jobs=jobs, out=tmp_path / out)
    for source in ("from-english", "from-two+english"):
        pd.testing.assert_frame_equal(*(table_of(tmp_path / out, "one", source) for out in ("one", "several")))


def test_several_jobs_normalise_features_as_one_does(corpora, tmp_path: Path) -> None:
    for jobs, out in ((1, "one"), (2, "several")):
        compare_across(
            corpora["english"], [corpora["one"]], ["mfcc-svm"], normalise=True, jobs=jobs, out=tmp_path / out
        )
    plain, one, several = (
        table_of(tmp_path / out, "one", source)
        for out, source in (
            ("one", "from-english"), ("one", "from-english-normalised"), ("several", "from-english-normalised"),
        )
    )  # fmt: skip
    pd.testing.assert_frame_equal(one, several)
    assert not np.allclose(plain.filter(like="logit_"), one.filter(like="logit_"))


@pytest.fixture(scope="module")
def far(corpora: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The two speakers through another microphone: a gain, and a filter."""
    folder = tmp_path_factory.mktemp("far")
    table = pd.read_csv(corpora["two"])
    for name in table["path"]:
        wave, rate = soundfile.read(Path(corpora["two"]).parent / name)
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, 0.02 * np.diff(wave, prepend=0.0)[::-1], rate)
    table.to_csv(folder / "far.csv", index=False)
    return str(folder / "far.csv")


def test_normalised_features_are_a_row_of_their_own(cross, corpora, far: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = cross("english", far, normalise=True)
    cells = json.loads(found.report.with_name("report.json").read_text(encoding="utf-8"))["cells"]
    assert [each["normalised"] for each in cells] == [False, True]
    assert cells[1]["caution"].startswith("Transductive: ")
    assert "english, normalised" in found.report.read_text(encoding="utf-8")
    assert [each["protocol"] for each in ledger.read(out)] == ["from-english", "from-english-normalised"]
    definition = signature_of(out, "far", "from-english-normalised")["protocol"]["definition"]
    assert "normalised per corpus" in definition
    assert list(found.scores["normalised"]) == [False, True]


def test_normalising_undoes_what_shifts_and_scales_every_feature(cross, corpora, tmp_path: Path, monkeypatch) -> None:
    plain = cross("english", "one", normalise=True, out=tmp_path / "plain")
    assert len(plain.scores) == 2
    original = MfccStatistics.__call__
    # Features of the target's recordings, 7 times as large and moved, as if all microphones differed.
    marks = {soundfile.read(path)[0].astype(np.float32).tobytes() for path in Path(corpora["one"]).parent.glob("one/*")}

    def moved(self, samples):
        values = original(self, samples)
        return 7 * values - 3 if np.asarray(samples, np.float32).tobytes() in marks else values

    monkeypatch.setattr(MfccStatistics, "__call__", moved)
    cross("english", "one", normalise=True, cache=False, out=tmp_path / "moved")
    before, after = (
        table_of(tmp_path / out, "one", "from-english-normalised").filter(like="logit_") for out in ("plain", "moved")
    )
    np.testing.assert_allclose(before, after, atol=1e-4)
    shifted = table_of(tmp_path / "moved", "one", "from-english").filter(like="logit_")
    assert not np.allclose(shifted, table_of(tmp_path / "plain", "one", "from-english").filter(like="logit_"), atol=0.1)


def test_networks_have_no_normalised_row(cross, tiny_recipes) -> None:
    with pytest.raises(UserError, match="is for recipes whose features are vectors"):
        cross("english", "one", tiny_recipes["tiny-resnet"], normalise=True)


def test_scores_follow_from_the_counts_by_speaker(cross) -> None:
    found = cross("english", ["italian", "one"])
    counts = read(found.report.with_name("speakers.csv"))
    for row in found.scores.to_dict("records"):
        rows = counts[(counts["target"] == row["target"]) & (counts["what"] == "tested")]
        labels = sorted({*rows["label"]})
        matrix = counts_of(rows, labels).by_seed[0]
        assert (matrix.diagonal() / matrix.sum(axis=1)).mean() == pytest.approx(row["uar"])


def test_a_model_of_several_corpora_is_for_use(corpora, tmp_path: Path) -> None:
    two = [corpora["english"], corpora["italian"]]
    folder = train_on_corpora(two, load_recipe("mfcc-svm"), labels={"calm": None}, out=tmp_path)
    assert folder == tmp_path / "english+italian" / "everyone" / "mfcc-svm" / "seed0"
    signature = json.loads((folder / "serlab.json").read_text(encoding="utf-8"))["signature"]
    assert [(each["corpus"], len(each["train"])) for each in signature["heard"]] == [("english", 5), ("italian", 11)]
    assert "on all 144 clips of\nenglish+italian" in (folder / "README.md").read_text(encoding="utf-8")
    assert load_model(folder).info.labels == ("angry", "happy", "sad")
    again = train_on_corpora(two, load_recipe("mfcc-svm"), labels={"calm": None}, out=tmp_path)
    assert again == folder
    with pytest.raises(UserError, match="model of another configuration"):
        train_on_corpora(two, load_recipe("mfcc-svm"), labels={"calm": None}, balance=True, out=tmp_path)
    with pytest.raises(UserError, match="is the only corpus that is named"):
        train_on_corpora(two[:1], load_recipe("mfcc-svm"), out=tmp_path)


def test_a_model_of_several_corpora_quotes_its_tests_elsewhere(cross, corpora, tmp_path: Path) -> None:
    out, two = tmp_path / "out", [corpora["english"], corpora["two"]]
    score = cross([["english", "two"]], "italian").scores.loc[0, "uar"]
    quote = out / "italian" / "from-english+two"
    folder = train_on_corpora(two, load_recipe("mfcc-svm"), quote=quote, out=out)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"UAR {100 * score:.1f} %" in card
    assert "`from-english+two, tested on italian`" in card
    with pytest.raises(UserError, match="trained on other corpora"):
        train_on_corpora([corpora["one"], corpora["two"]], load_recipe("mfcc-svm"), quote=quote, out=out)
    with pytest.raises(UserError, match="were not balanced, unlike this one"):
        train_on_corpora(two, load_recipe("mfcc-svm"), balance=True, quote=quote, out=out)
