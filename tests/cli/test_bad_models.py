"""Damaged model folders and checkpoints on the real command line: one sentence with the folder, exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

USER = 2


def drop_weight(path: Path) -> None:
    state = load_file(path)
    state.pop(next((name for name in sorted(state) if ".layers.0." in name), max(state)))
    save_file(state, path, metadata={"format": "pt"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_json(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def drop_head(path: Path) -> None:
    state = load_file(path)
    del state["classifier.weight"]
    save_file(state, path, metadata={"format": "pt"})


def write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def drop_label(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"labels": content["labels"][:-1]}))


DAMAGE = {
    "a weight is missing": ("model.safetensors", drop_weight),
    "cut weights": ("model.safetensors", cut),
    "no weights": ("model.safetensors", Path.unlink),
    "cut serlab.json": ("serlab.json", spoil_json),
    "a list in serlab.json": ("serlab.json", write("[]")),
    "nothing in serlab.json": ("serlab.json", write("null")),
    "a label less": ("serlab.json", drop_label),
}
NETWORK_DAMAGE = {
    "no head": ("model.safetensors", drop_head),
    "no preprocessor": ("preprocessor_config.json", Path.unlink),
    "cut preprocessor": ("preprocessor_config.json", spoil_json),
}
CASES = [(name, damage) for name in ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm") for damage in DAMAGE]
CASES += [("tiny-resnet", damage) for damage in NETWORK_DAMAGE] + [
    ("tiny-wav2vec2", damage) for damage in ("cut preprocessor", "no head")
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_damaged_model_folder(serlab, tiny_models, tmp_path, make_tone, name, damage):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[name], folder)
    file, harm = (DAMAGE | NETWORK_DAMAGE)[damage]
    harm(folder / file)
    ended = serlab("predict", "--model", folder, make_tone(tmp_path / "a.wav"))
    assert ended.code == USER
    assert str(folder) in ended.sentence
    assert ended.out == ""


@pytest.mark.parametrize("damage", ["a weight is missing", "no head", "cut weights", "no weights", "cut preprocessor"])
def test_damaged_plain_transformers_folder(serlab, tiny_models, tmp_path, make_tone, damage):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    (folder / "serlab.json").unlink()
    file, harm = (DAMAGE | NETWORK_DAMAGE)[damage]
    harm(folder / file)
    ended = serlab("predict", "--model", folder, make_tone(tmp_path / "a.wav"))
    assert ended.code == USER
    assert str(folder) in ended.sentence


@pytest.mark.parametrize("damage", ["a weight is missing", "cut weights", "no weights"])
def test_damaged_checkpoint(serlab, tiny_checkpoint, tiny_corpus, tmp_path, damage):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    file, harm = DAMAGE[damage]
    harm(folder / file)
    ended = serlab(
        "compare", tiny_corpus, "--recipes", "wav2vec2-base", "--set", f"model.checkpoint={folder}", "--protocol",
        "speaker-2", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == USER
    assert str(folder) in ended.sentence


def test_folder_that_is_not_a_model(serlab, tmp_path, make_tone):
    sound = make_tone(tmp_path / "sounds" / "a.wav")
    for folder in (tmp_path / "absent", sound.parent, sound):
        ended = serlab("predict", "--model", folder, sound)
        assert ended.code == USER
        assert str(folder) in ended.sentence


def test_transformers_folder_of_another_kind(serlab, tmp_path, make_tone):
    from transformers import ResNetConfig, ResNetForImageClassification

    folder = tmp_path / "image-model"
    tiny = ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], layer_type="basic")
    ResNetForImageClassification(tiny).save_pretrained(folder)
    ended = serlab("predict", "--model", folder, make_tone(tmp_path / "a.wav"))
    assert ended.code == USER
    assert str(folder) in ended.sentence
