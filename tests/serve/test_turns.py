"""The recordings of a batch wait for each other, so that an idle server answers any batch."""

from __future__ import annotations

import pytest

from .conftest import sound


@pytest.mark.parametrize("limits", [{}, {"queue": 1, "batch": 1}])
def test_the_recordings_of_a_batch_wait_for_each_other(started, limits):
    with started(**limits) as server:
        for seconds in (31, 0.5):
            files = [("file", ("a", sound(seconds, 8000)))] * 24
            answer = server.client.post("/v1/predict:batch", files=files)
            assert answer.status_code == 200, answer.text
            assert [one["seconds"] for one in answer.json()["results"]] == [seconds] * 24


def test_a_batch_that_does_not_fit_into_memory_at_once_is_answered_one_after_the_other(started):
    with started(held_mb=6, decoders=2) as server:  # A minute is 3.8 MB.
        content = sound(60, 8000, form="FLAC")
        answer = server.client.post("/v1/predict:batch", files=[("file", ("a", content))] * 2)
        assert answer.status_code == 200, answer.text
        assert server.service.memory.held == 0
        assert server.post(sound(90, 8000, form="FLAC")).status_code == 503
