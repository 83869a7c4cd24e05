"""``serlab pretrain``: the folder, Ctrl-C and resuming, mistakes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz.materials import RECIPES


@pytest.fixture
def arguments(tmp_path: Path, tiny_whisper: Path, speech: Path) -> list[str]:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPES["encoder"], encoding="utf-8")
    settings = {"checkpoint": tiny_whisper, "layers": "[2]", "epochs": 2, "batch_size": 4}
    changes = [f"--set=training.pretraining.{name}={value}" for name, value in settings.items()]
    return ["pretrain", str(recipe), "--speech", str(speech), "--out", str(tmp_path / "encoder"), *changes]


def test_the_folder_is_printed_and_made_once(serlab: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    first, again = serlab(*arguments), serlab(*arguments)
    assert first.code == again.code == 0, first.err
    assert first.out == again.out == f"{tmp_path / 'encoder'}\n"
    assert "20 parts" in first.err
    assert "parts" not in again.err
    assert "--set model.checkpoint=" in first.err
    assert not [*tmp_path.glob(".*")]


def test_ctrl_c_and_the_same_command_again(
    start_serlab: Callable[..., Any], serlab: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    work = tmp_path / ".encoder.work"
    process = start_serlab(*arguments, "--set=training.pretraining.epochs=4000")
    deadline = time.monotonic() + 200
    while not [*work.glob("epoch*/state.json")] and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (state,) = work.glob("epoch*/state.json")
    done = len(json.loads(state.read_text("utf-8"))["epochs"])
    assert done >= 1
    assert not (tmp_path / "encoder").exists()
    ended = serlab(*arguments)
    # Other settings start anew.
    assert ended.code == 0, ended.err
    assert "resuming" not in ended.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--speech=nowhere/x"], "there is no known corpus or folder of speech nowhere/x"),
        (["--set=training.pretraining.layers=[7]"], "has 3 layers"),
        (["--set=training.pretraining.speeds=[3]"], "must lie between 0.5 and 2"),
        (["--set=training.pretraining.epoch=3"], "did you mean 'epochs'"),
    ],
)
def test_mistakes(serlab: Callable[..., Any], arguments: list[str], change: list[str], words: str) -> None:
    ended = serlab(*arguments, *change)
    assert ended.code == 2
    assert words in ended.sentence


def test_a_recipe_without_an_encoder_from_scratch(serlab: Callable[..., Any], arguments: list[str]) -> None:
    arguments[1] = "mfcc-svm"
    ended = serlab(*arguments[:6])
    assert "has no encoder to pretrain" in ended.sentence
