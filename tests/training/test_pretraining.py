"""Pretraining: states like transformers' own, loss that falls, resuming, the encoder folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzz.materials import RECIPES
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor, Wav2Vec2Model, WhisperForAudioClassification

from serlab.approaches.encoder.matching import Matching, Teacher, bare
from serlab.core import FindingsError, UserError
from serlab.corpora.unlabelled import find_speech
from serlab.recipes import Pretraining, Recipe, load_recipe
from serlab.training import pretraining
from serlab.training.pretraining import Task, pretrain

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(RECIPES["encoder"], encoding="utf-8")
    return load_recipe(str(path))


@pytest.fixture
def task(recipe: Recipe, tiny_whisper: Path, speech: Path) -> Task:
    settings = Pretraining(
        checkpoint=str(tiny_whisper), layers=(1, 3), epochs=3, batch_size=5, learning_rate=3e-3,
        max_seconds=1.0, speeds=(0.9, 1.0), noise=0.2,
    )  # fmt: skip
    return Task(recipe.model, settings, (find_speech(str(speech)),), "fp32", "tiny")


def changed(task: Task, **settings: Any) -> Task:
    return dataclasses.replace(task, settings=dataclasses.replace(task.settings, **settings))


def made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "pretraining.json").read_text("utf-8"))


@pytest.mark.parametrize("layers", [(0, 1, 2), (1, 3)])
def test_the_states_are_those_of_transformers_own_whisper(tiny_whisper: Path, layers: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (3, 32_000)).astype(np.float32)
    extractor = AutoFeatureExtractor.from_pretrained(tiny_whisper)
    own = WhisperForAudioClassification.from_pretrained(tiny_whisper).eval()
    features = extractor(list(samples), sampling_rate=16_000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        expected = own.encoder(features, output_hidden_states=True).hidden_states

    states = Teacher(str(tiny_whisper), layers, "fp32")(torch.from_numpy(samples))

    for layer, state in zip(layers, states, strict=True):
        torch.testing.assert_close(state, expected[layer], atol=1e-4, rtol=1e-4)


def test_frames_are_paired_by_their_middle(recipe: Recipe, tiny_whisper: Path) -> None:
    """Whisper's frame t is around sample 320 t; frame t - 1 of an encoder without padding hears the same sound."""
    stem = {"conv_dim": [64, 128, 160, 160], "conv_kernel": [20, 8, 8, 4], "conv_stride": [10, 4, 4, 2]}
    model = dataclasses.replace(recipe.model, config=recipe.model.config | stem | {"num_feat_extract_layers": 4})
    matching = Matching(bare(model), Teacher(str(tiny_whisper), [1], "fp32"))
    samples = torch.randn(1, 16_000, requires_grad=True)
    matching.base.feature_extractor.eval()(samples)[0, :, 20].square().sum().backward()
    heard = samples.grad[0].nonzero().flatten().float()
    assert matching.shift == 1
    assert round(float(heard.mean()) / 320) == 20 + matching.shift


def test_frames_of_equal_encoders_are_paired_one_by_one(recipe: Recipe, tmp_path: Path) -> None:
    stem = {"conv_dim": [64, 128, 160, 160], "conv_kernel": [20, 8, 8, 4], "conv_stride": [10, 4, 4, 2]}
    model = dataclasses.replace(recipe.model, config=recipe.model.config | stem | {"num_feat_extract_layers": 4})
    base = bare(model)
    base.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    assert Matching(base, Teacher(str(tmp_path), [1], "fp32")).shift == 0


