"""Lazy prediction: memory, threads, and the handling of faults."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from serlab import Prediction
from serlab.approaches.base import Scored
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core import UserError
from serlab.model.scoring import Scorer
from serlab.model.segments import Segmenting


def stream(fake, files):
    return Scorer(fitted=fake, device=None, answered=lambda _: True, segmenting=Segmenting()).results(files)


LIMITS = {"ahead._THREADS": 2, "ahead._MOST": 10, "scoring._FIRST_CHUNK": 2, "scoring._CHUNK_CLIPS": 5}


class Fake:
    """A constant classifier; its front end computes in the reading threads or, like networks, outside."""

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

    def scored(self, features):
        return Scored(self.give(features), None)


@pytest.fixture
def small_chunks(monkeypatch):
    for name, value in LIMITS.items():
        monkeypatch.setattr(f"serlab.model.{name}", value)


@pytest.fixture
def alive(monkeypatch):
    """Count the clips of 1,000 samples that are in memory, now and at most; no file is read."""
    count = {"now": 0, "most": 0}
    lock = threading.Lock()

    def forget() -> None:
        with lock:
            count["now"] -= 1

    def fake(*_, **__) -> Audio:
        samples = np.zeros(1000, np.float32)
        with lock:
            count["now"] += 1
            count["most"] = max(count.values())
        weakref.finalize(samples, forget)
        return Audio(samples, SAMPLE_RATE, 1, None, silent=False)

    monkeypatch.setattr(Audio, "from_file", fake)
    return count


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize(
    ("limit", "value", "most"),
    [
        ("ahead._MOST", 10, 10 + 2 + 5),
        ("ahead._MOST_BYTES", 3 * 4000, 3 + 2 + 2 + 5),
        ("scoring._CHUNK_SECONDS", 3 * 1000 / 16000, 10 + 2 + 3),
        ("scoring._CHUNK_BYTES", 2 * 4000, 10 + 2 + 2),
    ],
)
def test_memory_is_bounded(alive, small_chunks, monkeypatch, network, limit, value, most):
    monkeypatch.setattr(f"serlab.model.{limit}", value)
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


def test_threads_end_when_no_more_is_needed(alive, small_chunks):
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


@pytest.mark.parametrize("network", [True, False])
def test_a_fault_of_the_program_stops_it(alive, network):
    def broken(_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(stream(Fake(network, frontend=broken), ["x.wav"] * 100))
    assert not readers()


@pytest.mark.parametrize("network", [True, False])
def test_what_a_front_end_refuses_stands_in_its_place(alive, network):
    def refuse(_):
        raise UserError("eGeMAPS gives no finite value for this clip.")

    for files in (["a.wav"], ["a.wav", "b.wav"]):
        (chunk,) = stream(Fake(network, frontend=refuse), files)
        assert [str(found) for found in chunk] == ["eGeMAPS gives no finite value for this clip."] * len(files)


def test_a_score_that_is_not_a_number_is_not_a_prediction(alive):
    def logits(features):
        return np.array([[0, 1], [np.nan, 1], [2, 1]], np.float32)

    ((first, second, third),) = stream(Fake(network=True, logits=logits), ["a.wav", "b.wav", "c.wav"])
    assert (first.label, third.label) == ("sad", "calm")
    assert isinstance(second, UserError)
    assert "not finite" in str(second)


def test_one_clip_starts_no_thread(alive):
    fake = Fake(network=False)
    ((found,),) = stream(fake, ["x.wav"])
    assert found == Prediction("calm", {"calm": 0.5, "sad": 0.5}, "x.wav")
    assert fake.threads == {threading.current_thread().name}
