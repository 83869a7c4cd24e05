"""Warnings about sound that is unlike the training clips, on every way in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from serlab import Model, load_model
from serlab.approaches.base import Subset
from serlab.audio import Audio
from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.model.distance import Distance
from serlab.model.inputs import Inputs, InputWarning

RATE = 16000


def sound(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """A tone in noise that changes its level like speech."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * 480 * time) + 0.02 * noise) * (0.55 - 0.45 * np.cos(2 * np.pi * 3 * time))


def narrow(samples: np.ndarray) -> np.ndarray:
    return soxr.resample(soxr.resample(samples, RATE, 8000), 8000, RATE)


@pytest.fixture(scope="module")
def folder(tiny_models, tiny_corpus, tmp_path_factory) -> Path:
    """An SVM whose training clips were loud, 2 to 4 s long, up to 8 kHz, and speech; its embeddings are the corpus."""
    there = tmp_path_factory.mktemp("models") / "svm"
    shutil.copytree(tiny_models["mfcc-svm"], there)
    clips = sorted(tiny_corpus.parent.glob("*.wav"))
    embeddings = load_model(there).embed(clips)
    inputs = Inputs(
        clips=54,
        speakers=6,
        seconds=(2.0, 2.5, 4.0),
        level=-30.0,
        band=8000.0,
        clipped=0.0,
        detector="energy",
        speech=1.0,
        distance=Distance.fit(embeddings, [clip.name.split("_")[0] for clip in clips]),
    )
    inputs.save(there)
    content = json.loads((there / "serlab.json").read_text())
    (there / "serlab.json").write_text(json.dumps({**content, "inputs": inputs.data()}))
    return there


@pytest.fixture(scope="module")
def model(folder) -> Model:
    return load_model(folder)


def codes(found) -> list[str]:
    return sorted({warning.code for warning in found.warnings} - {"unlike"})


