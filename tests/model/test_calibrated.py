"""Probabilities at the temperature of the model's dev subset, on every way in."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab import Model, load_model, to_frame
from serlab.core import UserError

RATE = 16000
TEMPERATURE = 3.0


def changed(folder: Path, there: Path, **training) -> Path:
    shutil.copytree(folder, there)
    content = json.loads((there / "serlab.json").read_text())
    content["signature"]["training"] |= training
    (there / "serlab.json").write_text(json.dumps(content))
    return there


@pytest.fixture(scope="module")
def folder(tiny_models, tmp_path_factory) -> Path:
    reliance = {"temperature": TEMPERATURE, "thresholds": [0.6] * 50}
    return changed(tiny_models["mfcc-svm"], tmp_path_factory.mktemp("models") / "svm", reliance=reliance)


@pytest.fixture(scope="module")
def model(folder) -> Model:
    return load_model(folder)


@pytest.fixture
def clips(tiny_corpus) -> list[Path]:
    return sorted(tiny_corpus.parent.glob("*.wav"))[::5]


def tempered(shares: np.ndarray) -> np.ndarray:
    powers = shares ** (1 / TEMPERATURE)
    return powers / powers.sum(axis=-1, keepdims=True)


def shares(found) -> np.ndarray:
    return np.array(list(found.probabilities.values()))


def test_scores_are_divided_by_the_temperature(model, clips):
    plain, calibrated = model.predict_proba(clips), model.predict_proba(clips, calibrated=True)
    np.testing.assert_allclose(calibrated, tempered(plain), rtol=1e-5)
    for path, before, row in zip(clips, model.predict(clips), calibrated, strict=True):
        found = model.predict(path, calibrated=True)
        np.testing.assert_allclose(shares(found), row, rtol=1e-6)
        assert (found.temperature, before.temperature) == (TEMPERATURE, None)
        assert found.label == before.label
    assert model.info.temperature == TEMPERATURE


def test_segments_streams_and_summaries_are_calibrated_too(model):
    time = np.arange(4 * RATE) / RATE
    samples = 0.3 * np.sin(2 * np.pi * 480 * time) + 0.02 * np.random.default_rng(0).standard_normal(len(time))
    how = {"window": 1, "hop": 0.5, "vad": "none"}
    plain = list(model.segments(samples, RATE, **how))
    found = list(model.segments(samples, RATE, calibrated=True, **how))
    for before, after in zip(plain, found, strict=True):
        np.testing.assert_allclose(shares(after), tempered(shares(before)), rtol=1e-5)
    stream = model.stream(RATE, calibrated=True, **how)
    assert [*stream.feed(samples), *stream.flush()] == found
    assert (stream.temperature, model.stream(RATE).temperature) == (TEMPERATURE, None)
    whole = model.predict(samples, RATE, calibrated=True, **how)
    np.testing.assert_allclose(shares(whole), np.mean([shares(one) for one in found], axis=0))
    assert (whole.temperature, whole.segments) == (TEMPERATURE, tuple(found))
    for share in (None, 0.1):
        options = {"abstain": share, "calibrated": True}
        told = model.summarise(model.segments(samples, RATE, **options, **how), **options)
        assert replace(told, warnings=()) == replace(model.predict(samples, RATE, **options, **how), warnings=())


def test_abstention_is_the_same_with_and_without(model, clips):
    plain, calibrated = model.predict(clips, abstain=0.1), model.predict(clips, abstain=0.1, calibrated=True)
    assert [one.label for one in plain] == [one.label for one in calibrated]
    assert [one.label is None for one in calibrated] == [shares(one).max() < 0.6 for one in calibrated]


def test_the_result_says_which_temperature_was_used(model, clips):
    found, plain = model.predict(clips[0], calibrated=True), model.predict(clips[0])
    assert found.data()["temperature"] == found.rows()[0]["temperature"] == TEMPERATURE
    assert "temperature" not in plain.data()
    assert list(to_frame([found, plain])["temperature"].fillna(0)) == [TEMPERATURE, 0]
    assert "temperature" not in to_frame([plain])
    assert model.predict(np.zeros(RATE), RATE, calibrated=True).temperature is None


@pytest.mark.parametrize("option", ["--calibrated", None])
def test_the_command_line_says_it_in_every_format(serlab, folder, model, clips, tmp_path, option):
    asked = ["--model", folder, *clips[:3], *([option] if option else [])]
    expected = model.predict_proba(clips[:3], calibrated=bool(option))
    wanted = TEMPERATURE if option else None
    for form in ("json", "jsonl", "csv"):
        text = serlab("predict", *asked, "--format", form).out
        if form == "csv":
            rows = [dict(row) for row in csv.DictReader(io.StringIO(text))]
            values = [[float(row[f"prob_{label}"]) for label in model.labels] for row in rows]
        else:
            rows = json.loads(text)["predictions"] if form == "json" else list(map(json.loads, text.splitlines()))
            values = [list(row["probabilities"].values()) for row in rows]
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        assert [row.get("temperature") and float(row["temperature"]) for row in rows] == [wanted] * 3
    out = tmp_path / "rows.csv"
    assert serlab("predict", *asked, "--out", out).code == 0
    other = asked[:-1] if option else [*asked, "--calibrated"]
    ended = serlab("predict", *other, "--out", out)
    assert ended.code == 2
    assert "--calibrated; do the same, or write to another file" in ended.sentence


@pytest.mark.parametrize("how", ["none", "plain"])
def test_a_model_without_a_temperature_is_one_error(serlab, tiny_models, tmp_path, clips, how):
    if how == "none":
        folder = changed(tiny_models["mfcc-svm"], tmp_path / "model", reliance=None)
    else:
        folder = tmp_path / "model"
        shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
        (folder / "serlab.json").unlink()
    model = load_model(folder)
    samples, rate = soundfile.read(clips[0])
    for ask in (model.predict, model.predict_proba, model.segments, lambda x, rate, **kw: model.stream(rate, **kw)):
        with pytest.raises(UserError, match=r"has no temperature, .* omit calibrated\."):
            ask(samples, rate, calibrated=True)
    out = tmp_path / "rows.csv"
    ended = serlab("predict", "--model", folder, clips[0], "--calibrated", "--out", out)
    assert (ended.code, out.exists()) == (2, False)
    assert ended.sentence.endswith("omit --calibrated.")
