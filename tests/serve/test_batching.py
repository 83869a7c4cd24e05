"""Clips of one length that wait together are scored together; an answer never depends on the clips beside it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serlab.audio import Audio
from serlab.core import UserError
from serlab.model.model import load_model
from serlab.serve.batching import Batcher
from serlab.serve.faults import RefusedError


def clip(length, seed):
    return Audio.from_array(np.random.default_rng(seed).normal(0, 0.1, length), 16000)


class Gated:
    """A model that waits until a gate opens, and notes the lengths of its batches."""

    def __init__(self, model):
        self.model, self.lengths = model, []

    def results(self, sounds, **how):
        self.lengths.append([len(sound.samples) for sound in sounds])
        return self.model.results(sounds, **how)


def run(model, clips, **how):
    """Predict clips that wait together."""

    async def all_of_them():
        batcher = Batcher(model, **{"most": 16, "queue": 100, "scored": lambda _: None, **how})
        try:
            with batcher._changed:  # Nothing is taken while they come.
                waiting = [asyncio.create_task(batcher.predict(one, None)) for one in clips]
                for _ in range(2):
                    await asyncio.sleep(0)
            return await asyncio.gather(*waiting, return_exceptions=True)
        finally:
            batcher.stop()

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def model(tiny_models):
    return load_model(tiny_models["tiny-resnet"], precision="fp32")


@given(st.lists(st.tuples(st.sampled_from([4000, 4001, 8000]), st.integers(0, 9)), min_size=1, max_size=12))
@settings(max_examples=10)
def test_answers_do_not_depend_on_neighbours(model, kinds):
    gated = Gated(model)
    clips = [clip(*kind) for kind in kinds]
    for one, found in zip(clips, run(gated, clips), strict=True):
        alone = model.predict(one)
        assert list(found.probabilities.values()) == pytest.approx(list(alone.probabilities.values()), abs=1e-5)
    assert all(len(set(lengths)) == 1 for lengths in gated.lengths)
    assert len(gated.lengths) == len({length for length, _ in kinds})


def test_a_batch_has_a_size(model):
    gated = Gated(model)
    run(gated, [clip(4000, seed) for seed in range(5)], most=2)
    assert [len(lengths) for lengths in gated.lengths] == [2, 2, 1]


def test_more_than_the_queue_holds_is_refused(model):
    found = run(model, [clip(4000, seed) for seed in range(5)], queue=3)
    assert [isinstance(one, RefusedError) and one.code for one in found] == [False, False, False, 503, 503]


def test_a_clip_without_scores_has_an_error_and_the_others_answers(model):
    class Failing(Gated):
        def results(self, sounds, **how):
            yield [UserError("no scores"), *next(iter(self.model.results(sounds[1:])))]

    found = run(Failing(model), [clip(4000, seed) for seed in range(3)])
    assert isinstance(found[0], UserError)
    assert [one.label is not None for one in found[1:]] == [True, True]


def test_a_model_that_fails_does_not_end_the_server(model):
    class Broken(Gated):
        def results(self, sounds, **how):
            if len(sounds[0].samples) == 4000:
                raise RuntimeError("broken")
            return self.model.results(sounds)

    first, second = run(Broken(model), [clip(4000, 0), clip(8000, 0)])
    assert isinstance(first, RuntimeError)
    assert second.probabilities
