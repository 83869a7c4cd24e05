"""A comparison that is repeated, killed or interrupted gives the same table as an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.experiments.test_compare import signature_of, table_of

from serlab.core import UserError
from serlab.experiments import execute
from serlab.recipes import load_recipe
from serlab.report import build


@pytest.mark.parametrize("recipe", ["tiny-resnet", "tiny-wav2vec2", "mfcc-svm"])
def test_the_same_seed_gives_the_same_table_and_another_does_not(compare, tiny_comparison, tiny_recipes, recipe):
    again = compare(tiny_recipes.get(recipe, recipe), seeds=[0, 1])
    pd.testing.assert_frame_equal(table_of(again, recipe), table_of(tiny_comparison, recipe), check_exact=True)
    if recipe != "mfcc-svm":
        other = table_of(again, recipe, "fold1-seed1").drop(columns="seed")
        assert not other.equals(table_of(tiny_comparison, recipe).drop(columns="seed"))


LONG = {
    "tiny-resnet": [
        "training.epochs=24", "training.batch_size=4", "model.dropout=0.2", "training.select=last",
        "augmentation={views: [{speed: 0.9}, {noise: 0.01}], mixup: 0.2, time_masks: 1, time_width: 4}",
    ],
    "tiny-wav2vec2": [
        "training.epochs=24", "training.batch_size=4", "model.config.layerdrop=0.1", "model.config.mask_time_prob=0.1",
        "model.config.mask_time_length=2",
    ],
}  # fmt: skip


@pytest.fixture
def stop(start_serlab, tiny_corpus, tiny_recipes):
    """Start a comparison in its own process and send it a signal after its first checkpoint."""

    def call(name: str, out: Path, number: int) -> tuple[int, str, str]:
        settings = [part for setting in LONG[name] for part in ("--set", setting)]
        process = start_serlab(
            "compare", tiny_corpus, "--recipes", tiny_recipes[name], "--protocol", "speaker-2", "--folds", "1",
            "--out", out, *settings,
        )  # fmt: skip
        until = time.monotonic() + 120
        while not list(out.rglob(".fold1-seed0.work/epoch*/state.json")):
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
    assert "resuming an interrupted run" in capfd.readouterr().err
    undisturbed = compare(recipe)
    pd.testing.assert_frame_equal(table_of(resumed, name), table_of(undisturbed, name), check_exact=True)
    epochs = signature_of(resumed, name)["training"]["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 25))
    assert epochs == signature_of(undisturbed, name)["training"]["epochs"]
    assert not [path for path in killed.rglob(".*") if path.is_dir()]


@pytest.mark.slow
def test_interrupted_by_the_user(compare, stop, tiny_recipes, tmp_path, capfd):
    name = "tiny-resnet"
    code, out, err = stop(name, tmp_path / "stopped", signal.SIGINT)
    assert code == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "serlab: interrupted; the same command resumes from here."
    assert "Traceback" not in err
    assert compare(load_recipe(tiny_recipes[name], LONG[name]), out=tmp_path / "stopped").trained == 1
    assert "resuming an interrupted run" in capfd.readouterr().err


def test_checkpoints_of_another_configuration_are_not_resumed(compare, tiny_recipes, tiny_comparison, capfd):
    result = compare(tiny_recipes["tiny-resnet"], dev_only=True)
    (path,) = result.folder.glob("tiny-resnet*/fold1-seed0.json")
    work = path.with_name(".fold1-seed0.work")
    (work / "epoch1").mkdir(parents=True)
    (work / "epoch1" / "state.json").write_text('{"epochs": [{"epoch": 1, "loss": 1.0, "dev_uar": 1.0}], "seconds": 1}')
    (work / "identity.json").write_text('{"recipe": "other"}')
    again = compare(tiny_recipes["tiny-resnet"])
    assert "going on" not in capfd.readouterr().err
    pd.testing.assert_frame_equal(
        table_of(again, "tiny-resnet"), table_of(tiny_comparison, "tiny-resnet"), check_exact=True
    )


def test_half_a_checkpoint_is_not_resumed(compare, tiny_recipes, tiny_comparison):
    result = compare(tiny_recipes["tiny-resnet"], dev_only=True)
    signature = signature_of(result, "tiny-resnet")
    (path,) = result.folder.glob("tiny-resnet*/fold1-seed0.json")
    work = path.with_name(".fold1-seed0.work")
    (work / "unfinished").mkdir(parents=True)
    (work / "unfinished" / "model.safetensors").write_bytes(b"half")
    (work / "identity.json").write_text(json.dumps(signature["identity"]))
    again = compare(tiny_recipes["tiny-resnet"])
    pd.testing.assert_frame_equal(
        table_of(again, "tiny-resnet"), table_of(tiny_comparison, "tiny-resnet"), check_exact=True
    )


def test_a_kill_between_signature_and_table_is_done_again(compare, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    whole = compare("mfcc-svm", dev_only=True)
    with monkeypatch.context() as patch:
        patch.setattr(execute, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            compare("mfcc-svm", seeds=[0, 1])
    with pytest.raises(UserError, match="there are no runs"):
        build(whole.folder)
    again = compare("mfcc-svm", seeds=[0, 1])
    assert (again.done, again.trained) == (0, 2)
    assert set(table_of(again)["side"]) == {"dev", "test"}
