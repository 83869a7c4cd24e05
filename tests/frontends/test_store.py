"""Feature stores: one computation per clip and view; features from disk, memory and the front end are equal."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from serlab.audio import Audio
from serlab.audio.augment import View
from serlab.core.files import sha256_file
from serlab.frontends.base import rounded
from serlab.frontends.store import ClipFile, FeatureStore

FAST, NOISY = View(speed=1.1), View(noise=0.01)


class Counting:
    """A front end that counts its calls."""

    config = {"frontend": "counting"}  # noqa: RUF012

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        self.calls += 1
        return samples[: len(samples) // 4 * 4].reshape(-1, 4).copy()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clips(make_tone, tmp_path: Path) -> list[ClipFile]:
    paths = [make_tone(tmp_path / f"{i}.wav", hz=200 + 50 * i) for i in range(6)]
    return [ClipFile(path.stem, str(path), 0.5, sha256_file(path)) for path in paths]


def test_a_second_store_computes_nothing(clips: list[ClipFile]) -> None:
    first, second = Counting(), Counting()
    there = FeatureStore(first).many(clips, "")
    again = FeatureStore(second).many(clips, "")
    assert (first.calls, second.calls) == (6, 0)
    for a, b in zip(there, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cached", [True, False])
def test_filled_views_are_found_and_equal_those_computed_one_by_one(clips: list[ClipFile], cached: bool) -> None:
    front, alone = Counting(), FeatureStore(Counting(), cached=False, budget=0)
    store = FeatureStore(front, cached=cached)
    store.fill(clips, (View(), FAST, NOISY), 3, "")
    assert front.calls == 18
    for clip in clips:
        for view in (View(), FAST, NOISY):
            np.testing.assert_array_equal(store.get(clip, view, 3), alone.get(clip, view, 3))
    assert front.calls == 18


def test_a_file_is_decoded_once_for_all_its_views(clips: list[ClipFile], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = Audio.from_file

    def counting(path: str) -> Audio:
        decoded.append(path)
        return decode(path)

    monkeypatch.setattr(Audio, "from_file", counting)
    views = (View(), FAST, NOISY)
    FeatureStore(Counting()).fill(clips, views, 0, "")
    assert sorted(decoded) == sorted(clip.path for clip in clips)
    FeatureStore(Counting()).fill(clips, (*views, View(gain=0.5)), 0, "")
    assert sorted(decoded) == sorted(2 * [clip.path for clip in clips])


def test_a_view_that_draws_is_another_under_another_seed_and_a_fixed_one_is_not(clips: list[ClipFile]) -> None:
    front = Counting()
    store = FeatureStore(front)
    store.fill(clips, (FAST, NOISY), 0, "")
    store.fill(clips, (FAST, NOISY), 1, "")
    assert front.calls == 18
    assert not np.array_equal(store.get(clips[0], NOISY, 0), store.get(clips[0], NOISY, 1))


def test_the_recording_counts_and_not_its_name(clips: list[ClipFile]) -> None:
    front = Counting()
    store = FeatureStore(front)
    store.get(clips[0])
    store.get(ClipFile("another name", "gone.wav", 0.5, clips[0].sha256))
    assert front.calls == 1


def test_without_a_hash_or_a_cache_features_stay_in_memory_as_far_as_the_budget_goes(clips: list[ClipFile]) -> None:
    front = Counting()
    size = FeatureStore(Counting(), cached=False).get(clips[0]).nbytes
    store = FeatureStore(front, cached=False, budget=2 * size)
    for _ in range(2):
        store.many(clips, "")
    assert front.calls == 6 + 4


def test_rounding_belongs_to_the_front_end(clips: list[ClipFile]) -> None:
    exact, half = (FeatureStore(rounded(Counting(), precision)) for precision in ("fp32", "fp16"))
    a, b = exact.get(clips[0]), half.get(clips[0])
    assert half.frontend.config["rounded"] == "fp16"
    np.testing.assert_array_equal(b, a.astype(np.float16).astype(np.float32))
    assert not np.array_equal(a, b)


def test_processes_that_fill_one_cache_begin_at_different_places(
    clips: list[ClipFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    firsts = set()
    for process in range(8):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        front = Counting()
        store = FeatureStore(front, cached=False)
        store.fill(clips, (View(),), 0, "")
        assert front.calls == 6
        firsts.add(next(iter(store.kept)))
    assert len(firsts) > 2


def test_a_failure_while_filling_names_itself_and_keeps_what_was_done(clips: list[ClipFile], tmp_path: Path) -> None:
    store = FeatureStore(Counting())
    with pytest.raises(Exception, match=r"gone\.wav"):
        store.many([*clips, ClipFile("gone", str(tmp_path / "gone.wav"), 1.0, "0" * 64)], "")
    front = Counting()
    FeatureStore(front).many(clips, "")
    assert front.calls == 0