def test_the_loss_falls_and_the_folder_is_a_plain_transformers_model(task: Task, tmp_path: Path) -> None:
    folder = pretrain(changed(task, epochs=8), tmp_path / "encoder")

    epochs = made(folder)["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] - 0.15
    assert epochs[-1]["cosine"] > epochs[0]["cosine"] + 0.1
    own, info = Wav2Vec2Model.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert own.config.hidden_dropout == 0.1
    assert AutoFeatureExtractor.from_pretrained(folder).do_normalize
    card = (folder / "README.md").read_text("utf-8")
    assert "Wav2Vec2 architecture, distilled from whisper-random with serlab" in card
    assert "facebook" not in card
    assert str(tmp_path) not in card + (folder / "pretraining.json").read_text("utf-8")
    assert not [*tmp_path.glob(".encoder.work*")]


def test_the_folder_names_all_speech_that_was_heard(task: Task, tmp_path: Path, capfd: Any) -> None:
    folder = pretrain(changed(task, epochs=1), tmp_path / "encoder")

    heard = json.loads((folder / "heard.json").read_text("utf-8"))
    (source,) = heard["speech"]
    assert source["name"] == "speech"
    assert source["clips"] == 20
    assert source["sha256"].keys() == {f"s{number % 4}/{number}.wav" for number in range(20)}
    assert heard["encoders"][0]["name"] == "whisper-random"
    assert "left out: silence.wav (silent)" in capfd.readouterr().err


def test_killed_and_resumed_equals_undisturbed(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretrain(task, tmp_path / "whole")
    step, steps = pretraining._step, []

    def killed(*arguments: Any) -> Any:
        steps.append(arguments[2])
        if len(steps) == 8:  # in the second epoch of 6 steps
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(task, tmp_path / "resumed")
        assert not (tmp_path / "resumed").exists()
        steps[:] = range(100)
        resumed = pretrain(task, tmp_path / "resumed")
    assert steps[100:] == list(range(6, 18))

    weights = [load_file(folder / "model.safetensors") for folder in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert made(whole)["epochs"] == made(resumed)["epochs"]


def test_a_complete_encoder_is_not_made_again_but_a_damaged_one_is(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = changed(task, epochs=1)
    folder = pretrain(task, tmp_path / "encoder")
    weights = folder / "model.safetensors"
    right = weights.read_bytes()
    with monkeypatch.context() as patch:
        patch.delattr(pretraining, "_pretrain")
        pretrain(task, folder)
    weights.write_bytes(right[:-4] + b"\0\0\0\0")
    assert pretrain(task, folder).joinpath("model.safetensors").read_bytes() == right


@pytest.mark.parametrize(
    "change", [{"epochs": 2}, {"layers": (1,)}, {"noise": 0.1}, {"seed": 1}, {"learning_rate": 1e-3}]
)
def test_settings_are_part_of_the_identity(task: Task, change: dict[str, Any]) -> None:
    assert changed(task, **change).identity() != task.identity()


def test_dropout_and_paths_are_not_part_of_the_identity(task: Task, speech: Path, tmp_path: Path) -> None:
    model = dataclasses.replace(task.model, config=task.model.config | {"hidden_dropout": 0.3})
    assert dataclasses.replace(task, model=model).identity() == task.identity()
    (tmp_path / "moved").symlink_to(speech)
    moved = dataclasses.replace(task, speech=(find_speech(str(tmp_path / "moved")),))
    assert moved.identity() == task.identity()


def test_a_divergence_is_an_error(task: Task, tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match="not finite in epoch 1 of pretraining"):
        pretrain(changed(task, learning_rate=1e30), tmp_path / "encoder")


def test_many_unusable_recordings_are_an_error(task: Task, tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match=r"1 of 21 clips cannot be used.*silence"):
        pretrain(task, tmp_path / "encoder", max_excluded=0.01)


def test_unequal_frames_are_an_error(task: Task, tmp_path: Path) -> None:
    model = dataclasses.replace(task.model, config=task.model.config | {"conv_stride": [20, 8]})
    with pytest.raises(UserError, match="frames per second"):
        pretrain(dataclasses.replace(task, model=model), tmp_path / "encoder")


def test_a_missing_layer_is_an_error(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 layers"):
        pretrain(changed(task, layers=(4,)), tmp_path / "encoder")


def test_bf16_learns_too(task: Task, tmp_path: Path) -> None:
    folder = pretrain(dataclasses.replace(changed(task, epochs=4), precision="bf16"), tmp_path / "encoder")
    epochs = made(folder)["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
