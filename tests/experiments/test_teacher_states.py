"""Frame-level states of a teacher's encoder in comparisons: what is learned, cached, resumed and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from serlab.core import UserError
from serlab.frontends.cache import FeatureCache
from serlab.model.model import load_model
from serlab.recipes import Recipe, Teacher, identify, load_recipe
from serlab.training import loop, states

pytestmark = pytest.mark.usefixtures("one_thread")
VIEWS = "augmentation.views=[{speed: 0.9}, {noise: 0.01}]"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def student(tiny_recipes: dict[str, str], tiny_whisper: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A tiny Wav2Vec2 whose frames match states of a tiny Whisper, by default of a probe."""
    probe = tmp_path / "probe.yaml"
    probe.write_text(f"title: P\nmodel: {{kind: probe, checkpoint: {tiny_whisper}}}\ntraining: {{precision: fp32}}\n")
    full = tmp_path / "full.yaml"
    full.write_text(
        f"title: F\nmodel: {{kind: encoder, checkpoint: {tiny_whisper}, freeze_layers: 2}}\n"
        "training: {epochs: 1, batch_size: 8, precision: fp32}\n"
    )
    named = {"probe": str(probe), "full": str(full), "whisper": str(tiny_whisper)}

    def make(*changes: str, name: str = "tiny-wav2vec2", **teacher: Any) -> Recipe:
        recipe = load_recipe(tiny_recipes[name], ["training.epochs=2", "training.precision=fp32", *changes])
        given = {"recipe": "probe", "states": (1, 3), **teacher}
        given = {
            key: named.get(value, value) if key in ("recipe", "checkpoint") else value for key, value in given.items()
        }
        return replace(recipe, training=replace(recipe.training, teacher=Teacher(**given)))

    return make


def of(comparison, kind: str) -> Any:
    (path,) = comparison.folder.glob(f"tiny*/fold1-seed0{kind}")
    return path


def signature_of(comparison) -> dict[str, Any]:
    return json.loads(of(comparison, ".json").read_text())


def logits_of(comparison) -> np.ndarray:
    return pd.read_parquet(of(comparison, ".parquet")).filter(like="logit_").to_numpy()


def weights_of(comparison) -> dict[str, np.ndarray]:
    return load_file(of(comparison, "/model.safetensors"))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def losses_of(comparison) -> list[float]:
    return [epoch["loss"] for epoch in signature_of(comparison)["training"]["epochs"]]


def test_states_change_the_training_and_are_recorded(compare, student, tmp_path) -> None:
    with_states = compare(student(), keep_models=True, out=tmp_path / "states")
    without = compare(student(states=()), keep_models=True, out=tmp_path / "scores")

    assert not same(weights_of(with_states), weights_of(without))
    assert weights_of(with_states).keys() == weights_of(without).keys()
    assert min(np.subtract(losses_of(with_states), losses_of(without))) > 0.5
    config = signature_of(with_states)["recipe"]["config"]["training"]["teacher"]
    assert (config["states"], config["states_weight"]) == ([1, 3], 1.0)
    assert signature_of(with_states)["teacher"]["score_seconds"] > 0
    assert load_model(of(with_states, "")).predict(np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000).label


def test_weight_0_equals_the_teachers_scores_alone_to_the_last_bit(compare, student, tmp_path) -> None:
    silent = compare(student(states_weight=0.0), keep_models=True, out=tmp_path / "silent")
    alone = compare(student(states=()), keep_models=True, out=tmp_path / "alone")
    assert same(weights_of(silent), weights_of(alone))
    np.testing.assert_array_equal(logits_of(silent), logits_of(alone))
    assert signature_of(silent)["recipe"]["hash"] != signature_of(alone)["recipe"]["hash"]


def test_both_weights_0_equal_training_without_a_teacher(compare, student, tmp_path) -> None:
    silent = compare(student(states_weight=0.0, weight=0.0), keep_models=True, out=tmp_path / "silent")
    recipe = student()
    plain = replace(recipe, training=replace(recipe.training, teacher=None))
    assert same(weights_of(silent), weights_of(compare(plain, keep_models=True, out=tmp_path / "plain")))
    assert "teacher" not in signature_of(silent)


def test_states_alone_teach_without_the_teachers_scores(compare, student, tmp_path) -> None:
    recipe = student(weight=0.0)
    plain = replace(recipe, training=replace(recipe.training, teacher=None))
    one, other = (
        compare(each, keep_models=True, out=tmp_path / each.name / str(n)) for n, each in enumerate((recipe, plain))
    )
    assert not same(weights_of(one), weights_of(other))


@pytest.mark.parametrize("views", ["clean", "same"])
def test_cached_states_give_the_same_training(compare, student, tmp_path, monkeypatch, views) -> None:
    recipe = student(VIEWS, views=views)
    first = compare(recipe, keep_models=True, out=tmp_path / "first")
    for memory in (states._store, states._encoder):
        memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(states._States, "__call__", lambda *_: pytest.fail("the states were cached"))
        again = compare(recipe, keep_models=True, out=tmp_path / "again")
    anew = compare(recipe, keep_models=True, out=tmp_path / "anew", cache=False)
    assert same(weights_of(first), weights_of(again))
    assert same(weights_of(first), weights_of(anew))
    took = [signature_of(done)["teacher"]["score_seconds"] for done in (first, again)]
    assert took[0] == took[1]


