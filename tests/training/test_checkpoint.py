"""Checkpoints of a training: what is kept, and what a kill or damage does."""

from __future__ import annotations

import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.tones import SETTINGS, train

from serlab.core import MachineError
from serlab.frontends.store import ClipFile
from serlab.training.checkpoint import Checkpoint


def test_a_checkpoint_that_a_kill_left_half_written_is_skipped(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    undisturbed = train("resnet", files, tmp_path / "a", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", SETTINGS, stop_after=2)
    half = tmp_path / "b" / "unfinished"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    resumed = train("resnet", files, tmp_path / "b", SETTINGS)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])
    assert not half.exists()


def test_a_checkpoint_whose_removal_a_kill_interrupted_is_skipped(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    undisturbed = train("resnet", files, tmp_path / "a", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", SETTINGS, stop_after=3)
    (tmp_path / "b" / "epoch1").mkdir(exist_ok=True)
    (tmp_path / "b" / "epoch1" / "state.json").unlink(missing_ok=True)

    resumed = train("resnet", files, tmp_path / "b", SETTINGS)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])


@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["half", "zeros", "gone"])
def test_a_damaged_checkpoint_is_dropped_with_a_message(
    damage: str, name: str, select: str, files: tuple[ClipFile, ...], tmp_path: Path, capfd
) -> None:
    settings = replace(SETTINGS, select=select)
    undisturbed = train("resnet", files, tmp_path / "a", settings)
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path / "b", settings, stop_after=3)
    path = tmp_path / "b" / "epoch3" / name
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: size // 2] if damage == "half" else bytes(size))

    resumed = train("resnet", files, tmp_path / "b", settings)

    np.testing.assert_array_equal(undisturbed[2], resumed[2])
    assert "epoch3 is damaged" in capfd.readouterr().err


def test_a_checkpoint_whose_best_epoch_is_damaged_is_dropped_too(files: tuple[ClipFile, ...], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("resnet", files, tmp_path, SETTINGS, stop_after=3)
    best = tmp_path / "epoch2"
    shutil.copytree(tmp_path / "epoch3", best, dirs_exist_ok=True)
    assert len(Checkpoint.last(tmp_path, lambda _: 2).epochs) == 3
    (best / "model.safetensors").write_bytes(b"")
    assert Checkpoint.last(tmp_path, lambda _: 2) is None
    assert not list(tmp_path.glob("epoch[23]"))


def test_checkpoints_hold_no_pickle_and_only_the_best_and_the_last_stay(
    files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    _, history, _ = train("resnet", files, tmp_path, replace(SETTINGS, epochs=6))
    folders = {path.name for path in tmp_path.iterdir()}
    assert folders == {f"epoch{history['best_epoch']}", "epoch6"}
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".safetensors", ".json"}
    last = Checkpoint.last(tmp_path)
    assert last is not None
    assert last.epochs == history["epochs"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_file_of_a_checkpoint_that_the_system_refuses_is_the_machine_s_fault(
    name: str, files: tuple[ClipFile, ...], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=1)
    train("resnet", files, tmp_path / "whole", settings)
    (whole,) = (tmp_path / "whole").glob("epoch*")
    sizes = sorted(path.stat().st_size for path in whole.iterdir())
    size = (whole / name).stat().st_size
    assert size == sizes[-1] or name != "optimizer.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, before[1]))
    try:
        with pytest.raises(MachineError, match=r"File too large.*free some space"):
            train("resnet", files, tmp_path / "full", settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
