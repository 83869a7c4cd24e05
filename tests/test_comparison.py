from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import serlab
from serlab import comparison
from serlab.core import MachineError, UserError
from serlab.corpora import load_corpus
from serlab.frontends.store import FeatureStore
from serlab.protocols import split
from serlab.recipes import load_recipe
from serlab.tables import read_run


@pytest.fixture
def compare(tiny_corpus, tmp_path, one_thread):
    """Compare on the tiny corpus, quickly: an SVM on fold 1 of two unless told otherwise."""

    def call(*recipes, corpus=tiny_corpus, out=tmp_path / "out", **how):
        how = {"protocol": "speaker-2", "folds": [1], **how}
        return serlab.compare(str(corpus), recipes or ["mfcc-svm"], out=out, **how)

    return call


def table_of(comparison, recipe="mfcc-svm", stem="fold1-seed0") -> pd.DataFrame:
    (path,) = comparison.folder.glob(f"{recipe}*/{stem}.parquet")
    return pd.read_parquet(path)


def signature_of(comparison, recipe="mfcc-svm", stem="fold1-seed0") -> dict:
    (path,) = comparison.folder.glob(f"{recipe}*/{stem}.json")
    return json.loads(path.read_text())


def ledger_of(comparison) -> list[dict]:
    path = comparison.folder.parent.parent / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and time of change."""
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


# --- what it writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["tiny-resnet", "tiny-wav2vec2", "mfcc-svm"])
def test_table_holds_the_folds_dev_and_test_clips_once_each(tiny_comparison, tiny_corpus, recipe):
    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    table = table_of(tiny_comparison, recipe)
    assert sorted(table.loc[table["side"] == "dev", "clip"]) == sorted(fold.dev)
    assert sorted(table.loc[table["side"] == "test", "clip"]) == sorted(fold.test)
    assert list(table.columns[-3:]) == ["logit_calm", "logit_happy", "logit_sad"]
    assert set(table["fold"]) == {1}
    assert set(table["seed"]) == {0}
    known = corpus.clips.set_index("clip")
    assert table["label"].tolist() == known.loc[table["clip"], "label"].tolist()
    assert table["speaker"].tolist() == known.loc[table["clip"], "speaker"].tolist()


def test_signature_says_what_exactly_was_run(tiny_comparison, tiny_corpus):
    signature = signature_of(tiny_comparison, "tiny-wav2vec2")
    corpus = load_corpus(str(tiny_corpus))
    assert signature["serlab"] == serlab.__version__
    assert signature["corpus"]["fingerprint"] == corpus.fingerprint
    assert signature["identity"] == {
        "recipe": signature["recipe"]["hash"],
        "corpus": corpus.fingerprint,
        "protocol": "speaker-2",
        "fold": 1,
        "seed": 0,
        "precision": "fp32",
    }
    assert signature["sides"] == ["dev", "test"]
    assert signature["recipe"]["name"] == f"tiny-wav2vec2-{signature['recipe']['hash'][:6]}"
    assert signature["recipe"]["pretrained"] is None
    assert signature["protocol"]["speaker_disjoint"] is True
    assert signature["exclusions"] == []
    assert [epoch["epoch"] for epoch in signature["training"]["epochs"]] == [1]
    assert 0 <= signature["training"]["train_uar"] <= 1
    assert signature["cost"]["parameters"] >= signature["cost"]["trained_parameters"] > 0
    assert signature["cost"]["real_time_factor"] > 0
    assert {"python", "torch", "transformers"} <= signature["versions"].keys()


def test_no_path_of_this_machine_is_written_into_a_signature(tiny_comparison, tiny_corpus):
    for path in tiny_comparison.folder.glob("*/fold*.json"):
        assert str(tiny_corpus.parent) not in path.read_text()


def test_ledger_has_a_line_for_every_test_side_that_was_read(tiny_comparison):
    lines = ledger_of(tiny_comparison)
    assert len(lines) == 3
    for line in lines:
        assert (line["corpus"], line["protocol"], line["fold"], line["seed"]) == ("tiny", "speaker-2", 1, 0)
        assert line["side"] == "test"
        assert signature_of(tiny_comparison, line["recipe"])["recipe"]["hash"] == line["hash"]


def test_nothing_private_is_left_behind(tiny_comparison):
    assert not list(tiny_comparison.folder.rglob(".*"))


def test_comparison_tells_where_its_results_are(tiny_comparison):
    assert (tiny_comparison.done, tiny_comparison.trained) == (0, 3)
    assert tiny_comparison.exclusions == ()
    assert tiny_comparison.report == tiny_comparison.folder / "report" / "index.html"
    assert "Tiny ResNet" in tiny_comparison.report.read_text()
    assert len(tiny_comparison.models) == 3


# --- never the same twice, never another silently -----------------------------------------------------------------


def test_second_time_nothing_is_run(compare):
    first = compare("mfcc-svm", folds=[1, 2])
    before = {path: state for path, state in state_of(first.folder).items() if "report" not in path}
    second = compare("mfcc-svm", folds=[1, 2])
    assert (first.done, first.trained) == (0, 2)
    assert (second.done, second.trained) == (2, 0)
    assert {path: state for path, state in state_of(first.folder).items() if "report" not in path} == before
    assert len(ledger_of(second)) == 2


def test_only_what_is_missing_is_run(compare):
    compare("mfcc-svm")
    more = compare("mfcc-svm", folds=[], seeds=[0, 1])
    assert (more.done, more.trained) == (1, 3)
    (more.folder / "mfcc-svm" / "fold1-seed1.parquet").unlink()
    assert compare("mfcc-svm", folds=[], seeds=[0, 1]).trained == 1


def test_what_is_named_twice_is_run_once(compare):
    result = compare("mfcc-svm", "mfcc-svm", folds=[1, 1], seeds=[0, 0])
    assert (result.done, result.trained) == (0, 1)


def test_the_screening_is_remembered(compare, monkeypatch):
    compare("mfcc-svm")

    def again(*arguments):
        raise AssertionError("screened again")

    monkeypatch.setattr("serlab.comparison.screen", again)
    assert compare("mfcc-svm", folds=[1, 2]).trained == 1


def test_a_recipe_with_a_setting_has_a_folder_of_its_own(compare):
    recipes = [load_recipe("mfcc-svm"), load_recipe("mfcc-svm", precision="fp32")]
    result = compare(*recipes)
    own = signature_of(result, "mfcc-svm-")["recipe"]["hash"]
    assert {path.name for path in result.folder.iterdir()} == {"mfcc-svm", f"mfcc-svm-{own[:6]}", "report"}


def changed_corpus(tiny_corpus, folder: Path) -> Path:
    """The tiny corpus under the same name with one clip less."""
    copy = folder / "copy"
    shutil.copytree(tiny_corpus.parent, copy)
    lines = (copy / "tiny.csv").read_text().splitlines()
    (copy / "tiny.csv").write_text("\n".join(lines[:-1]))
    return copy / "tiny.csv"


@pytest.mark.parametrize("recipe", ["mfcc-svm", "another"])
def test_results_of_other_data_of_the_same_name_are_in_the_way(compare, tiny_corpus, tmp_path, recipe):
    first = compare("mfcc-svm")
    before = state_of(first.folder)
    other = recipe if recipe == "mfcc-svm" else load_recipe("mfcc-svm", precision="fp32")
    with pytest.raises(UserError, match=r"other data that are called tiny too.*another --out"):
        compare(other, corpus=changed_corpus(tiny_corpus, tmp_path))
    assert state_of(first.folder) == before


@pytest.mark.parametrize("key", ["recipe", "precision"])
def test_another_configuration_is_never_overwritten(compare, key):
    first = compare("mfcc-svm")
    path = first.folder / "mfcc-svm" / "fold1-seed0.json"
    signature = json.loads(path.read_text())
    signature["identity"][key] = "other"
    path.write_text(json.dumps(signature))
    before = state_of(first.folder)
    with pytest.raises(UserError, match=f"another configuration \\({key} other"):
        compare("mfcc-svm")
    assert state_of(first.folder) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": {}}'])
def test_a_file_that_is_no_signature_is_in_the_way(compare, text):
    path = compare("mfcc-svm").folder / "mfcc-svm" / "fold1-seed0.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"fold1-seed0\.json is no signature"):
        compare("mfcc-svm")


def test_two_processes_never_do_the_same_run(compare, tmp_path):
    folder = tmp_path / "out" / "tiny" / "speaker-2" / "mfcc-svm"
    folder.mkdir(parents=True)
    with (folder / ".fold1-seed0.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another process is doing .*mfcc-svm/fold1-seed0"):
            compare("mfcc-svm")
    assert compare("mfcc-svm").trained == 1


def test_a_run_that_another_process_has_done_meanwhile_is_not_done_again(compare, monkeypatch):
    locked = comparison._locked

    @contextmanager
    def overtaken(target):
        monkeypatch.setattr(comparison, "_locked", locked)
        compare("mfcc-svm")
        with locked(target):
            yield

    monkeypatch.setattr(comparison, "_locked", overtaken)
    assert len(ledger_of(compare("mfcc-svm"))) == 1


def test_precision_is_part_of_the_identity(compare, tiny_recipes):
    result = compare(load_recipe(tiny_recipes["tiny-resnet"], precision="bf16"), tiny_recipes["tiny-resnet"])
    precisions = {json.loads(path.read_text())["identity"]["precision"] for path in result.folder.glob("*/fold*.json")}
    assert precisions == {"bf16", "fp32"}
    assert result.trained == 2


# --- development --------------------------------------------------------------------------------------------------


def test_dev_only_never_reads_the_test_side(compare, tiny_corpus, monkeypatch):
    test = split(load_corpus(str(tiny_corpus)), "speaker-2").folds[0].test
    heard = []
    get = FeatureStore.get
    monkeypatch.setattr(
        FeatureStore, "get", lambda self, clip, *rest: heard.append(clip.clip) or get(self, clip, *rest)
    )
    result = compare("mfcc-svm", dev_only=True)
    assert heard
    assert not set(heard) & set(test)
    assert set(table_of(result)["side"]) == {"dev"}
    assert signature_of(result)["sides"] == ["dev"]
    assert ledger_of(result) == []
    assert result.report.is_file()


def test_a_dev_only_run_becomes_a_whole_one(compare):
    development = compare("mfcc-svm", dev_only=True)
    dev = table_of(development)
    result = compare("mfcc-svm")
    assert result.trained == 1
    table = table_of(result)
    pd.testing.assert_frame_equal(table[table["side"] == "dev"].reset_index(drop=True), dev)
    assert signature_of(result)["sides"] == ["dev", "test"]
    assert len(ledger_of(result)) == 1
    assert compare("mfcc-svm", dev_only=True).trained == 0
    assert set(table_of(result)["side"]) == {"dev", "test"}


@pytest.mark.parametrize("dev_only", [True, False])
def test_a_model_folder_is_made_later_without_reading_the_test_side_again(compare, dev_only):
    first = compare("mfcc-svm")
    before = state_of(first.folder / "mfcc-svm")
    result = compare("mfcc-svm", dev_only=dev_only, keep_models=True)
    assert (first.models, result.trained) == ((), 1)
    assert result.models[0].is_dir()
    after = state_of(first.folder / "mfcc-svm")
    assert {path: state for path, state in after.items() if path in before} == before
    assert len(ledger_of(result)) == 1
    assert compare("mfcc-svm", keep_models=True).trained == 0


# --- the same again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["tiny-resnet", "tiny-wav2vec2", "mfcc-svm"])
def test_the_same_seed_gives_the_same_table_and_another_does_not(compare, tiny_comparison, tiny_recipes, recipe):
    again = compare(tiny_recipes.get(recipe, recipe), seeds=[0, 1])
    pd.testing.assert_frame_equal(table_of(again, recipe), table_of(tiny_comparison, recipe), check_exact=True)
    if recipe != "mfcc-svm":
        other = table_of(again, recipe, "fold1-seed1").drop(columns="seed")
        assert not other.equals(table_of(tiny_comparison, recipe).drop(columns="seed"))


LONG = {
    "tiny-resnet": [
        "training.epochs=12", "training.batch_size=4", "model.dropout=0.2", "training.select=last",
        "augmentation={views: [{speed: 0.9}, {noise: 0.01}], mixup: 0.2, time_masks: 1, time_width: 4}",
    ],
    "tiny-wav2vec2": [
        "training.epochs=12", "training.batch_size=4", "model.config.layerdrop=0.1", "model.config.mask_time_prob=0.1",
        "model.config.mask_time_length=2",
    ],
}  # fmt: skip


@pytest.fixture
def stop(start_serlab, tiny_corpus, tiny_recipes):
    """Start a comparison in a process of its own and send it a signal once its first checkpoint is there."""

    def call(name: str, out: Path, number: int) -> tuple[int, str, str]:
        settings = [part for setting in LONG[name] for part in ("--set", setting)]
        process = start_serlab(
            "compare", tiny_corpus, "--recipes", tiny_recipes[name], "--protocol", "speaker-2", "--folds", "1",
            "--out", out, *settings,
        )  # fmt: skip
        until = time.monotonic() + 120
        while not list(out.rglob(".fold1-seed0.work/checkpoint-*/trainer_state.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(process.pid, number)
        printed, err = process.communicate(timeout=60)
        assert not list(out.rglob("*.parquet")), "it was stopped too late to show anything"
        return process.returncode, printed, err

    return call


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LONG))
def test_killed_in_the_middle_of_a_fold_and_started_again(compare, stop, tiny_recipes, tmp_path, capfd, name):
    recipe = load_recipe(tiny_recipes[name], LONG[name])
    killed = tmp_path / "killed"
    code, *_ = stop(name, killed, signal.SIGKILL)
    assert code == -signal.SIGKILL
    capfd.readouterr()
    resumed = compare(recipe, out=killed)
    assert "going on where an interrupted run stopped" in capfd.readouterr().err
    undisturbed = compare(recipe)
    pd.testing.assert_frame_equal(table_of(resumed, name), table_of(undisturbed, name), check_exact=True)
    epochs = signature_of(resumed, name)["training"]["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 13))
    assert epochs == signature_of(undisturbed, name)["training"]["epochs"]
    assert not [path for path in killed.rglob(".*") if path.is_dir()]


@pytest.mark.slow
def test_interrupted_by_the_user(compare, stop, tiny_recipes, tmp_path, capfd):
    name = "tiny-resnet"
    code, out, err = stop(name, tmp_path / "stopped", signal.SIGINT)
    assert code == 130
    assert out == ""
    assert err.splitlines()[-1] == "serlab: interrupted; the same command goes on from here."
    assert "Traceback" not in err
    assert compare(load_recipe(tiny_recipes[name], LONG[name]), out=tmp_path / "stopped").trained == 1
    assert "going on where an interrupted run stopped" in capfd.readouterr().err


def test_checkpoints_of_another_configuration_are_not_gone_on_from(compare, tiny_recipes, tiny_comparison, capfd):
    result = compare(tiny_recipes["tiny-resnet"], dev_only=True)
    (path,) = result.folder.glob("tiny-resnet*/fold1-seed0.json")
    work = path.with_name(".fold1-seed0.work")
    (work / "checkpoint-2").mkdir(parents=True)
    (work / "checkpoint-2" / "trainer_state.json").write_text('{"global_step": 2}')
    (work / "identity.json").write_text('{"recipe": "other"}')
    again = compare(tiny_recipes["tiny-resnet"])
    assert "going on" not in capfd.readouterr().err
    pd.testing.assert_frame_equal(
        table_of(again, "tiny-resnet"), table_of(tiny_comparison, "tiny-resnet"), check_exact=True
    )


def test_half_a_checkpoint_is_not_gone_on_from(compare, tiny_recipes, tiny_comparison):
    result = compare(tiny_recipes["tiny-resnet"], dev_only=True)
    signature = signature_of(result, "tiny-resnet")
    (path,) = result.folder.glob("tiny-resnet*/fold1-seed0.json")
    work = path.with_name(".fold1-seed0.work")
    (work / "checkpoint-2").mkdir(parents=True)
    (work / "checkpoint-2" / "model.safetensors").write_bytes(b"half")
    (work / "identity.json").write_text(json.dumps(signature["identity"]))
    again = compare(tiny_recipes["tiny-resnet"])
    pd.testing.assert_frame_equal(
        table_of(again, "tiny-resnet"), table_of(tiny_comparison, "tiny-resnet"), check_exact=True
    )


# --- exclusions and refusals --------------------------------------------------------------------------------------


def test_exclusions_are_listed_by_fold_and_side_and_move_no_other_clip(compare, tiny_corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_corpus.parent, copy)
    (copy / "s0_calm_0.wav").write_bytes(b"")
    result = compare("mfcc-svm", corpus=copy / "tiny.csv", folds=[])
    assert [(entry.clip, entry.reason) for entry in result.exclusions] == [("s0_calm_0", "empty file")]
    folds = split(load_corpus(str(tiny_corpus)), "speaker-2").folds
    for fold in folds:
        signature = signature_of(result, stem=f"fold{fold.number}-seed0")
        (side,) = [name for name in ("train", "dev", "test") if "s0_calm_0" in getattr(fold, name)]
        assert signature["exclusions"] == [
            {"clip": "s0_calm_0", "path": "s0_calm_0.wav", "reason": "empty file", "fold": fold.number, "side": side}
        ]
        table = table_of(result, stem=f"fold{fold.number}-seed0")
        assert sorted(table.loc[table["side"] == "test", "clip"]) == sorted(set(fold.test) - {"s0_calm_0"})


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range(compare, seed):
    with pytest.raises(UserError, match=f"seed {seed}"):
        compare("mfcc-svm", seeds=[seed])


def test_a_ledger_that_cannot_be_written_stops_before_the_test_side_is_read(compare, tmp_path):
    (tmp_path / "out" / "ledger.jsonl").mkdir(parents=True)
    with pytest.raises(MachineError, match=r"ledger\.jsonl"):
        compare("mfcc-svm")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_runs_can_be_read_back(tiny_comparison):
    for path in tiny_comparison.folder.glob("*/fold*.parquet"):
        assert read_run(path).signature["fold"] == 1
