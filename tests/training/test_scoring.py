"""A subset gets the same scores whether or not it fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from serlab.frontends.store import ClipFile
from serlab.training import scoring
from serlab.training.scoring import SubsetScorer

LENGTHS = (7, 3, 5, 3, 9, 4)


class Store:
    """Gives features whose first number is the clip's, and counts them."""

    def __init__(self) -> None:
        self.given = 0

    def walk(self, clips: Sequence[ClipFile], title: str, *view: object) -> Iterator[np.ndarray]:
        for clip in clips:
            self.given += 1
            yield np.full((int(clip.duration), 2), float(clip.clip), np.float32)


class Model:
    labels = ("happy", "sad")

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def logits(self, features: Sequence[np.ndarray]) -> np.ndarray:
        self.asked.append([len(clip) for clip in features])
        return np.array([[clip[0, 0], len(clip)] for clip in features], np.float32)


FILES = [ClipFile(str(number), "", length) for number, length in enumerate(LENGTHS)]
EXPECTED = [[number, length] for number, length in enumerate(LENGTHS)]


def test_what_fits_is_read_once() -> None:
    store, model = Store(), Model()
    scorer = SubsetScorer(store, FILES, "")
    scorer.hold()
    assert store.given == len(FILES)
    for _ in range(3):
        np.testing.assert_array_equal(scorer.logits(model), EXPECTED)
    assert store.given == len(FILES)
    assert model.asked == [sorted(LENGTHS)] * 3


@pytest.mark.parametrize("held", [1, 50, 100])
def test_what_does_not_fit_passes_by_each_time(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "HELD_BYTES", held)
    store, model = Store(), Model()
    scorer = SubsetScorer(store, FILES, "")
    for _ in range(2):
        np.testing.assert_array_equal(scorer.logits(model), EXPECTED)
    assert store.given == 2 * len(FILES)
    # A clip of 9 frames of 2 numbers in fp32 is 72 bytes: no chunk holds more than the limit and
    # one clip.
    assert all(8 * sum(chunk[:-1]) < held for chunk in model.asked)


class Strict(Model):
    def logits(self, features: Sequence[np.ndarray]) -> np.ndarray:
        assert features, "a network has no logits of nothing"
        return super().logits(features)


def test_a_subset_without_clips_has_no_logits() -> None:
    """As with more processes than clips."""
    scorer = SubsetScorer(Store(), [], "")
    scorer.hold()
    for _ in range(2):
        assert scorer.logits(Strict()).shape == (0, 2)