CASES = {
    "as in training": (sound(), []),
    "telephone": (narrow(sound()), ["band"]),
    "clipped": (np.clip(6 * sound(), -1, 1), ["clipped"]),
    "quiet": (0.02 * sound(), ["quiet"]),
    "no speech": (0.002 * sound(), ["no-speech", "quiet"]),
    "long": (sound(8.1), ["long"]),
    "short": (sound(0.9), ["short"]),
    "nearly too long": (sound(7.9), []),
    "several at once": (narrow(0.02 * sound(9)), ["band", "long", "quiet"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_way_in_warns_the_same(model, tmp_path, case):
    samples, expected = CASES[case]
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    found = model.predict(path)
    assert codes(found) == expected
    as_float = samples.astype(np.float32)
    for again in (
        model.predict(as_float, RATE),
        model.predict(Audio.from_file(path)),
        *model.predict([path, path]),
    ):
        assert again.warnings == found.warnings
    assert found.label
    for warning in found.warnings:
        assert warning.message == warning.message.strip(".")


def test_messages_say_what_was_expected(model):
    (long,) = [one for one in model.predict(sound(9.0), RATE).warnings if one.code == "long"]
    assert long == InputWarning("long", "it lasts 9.0 s; 98 % of the training clips last 2.0 to 4.0 s")
    (band,) = [one for one in model.predict(narrow(sound()), RATE).warnings if one.code == "band"]
    assert band.message == "it has no sound above 4.0 kHz; the training clips reach 8.0 kHz"


def test_what_the_embedding_shows(model, tiny_corpus):
    clips = sorted(tiny_corpus.parent.glob("*.wav"))
    known = [["unlike" in {one.code for one in found.warnings}] for found in model.predict(clips)]
    assert np.mean(known) < 0.2
    noise = 0.3 * np.random.default_rng(0).standard_normal(2 * RATE)
    (unlike,) = [one for one in model.predict(noise, RATE).warnings if one.code == "unlike"]
    assert "95 % are below" in unlike.message


def test_a_long_recording_is_warned_about_once_as_a_whole(model, tmp_path):
    def asked(x, rate: int | None = None) -> list[str]:
        found = model.predict(x, rate, vad="none")
        assert found.label
        return codes(found)

    long = np.tile(sound(), 16)
    assert asked(long, RATE) == []
    assert asked(narrow(long), RATE) == ["band"]
    pauses = np.zeros(60 * RATE)
    assert asked(np.concatenate([sound(), pauses]), RATE) == []
    assert asked(np.concatenate([0.02 * sound(), pauses]), RATE) == ["quiet"]
    path = tmp_path / "fast.wav"
    soundfile.write(path, np.clip(6 * soxr.resample(long, RATE, 44100), -1, 1), 44100)
    assert asked(path) == ["clipped"]
    noise = 0.3 * np.random.default_rng(0).standard_normal(40 * RATE)
    (unlike,) = model.predict(noise, RATE, vad="none").warnings
    assert (unlike.code, "100 % of its segments" in unlike.message) == ("unlike", True)


@pytest.mark.parametrize("size", [370, 10**7])
def test_segments_and_a_stream_warn_as_a_prediction_of_the_whole(model, size):
    long = np.concatenate([narrow(0.02 * np.tile(sound(), 12)), np.zeros(3 * RATE)]).astype(np.float32)
    expected = model.predict(long, RATE, vad="none").warnings
    assert {"band", "quiet"} <= {one.code for one in expected}

    segments = model.segments(long, RATE, vad="none")
    assert segments.warnings == ()
    assert [*segments]
    assert segments.warnings == expected

    stream = model.stream(RATE, vad="none")
    assert stream.warnings == ()
    for start in range(0, len(long), size):
        stream.feed(long[start : start + size])
    assert "quiet" in {one.code for one in stream.warnings}
    stream.flush()
    assert stream.warnings == expected


def test_segments_stop_when_they_are_closed(model):
    segments = model.segments(iter([sound().astype(np.float32)] * 9), RATE, vad="none")
    assert next(segments)
    segments.close()
    assert next(segments, None) is None


def test_silence_has_no_warning_beside_its_missing_label(model):
    for seconds in (1, 40):
        found = model.predict(np.zeros(seconds * RATE), RATE)
        assert (found.label, found.warnings) == (None, ())


def test_warnings_are_data_and_are_not_printed(model, capfd):
    found = model.predict(sound(9), RATE)
    row = next(row for row in found.data()["warnings"] if row["code"] == "long")
    assert row["message"].startswith("it lasts 9.0 s")
    assert capfd.readouterr() == ("", "")


def test_older_folders_give_no_warnings(folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / "inputs.safetensors").unlink()
    content = json.loads((old / "serlab.json").read_text())
    del content["inputs"]
    (old / "serlab.json").write_text(json.dumps(content))
    assert load_model(old).predict(narrow(0.02 * sound(9)), RATE).warnings == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda there: (there / "inputs.safetensors").unlink(),
        lambda there: (there / "inputs.safetensors").write_bytes(b"x"),
        lambda there: rewrite(there, detector="ears"),
        lambda there: rewrite(there, seconds=[1.0]),
        lambda there: rewrite(there, level="loud"),
        lambda there: rewrite(there, distance={}),
    ],
)
def test_a_damaged_folder_is_one_error(folder, tmp_path, change):
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    change(damaged)
    with pytest.raises(UserError, match=r"damaged is damaged: .* training clips"):
        load_model(damaged)


def rewrite(there: Path, **fields) -> None:
    content = json.loads((there / "serlab.json").read_text())
    content["inputs"] |= fields
    (there / "serlab.json").write_text(json.dumps(content))


def test_training_measures_the_training_clips(tiny_models, tiny_corpus):
    stored = json.loads((tiny_models["mfcc-svm"] / "serlab.json").read_text())["inputs"]
    assert (stored["clips"], stored["speakers"]) == (18, 2)
    assert stored["seconds"] == pytest.approx([0.3, 0.4, 0.5], abs=0.01)
    assert stored["band"] == 8000
    assert -20 < stored["level"] < -10
    corpus = load_corpus(str(tiny_corpus))
    everything = Subset.of(corpus, corpus.clips["clip"].tolist())
    assert Inputs.fit(everything, None, seed=0) == Inputs.fit(everything, None, seed=1)


def test_the_window_of_long_recordings_is_a_training_clip_s_length(model):
    how = model.segmenting({})
    assert (how.seconds, how.hop_seconds) == (2.5, 0.83)
    assert [(one.start, one.end) for one in model.segments(np.tile(sound(), 2), RATE)] == [
        (0, 2.5), (0.83, 3.33), (1.5, 4),
    ]  # fmt: skip
    assert model.segmenting({"window": 2}).hop_seconds == 1
    assert model.segmenting({"hop": 0.5}).seconds == 2.5
    assert model.info.clip_seconds == 2.5
