"""Embeddings are what the classifier reads, the same on every way in."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab import Model, load_model
from serlab.audio import Audio
from serlab.core import UserError

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")
RATE = 16000


@pytest.fixture(scope="module")
def models(tiny_models) -> dict[str, Model]:
    return {name: load_model(tiny_models[name], precision="fp32") for name in NAMES}


@pytest.fixture
def clips(tiny_corpus) -> list[Path]:
    return sorted(tiny_corpus.parent.glob("*.wav"))[::7]


def read_again(model: Model, embeddings: np.ndarray) -> np.ndarray:
    """Probabilities by the model's own classifier."""
    import torch

    fitted = model._loaded.of("fp32", None)[0]
    if hasattr(fitted, "machine"):
        logits = fitted.machine.logits(embeddings)
    else:
        network = fitted.network
        hf = getattr(network, "hf", None)
        with torch.no_grad():
            rows = torch.from_numpy(embeddings)
            if hf is None:
                logits = network.net.classifier(rows).numpy()
            elif network.head is not None:
                logits = network.head.classifier(rows).numpy()
            else:
                logits = hf.classifier(hf.projector(rows)).numpy()
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_reads_the_embedding(models, clips, name, one_thread):
    model = models[name]
    embeddings = model.embed(clips)
    assert (embeddings.dtype, embeddings.ndim, len(embeddings)) == (np.float32, 2, len(clips))
    np.testing.assert_allclose(read_again(model, embeddings), model.predict_proba(clips), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_an_array_audio_and_a_list_give_the_same(models, clips, name, one_thread):
    model = models[name]
    together = model.embed(clips)
    for path, row in zip(clips, together, strict=True):
        one = model.embed(path)
        assert one.shape == row.shape
        np.testing.assert_allclose(one, row, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(model.embed(*soundfile.read(path, dtype="int16")), one)
        np.testing.assert_array_equal(model.embed(Audio.from_file(path)), one)


def test_silence_lists_and_long_recordings(models, clips, monkeypatch):
    model = models["mfcc-svm"]
    sound = soundfile.read(clips[-1])[0]
    silent, heard = model.embed([np.zeros(RATE), sound], RATE)
    assert np.isnan(silent).all()
    assert np.isfinite(heard).all()
    assert model.embed([]).shape == (0, len(heard))
    assert np.isnan(model.embed(np.zeros(40 * RATE), RATE)).all()
    monkeypatch.setattr("serlab.audio.speech.has_silero", lambda: False)
    time = np.arange(31 * RATE) / RATE
    speechlike = 0.3 * np.sin(2 * np.pi * 480 * time) * (np.sin(2 * np.pi * time) > 0)
    long = model.embed(speechlike, RATE)
    assert long.shape == heard.shape
    windows = [
        model.embed(speechlike[round(one.start * RATE) : round(one.end * RATE)], RATE)
        for one in model.segments(speechlike, RATE)
        if one.speech
    ]
    assert len(windows) > 20
    np.testing.assert_allclose(long, np.mean(windows, axis=0), rtol=1e-3, atol=1e-3)


def test_errors_are_those_of_predict(models, clips):
    model = models["mfcc-svm"]
    with pytest.raises(UserError, match=r"x\[1\]: .*absent\.wav"):
        model.embed([clips[0], clips[0].with_name("absent.wav")])
    with pytest.raises(UserError, match="sample_rate is missing"):
        model.embed(np.ones(RATE))


def test_a_model_without_embeddings_says_so(models, monkeypatch, clips):
    model = models["mfcc-svm"]
    fitted = model._loaded.of("fp32", None)[0]
    alone = fitted.scored
    monkeypatch.setattr(fitted, "scored", lambda features: replace(alone(features), embeddings=None))
    with pytest.raises(UserError, match="has no embeddings"):
        model.embed(clips)
    assert model.predict(clips[0]).label


@pytest.mark.parametrize("name", NAMES)
def test_threads_may_embed_and_predict_at_once(models, clips, name, one_thread):
    model = models[name]
    alone = [(model.embed(path), model.predict(path, calibrated=True)) for path in clips]
    with ThreadPoolExecutor(8) as pool:
        embedded = list(pool.map(model.embed, clips * 4))
        predicted = list(pool.map(lambda path: model.predict(path, calibrated=True), clips * 4))
    for number, (embedding, prediction) in enumerate(zip(embedded, predicted, strict=True)):
        np.testing.assert_array_equal(embedding, alone[number % len(clips)][0])
        assert prediction == alone[number % len(clips)][1]


def test_a_bar_is_shown_only_when_asked(models, clips, capfd):
    model = models["mfcc-svm"]
    plain = model.predict(clips)
    assert capfd.readouterr() == ("", "")
    assert model.predict(clips, progress=True) == plain
    np.testing.assert_array_equal(model.predict_proba(clips, progress=True), model.predict_proba(clips))
    np.testing.assert_array_equal(model.embed(clips, progress=True), model.embed(clips))
    out, err = capfd.readouterr()
    assert out == ""
    assert not err.strip() or "predicting" in err


def test_plain_checkpoints_have_embeddings(tiny_models, tmp_path, clips, models):
    plain = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], plain)
    (plain / "serlab.json").unlink()
    own = models["tiny-wav2vec2"].embed(clips[0])
    np.testing.assert_allclose(load_model(plain, precision="fp32").embed(clips[0]), own, atol=1e-4)