def test_killed_and_resumed_equals_undisturbed(compare, student, tmp_path, monkeypatch) -> None:
    recipe = student(VIEWS, "training.epochs=3", "training.ema=0.9", "training.layer_decay=0.9")
    whole = compare(recipe, keep_models=True, out=tmp_path / "whole")
    validate, left = loop.validate, [2]

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return validate(*arguments)

    monkeypatch.setattr(loop, "validate", interrupted)
    # Of the states, one is lost, as if the cache had been cleared: the encoder is loaded again.
    get = FeatureCache.get
    with pytest.raises(KeyboardInterrupt):
        compare(recipe, keep_models=True, out=tmp_path / "broken")
    left[0] = 99
    for memory in (states._store, states._encoder):
        memory.cache_clear()
    lost = []

    def losing(self, key):
        if self.config["frontend"].get("frontend") == "states" and len(lost) < 3 and not key.startswith("seconds"):
            lost.append(key)
            return None
        return get(self, key)

    monkeypatch.setattr(FeatureCache, "get", losing)
    resumed = compare(recipe, keep_models=True, out=tmp_path / "broken")
    assert left[0] == 98
    assert lost
    assert same(weights_of(whole), weights_of(resumed))
    np.testing.assert_array_equal(logits_of(whole), logits_of(resumed))


def test_the_order_of_batches_is_the_same_whatever_was_computed_before(compare, student, tmp_path) -> None:
    first = compare(student(VIEWS), keep_models=True, out=tmp_path / "first")
    np.random.rand(5)  # noqa: NPY002
    second = compare("mfcc-svm", student(VIEWS), keep_models=True, out=tmp_path / "second")
    assert same(weights_of(first), weights_of(second))


@pytest.mark.parametrize(
    "teacher",
    [
        {"recipe": "full", "states": (0, 2, 3)},
        {"recipe": "probe", "crossfit": True},
        {"recipe": "self", "states": (0, 1), "seeds": (0, 1)},
        {"recipe": "", "checkpoint": "classifier", "states": (2,)},
    ],
    ids=["fine-tuned", "crossfit", "self", "checkpoint"],
)
def test_every_teacher_with_an_encoder_shows_its_states(compare, student, teacher, tiny_whisper, tmp_path) -> None:
    if teacher["recipe"] == "":
        teacher = {**teacher, "checkpoint": str(classifier_of(tiny_whisper, tmp_path))}
    done = compare(student(**teacher), keep_models=True)
    assert all(np.isfinite(losses_of(done)))
    assert np.isfinite(logits_of(done)).all()


def classifier_of(whisper: Path, folder: Path) -> Path:
    """A classifier of transformers for the labels of the tiny corpus."""
    from transformers import WhisperFeatureExtractor, WhisperForAudioClassification

    names = dict(enumerate(("calm", "happy", "sad")))
    model = WhisperForAudioClassification.from_pretrained(
        whisper, id2label=names, label2id={name: place for place, name in names.items()}, num_labels=3,
        ignore_mismatched_sizes=True,
    )  # fmt: skip
    model.save_pretrained(folder / "theirs")
    WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder / "theirs")
    return folder / "theirs"


def test_speech_without_labels_shows_its_states_too(compare, student, make_tone, tmp_path) -> None:
    for number in range(3):
        make_tone(tmp_path / "speech" / f"{number}.wav", hz=200 * (number + 1), seconds=0.5 + 0.2 * number)
    recipe = student()
    more = replace(recipe, training=replace(recipe.training, unlabelled=(str(tmp_path / "speech"),)))
    one, other = (compare(each, out=tmp_path / str(number)) for number, each in enumerate((recipe, more)))
    assert losses_of(one) != losses_of(other)


def test_a_network_without_frames_is_refused(student) -> None:
    with pytest.raises(UserError, match=r"training.teacher.states is for speech encoders.*tiny-resnet is a resnet"):
        student(name="tiny-resnet")


def test_mixed_clips_are_refused(student) -> None:
    with pytest.raises(UserError, match=r"needs augmentation.mixup=0, because mixed clips have no states"):
        student("augmentation.mixup=0.2")


def test_a_teacher_without_an_encoder_is_refused_before_it_is_trained(compare, student, tiny_models, tmp_path) -> None:
    with pytest.raises(UserError, match=r"needs a teacher with a speech encoder, and mfcc-svm is of kind svm"):
        compare(student(recipe="mfcc-svm"))
    assert not [*(tmp_path / "out").rglob("serlab.json")]
    with pytest.raises(UserError, match=r"speech encoder, and fold1-seed0 is of kind resnet"):
        compare(student(recipe="", checkpoint=str(tiny_models["tiny-resnet"])))


def test_a_layer_out_of_range_is_refused(compare, student) -> None:
    with pytest.raises(UserError, match=r"training.teacher.states has the value 4, but .* has 3 layers"):
        compare(student(states=(4,)))


def test_another_frame_rate_is_refused(compare, student) -> None:
    slow = "model.config.conv_stride=[40, 16]"
    with pytest.raises(UserError, match=r"needs encoders with the same frame rate: tiny-wav2vec2 has \d+ frames where"):
        compare(student(slow))


def test_settings_that_mean_nothing_are_refused(student) -> None:
    for wrong, words in (
        ({"states": (1, 1)}, "expected different layers from 0 on"),
        ({"states": (-1,)}, "expected different layers from 0 on"),
        ({"states": (), "states_weight": 0.5}, "states_weight needs training.teacher.states"),
        ({"states_weight": -1.0}, "must be at least 0"),
    ):
        with pytest.raises(UserError, match=words):
            student(**wrong)


def test_older_recipes_keep_their_identity(student) -> None:
    hashes = [identify(student(**each))[0] for each in ({"states": ()}, {}, {"states": (1,)}, {"states_weight": 0.5})]
    assert len(set(hashes)) == 4
    plain = student(states=())._sections(omit_added=True)["training"]["teacher"]
    assert not {"states", "states_weight"} & plain.keys()
