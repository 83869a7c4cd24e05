"""Errors of the machine (disk, hub) on the real command line: one sentence, exit code 3, no traceback."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

MACHINE = 3


def test_output_below_a_file(serlab, tiny_corpus, tmp_path):
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way")
    for out in (blocked, blocked / "runs", Path("/dev/null/x")):
        ended = serlab("compare", tiny_corpus, "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--out", out)
        assert ended.code == MACHINE
        assert str(out) in ended.sentence
        assert "write to another folder" in ended.sentence


def test_full_disk(serlab, tiny_corpus, tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "out"
    ended = serlab("compare", tiny_corpus, "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--out", out)
    assert ended.code == MACHINE
    assert "No space left on device" in ended.sentence
    assert not list(out.rglob("*.parquet"))


@pytest.mark.slow
def test_disk_that_fills_while_a_checkpoint_is_written(serlab_process, tiny_corpus, tiny_recipes, tmp_path):
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "out"
    ended = serlab_process(
        "compare", tiny_corpus, "--recipes", tiny_recipes["tiny-resnet"], "--protocol", "speaker-2", "--folds", "1",
        "--out", out, preexec_fn=little_room,
    )  # fmt: skip
    assert ended.code == MACHINE
    assert str(out) in ended.sentence
    assert "space" in ended.sentence
    assert not list(out.rglob("*.parquet"))


@pytest.mark.parametrize("recipe", ["wav2vec2-base", "resnet18-imagenet", "whisper-base-probe"])
def test_hub_that_is_switched_off(serlab, tiny_corpus, tmp_path, monkeypatch, recipe):
    monkeypatch.delenv("SERLAB_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ended = serlab("compare", tiny_corpus, "--recipes", recipe, "--out", tmp_path / "out")
    assert ended.code == MACHINE
    for phrase in ("SERLAB_MODELS", "--set model.checkpoint=FOLDER"):
        assert phrase in ended.sentence


@pytest.mark.slow
def test_hub_that_cannot_be_reached(serlab_process, tiny_corpus, tmp_path):
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    ended = serlab_process(
        "compare", tiny_corpus, "--recipes", "wav2vec2-base", "--out", tmp_path / "out",
        env={**nowhere, "SERLAB_MODELS": ""},
    )  # fmt: skip
    assert ended.code == MACHINE
    assert "facebook/wav2vec2-base" in ended.sentence
    assert "SERLAB_MODELS" in ended.sentence
