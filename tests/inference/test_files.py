from __future__ import annotations

import gc
import random
import re
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

import serlab
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core import Exclusion, UserError
from serlab.inference.files import stream

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


def test_what_cannot_be_read_stands_in_its_place(tiny_models, clips, tmp_path, small_chunks):
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
    classifier = serlab.load_model(tiny_models[name], "fp32")
    files = [str(path) for path in clips]
    together = [row for chunk in stream(classifier, files) for row in chunk]
    for row, file in zip(together, files, strict=True):
        logits = classifier.logits([classifier.frontend(Audio.from_file(file).samples)])[0].astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum()
        assert (row.path, row.label) == (file, classifier.labels[shares.argmax()])
        np.testing.assert_allclose(list(row.probabilities.values()), shares, atol=1e-5)


class Fake:
    """A classifier that hears nothing; its front end computes in the reading threads or, as networks do, outside."""

    labels = ("calm", "sad")
    precision = "fp32"

    def __init__(self, network: bool, frontend=lambda samples: samples[:10].copy(), logits=None) -> None:
        self.compute = frontend
        self.config = {"precision": "fp32"} if network else {}
        self.give = logits or (lambda features: np.zeros((len(features), 2), np.float32))
        self.threads = set()

    @property
    def frontend(self):
        return self

    def __call__(self, samples):
        self.threads.add(threading.current_thread().name)
        return self.compute(samples)

    def logits(self, features):
        return self.give(features)


@pytest.fixture
def small_chunks(monkeypatch):
    for name, value in (("READERS", 2), ("AHEAD_CLIPS", 10), ("FIRST_CHUNK", 2), ("CHUNK_CLIPS", 5)):
        monkeypatch.setattr(f"serlab.inference.files._{name}", value)


@pytest.fixture
def alive(monkeypatch):
    """Count the clips of 1,000 samples that are in memory, now and at most; no file is read."""
    count = {"now": 0, "most": 0}
    lock = threading.Lock()

    def forget() -> None:
        with lock:
            count["now"] -= 1

    def fake(_: str) -> Audio:
        samples = np.zeros(1000, np.float32)
        with lock:
            count["now"] += 1
            count["most"] = max(count.values())
        weakref.finalize(samples, forget)
        return Audio(samples, SAMPLE_RATE, 1, None, silent=True)

    monkeypatch.setattr(Audio, "from_file", fake)
    return count


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize(
    ("limit", "value", "most"),
    [
        ("AHEAD_CLIPS", 10, 10 + 2 + 5),
        ("AHEAD_BYTES", 3 * 4000, 3 + 2 + 2 + 5),
        ("CHUNK_SECONDS", 3 * 1000 / 16000, 10 + 2 + 3),
        ("CHUNK_BYTES", 2 * 4000, 10 + 2 + 2),
    ],
)
def test_what_is_held_is_bounded(alive, small_chunks, monkeypatch, network, limit, value, most):
    monkeypatch.setattr(f"serlab.inference.files._{limit}", value)
    done = 0
    for chunk in stream(Fake(network, frontend=lambda samples: samples), ["x.wav"] * 400):
        done += len(chunk)
        del chunk
    assert done == 400
    assert 3 <= alive["most"] <= most
    gc.collect()
    assert alive["now"] == 0


def test_only_networks_compute_outside_the_readers(alive):
    here = threading.current_thread().name
    for network in (True, False):
        fake = Fake(network)
        list(stream(fake, ["x.wav"] * 40))
        assert (fake.threads == {here}) is network
        assert (here in fake.threads) is network


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("serlab-reader")]


def test_threads_end_when_nobody_wants_more(alive, small_chunks):
    for how in ("close", "forget", "break"):
        chunks = stream(Fake(network=True), ["x.wav"] * 1000)
        assert len(next(chunks)) == 2
        assert 1 <= len(readers()) <= 2
        if how == "close":
            chunks.close()
        elif how == "break":
            for _ in chunks:
                break
        del chunks
        gc.collect()
        assert not readers()


def test_python_ends_though_nobody_closed_the_stream(tiny_models, clips):
    code = (
        "import serlab, sys; from pathlib import Path; from serlab.inference.files import stream\n"
        "chunks = stream(serlab.load_model(Path(sys.argv[1])), [sys.argv[2]] * 2000)\n"
        "print(len(next(chunks)))\n"
    )
    line = [sys.executable, "-c", code, str(tiny_models["mfcc-svm"]), str(clips[0])]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "32\n"), ended.stderr


@pytest.mark.parametrize("network", [True, False])
def test_a_fault_of_the_program_stops_it(alive, network):
    def broken(_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(stream(Fake(network, frontend=broken), ["x.wav"] * 100))
    assert not readers()


@pytest.mark.parametrize("network", [True, False])
def test_what_a_front_end_refuses_is_listed(alive, network):
    def refuse(_):
        raise UserError("eGeMAPS gives no finite value for this clip.")

    (chunk,) = stream(Fake(network, frontend=refuse), ["a.wav", "b.wav"])
    assert chunk == [
        Exclusion(name, name, "eGeMAPS gives no finite value for this clip") for name in ("a.wav", "b.wav")
    ]


def test_a_score_that_is_no_number_is_no_prediction(alive):
    def logits(features):
        return np.array([[0, 1], [np.nan, 1], [2, 1]], np.float32)

    ((first, second, third),) = stream(Fake(network=True, logits=logits), ["a.wav", "b.wav", "c.wav"])
    assert (first.label, third.label) == ("sad", "calm")
    assert second == Exclusion("b.wav", "b.wav", "the model gives no finite score for it")


def test_progress_says_how_fast_it_goes(alive, small_chunks, monkeypatch):
    said = []

    @contextmanager
    def bar(title, total, done):
        said.append((title, total, done))
        yield SimpleNamespace(advance=lambda steps, note: said.append((steps, note)))

    monkeypatch.setattr("serlab.inference.files.bar", bar)
    chunks = stream(Fake(network=True), ["x.wav"] * 8, done=3)
    next(chunks)
    assert said == [("predicting", 11, 3)]  # A step is done when whoever asked has dealt with it.
    list(chunks)
    assert [steps for steps, _ in said[1:]] == [2, 4, 2]
    assert all(re.fullmatch(r"[\d,]+\.\d clips/s", note) for _, note in said[1:])


def test_long_clips_are_heard_to_their_end(tiny_models, tmp_path, make_tone):
    long = make_tone(tmp_path / "long.wav", seconds=4.0)
    for name in NAMES:
        (row,) = serlab.predict(tiny_models[name], long).predictions
        assert np.isfinite(list(row.probabilities.values())).all()


def test_nothing_is_loaded_for_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"absent\.wav"):
        serlab.predict(tmp_path / "no-model", tmp_path / "absent.wav")
