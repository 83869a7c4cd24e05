from __future__ import annotations

import random
import re
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import serlab
from serlab.core import Exclusion, UserError
from serlab.inference.files import stream
from serlab.model.segments import watcher

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")


@pytest.fixture
def clips(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_depends_on_its_file_alone(name, tiny_models, clips):
    shuffled = random.Random(0).sample(clips, len(clips))
    first = {row.path: row for row in serlab.predict(tiny_models[name], clips, precision="fp32").predictions}
    second = {row.path: row for row in serlab.predict(tiny_models[name], shuffled, precision="fp32").predictions}
    alone = serlab.predict(tiny_models[name], clips[7], precision="fp32").predictions[0]
    assert list(second) == [str(path) for path in shuffled]
    assert first.keys() == second.keys()
    for path, row in first.items():
        assert row.label == second[path].label
        np.testing.assert_allclose(
            list(row.probabilities.values()), list(second[path].probabilities.values()), atol=1e-4
        )
    np.testing.assert_allclose(
        list(alone.probabilities.values()), list(first[str(clips[7])].probabilities.values()), atol=1e-4
    )


def test_the_same_call_twice_gives_the_same(tiny_models, clips):
    model = tiny_models["tiny-wav2vec2"]
    assert serlab.predict(model, clips) == serlab.predict(model, clips)


def test_what_a_prediction_says(tiny_models, clips):
    result = serlab.predict(str(tiny_models["mfcc-svm"]), str(clips[0].parent))
    assert result.model == str(tiny_models["mfcc-svm"])
    assert [row.path for row in result.predictions] == [str(path) for path in clips]
    assert result.excluded == ()
    for row in result.predictions:
        assert list(row.probabilities) == ["calm", "happy", "sad"]
        assert sum(row.probabilities.values()) == pytest.approx(1)
        assert row.label == max(row.probabilities, key=row.probabilities.get)
    right = [row.label in row.path for row in result.predictions]
    assert np.mean(right) > 0.9


def test_what_cannot_be_read_stands_in_its_place(tiny_models, clips, tmp_path, monkeypatch):
    for name, value in (("FIRST_CHUNK", 2), ("CHUNK_CLIPS", 5)):
        monkeypatch.setattr(f"serlab.model.scoring._{name}", value)
    empty = tmp_path / "empty.wav"
    empty.touch()
    given = [*clips[:7], empty, *clips[7:12]]
    result = serlab.predict(tiny_models["mfcc-svm"], given)
    assert [row.path for row in result.predictions] == [str(path) for path in given if path != empty]
    assert [(entry.path, entry.reason) for entry in result.excluded] == [(str(empty), "empty file")]
    chunks = list(stream(serlab.load_model(tiny_models["mfcc-svm"]), [str(path) for path in given]))
    assert [row.path for chunk in chunks for row in chunk] == [str(path) for path in given]
    assert [len(chunk) for chunk in chunks] == [2, 4, 5, 2]


@pytest.mark.parametrize("name", NAMES)
def test_together_as_one_by_one(name, tiny_models, clips, one_thread):
    model = serlab.load_model(tiny_models[name], precision="fp32")
    together = [row for chunk in stream(model, [str(path) for path in clips]) for row in chunk]
    for row, file in zip(together, clips, strict=True):
        alone = model.predict(file)
        assert (row.path, row.label) == (alone.path, alone.label)
        np.testing.assert_allclose(list(row.probabilities.values()), list(alone.probabilities.values()), atol=1e-5)


def test_silent_files_are_left_out(tiny_models, clips, tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    found = serlab.predict(tiny_models["mfcc-svm"], [clips[0], silent])
    assert [row.path for row in found.predictions] == [str(clips[0])]
    assert found.excluded == (Exclusion(str(silent), str(silent), "silent"),)


def test_python_ends_although_the_stream_was_not_closed(tiny_models, clips):
    code = (
        "import serlab, sys; from pathlib import Path; from serlab.inference.files import stream\n"
        "chunks = stream(serlab.load_model(Path(sys.argv[1])), [sys.argv[2]] * 2000)\n"
        "print(len(next(chunks)))\n"
    )
    line = [sys.executable, "-c", code, str(tiny_models["mfcc-svm"]), str(clips[0])]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "32\n"), ended.stderr


def test_progress_says_how_fast_it_goes(tiny_models, clips, monkeypatch):
    said = []

    @contextmanager
    def bar(title, total, done):
        said.append((title, total, done))
        yield SimpleNamespace(advance=lambda steps, note: said.append((steps, note)))

    monkeypatch.setattr("serlab.inference.files.bar", bar)
    chunks = stream(serlab.load_model(tiny_models["mfcc-svm"]), [str(path) for path in clips[:40]], done=3)
    assert len(next(chunks)) == 32
    assert said == [("predicting", 43, 3)]  # A step is done when the caller has dealt with it.
    list(chunks)
    assert [steps for steps, _ in said[1:]] == [32, 8]
    assert all(re.fullmatch(r"[\d,]+\.\d clips/s", note) for _, note in said[1:])


def test_long_clips_are_scored_to_their_end(tiny_models, tmp_path, make_tone):
    long = make_tone(tmp_path / "long.wav", seconds=4.0)
    for name in NAMES:
        (row,) = serlab.predict(tiny_models[name], long).predictions
        assert np.isfinite(list(row.probabilities.values())).all()


def test_nothing_is_loaded_for_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"absent\.wav"):
        serlab.predict(tmp_path / "no-model", tmp_path / "absent.wav")


def test_progress_moves_within_a_long_recording(tiny_models, clips, tmp_path, make_tone, monkeypatch):
    said: list[tuple[int, str]] = []
    titles = []

    @contextmanager
    def bar(title, total, done=0):
        titles.append((title, total, done))
        yield SimpleNamespace(advance=lambda steps, note="": said.append((steps, note)))

    monkeypatch.setattr("serlab.inference.files.bar", bar)
    long = make_tone(tmp_path / "long.wav", seconds=65)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    model = serlab.load_model(tiny_models["mfcc-svm"])
    files = [str(clips[0]), str(long), str(broken), str(clips[1])]
    results = [one for chunk in stream(model, files, vad="none") for one in chunk]
    assert [isinstance(one, Exclusion) for one in results] == [False, False, True, False]
    whole = round(65 + sum(soundfile.info(clip).duration for clip in clips[:2]))
    assert titles == [("predicting seconds of audio", whole, 0)]
    assert len(said) >= 6
    assert sum(steps for steps, _ in said) in (whole - 1, whole)
    assert all(re.fullmatch(r"[\d,]+\.\d times real time", note) for _, note in said)
    assert watcher.get() is None
