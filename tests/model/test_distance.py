"""Distances of embeddings: what is unlike is beyond the threshold, and the rate of false alarms is as documented."""

from __future__ import annotations

import numpy as np
import pytest

from serlab.model.distance import FALSE_ALARMS, Distance

DIMS = 12
MIXING = np.random.default_rng(9).standard_normal((DIMS, DIMS))
SCALES = np.logspace(-3, 3, DIMS)


def clips(seed: int, speakers: int, each: int = 20) -> tuple[np.ndarray, list[str]]:
    """Correlated features on very different scales; speakers differ from each other."""
    random = np.random.default_rng(seed)
    own = np.repeat(random.standard_normal((speakers, DIMS)), each, axis=0)
    rows = (0.5 * own + random.standard_normal((speakers * each, DIMS))) @ MIXING * SCALES
    return rows, [f"{seed}-{number}" for number in range(speakers) for _ in range(each)]


@pytest.fixture(scope="module")
def fitted() -> Distance:
    found = Distance.fit(*clips(0, 40), *clips(1, 20))
    assert found
    return found


def test_about_one_in_twenty_clips_of_new_speakers_is_beyond_the_threshold(fitted):
    for seed in (2, 3):
        rate = (fitted.far(clips(seed, 40)[0]) > fitted.threshold).mean()
        assert FALSE_ALARMS / 2 < rate < 2 * FALSE_ALARMS
    assert FALSE_ALARMS / 2 < fitted.false_alarms < 2 * FALSE_ALARMS
    assert fitted.speakers == 20


def test_other_clips_are_far(fitted):
    rows, _ = clips(4, 10)
    shifted = rows + 10 * MIXING.std(axis=0) * SCALES
    turned = rows[:, ::-1].copy()
    for other in (shifted, turned, 0 * rows + 100 * SCALES):
        assert (fitted.far(other) > fitted.threshold).mean() > 0.9


def test_it_is_the_mahalanobis_distance():
    rows, speakers = clips(0, 500)
    fitted = Distance.fit(rows, speakers)
    centred = rows - rows.mean(axis=0)
    precise = np.linalg.inv(np.cov(rows.T, bias=True))
    expected = np.sqrt(np.einsum("nd,de,ne->n", centred, precise, centred) / DIMS)
    np.testing.assert_allclose(fitted.far(rows), expected, rtol=0.05)


def test_without_dev_the_threshold_comes_from_held_out_training_speakers():
    rows, speakers = clips(0, 40)
    fitted = Distance.fit(rows, speakers)
    assert fitted.speakers == 40
    inside = np.quantile(fitted.far(rows), 1 - FALSE_ALARMS)
    assert fitted.threshold > inside
    rate = (fitted.far(clips(5, 40)[0]) > fitted.threshold).mean()
    assert FALSE_ALARMS / 2 < rate < 2 * FALSE_ALARMS


def test_more_dimensions_than_clips():
    random = np.random.default_rng(0)
    train, dev = random.standard_normal((60, 300)), random.standard_normal((40, 300))
    fitted = Distance.fit(train, ["a"] * 60, dev, ["b"] * 40)
    assert np.isfinite(fitted.far(dev)).all()
    assert fitted.false_alarms is None
    assert (fitted.far(5 * dev) > fitted.threshold).all()


def test_a_constant_dimension():
    rows, speakers = clips(0, 10)
    rows[:, 3] = 7.0
    assert np.isfinite(Distance.fit(rows, speakers).far(rows)).all()


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((5, 3)), ["a"] * 5),
        (np.zeros((100, 3)), ["a"] * 100),
        (np.zeros((100, 3)), [""] * 100),
        (np.zeros((100, 3)), ["a"] * 100, np.zeros((5, 3)), ["b"] * 5),
        (np.zeros((5, 3)), ["a"] * 5, np.zeros((100, 3)), ["b"] * 100),
    ],
)
def test_too_few_clips_or_speakers_give_none(arguments):
    assert Distance.fit(*arguments) is None


def test_unknown_dev_speakers_have_a_threshold_alone():
    rows, speakers = clips(0, 10)
    fitted = Distance.fit(rows, speakers, clips(1, 5)[0], [""] * 100)
    assert (fitted.false_alarms, fitted.speakers) == (None, None)
    assert fitted.threshold > 0


def test_what_is_stored_gives_the_same_distances(fitted):
    again = Distance.of(fitted.arrays(), fitted.numbers())
    rows, _ = clips(6, 3)
    np.testing.assert_allclose(again.far(rows), fitted.far(rows), rtol=1e-4)
    assert again.numbers() == fitted.numbers()
    for name, wrong in (("mean", np.zeros(3)), ("scale", np.zeros(DIMS)), ("precision", np.full((DIMS, DIMS), np.nan))):
        with pytest.raises(ValueError, match=r"shapes|finite"):
            Distance.of({**fitted.arrays(), name: wrong}, fitted.numbers())
