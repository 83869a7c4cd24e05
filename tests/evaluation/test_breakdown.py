from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.conftest import counts_of

from serlab.evaluation.breakdown import breakdown
from serlab.evaluation.metrics import uar
from serlab.evaluation.resampling import Resampling

FEW = Resampling(replicates=500)


def tables(speakers: int = 14, labels: int = 3, seeds: int = 1):
    """Confusion counts of two models on the same clips; the first is the better one on the first label."""
    random = np.random.default_rng(4)
    found = []
    for skill in ([0.8, 0.5, 0.5], [0.4, 0.5, 0.5]):
        chances = [[(1 - s) / 2 + (k == j) * (1.5 * s - 0.5) for j in range(labels)] for k, s in enumerate(skill)]
        rows = random.multinomial(10, np.tile(chances, (seeds, speakers, 1, 1)))
        found.append(counts_of(rows))
    return found


def test_gains_are_the_differences_of_the_speakers_uars_sorted():
    first, second = tables(seeds=2)
    found = breakdown(first, second, resampling=FEW)
    apart = (uar(first.by_speaker) - uar(second.by_speaker)).mean(axis=0)
    assert found.gains == pytest.approx(dict(zip(first.speakers, apart.tolist(), strict=True)))
    assert list(found.gains.values()) == sorted(apart.tolist(), reverse=True)
    assert found.effect_size == pytest.approx(apart.mean() / apart.std(ddof=1))
    assert found.ahead + found.behind <= len(apart)
    assert found.win_rate == pytest.approx((found.ahead + (len(apart) - found.ahead - found.behind) / 2) / len(apart))


def test_turned_round_it_is_the_same_with_the_other_sign():
    first, second = tables()
    one, other = breakdown(first, second, resampling=FEW), breakdown(second, first, resampling=FEW)
    assert (one.ahead, one.behind) == (other.behind, other.ahead)
    assert one.win_rate == pytest.approx(1 - other.win_rate)
    assert one.effect_size == pytest.approx(-other.effect_size)


def test_equal_speakers_count_half_and_equal_models_have_no_effect_size():
    first, _ = tables()
    found = breakdown(first, first, resampling=FEW)
    assert (found.ahead, found.behind, found.win_rate, found.effect_size) == (0, 0, 0.5, None)


def test_few_speakers_have_no_effect_size():
    assert breakdown(*tables(speakers=9), resampling=FEW).effect_size is None
    assert breakdown(*tables(speakers=10), resampling=FEW).effect_size is not None


def test_labels_have_intervals_that_hold_together():
    first, second = tables()
    found = breakdown(first, second, resampling=FEW)
    assert found.label_level == pytest.approx(1 - 0.05 / 3)
    alone = breakdown(*(merged(each) for each in (first, second)), resampling=FEW)
    assert alone.label_level == pytest.approx(1 - 0.05 / 2)
    label = first.labels[0]
    assert found.labels[label].value == pytest.approx(alone.labels[label].value)
    assert found.labels[label].low < alone.labels[label].low
    assert found.labels[label].low > 0.1
    total = sum(each.value for each in found.labels.values()) / 3
    apart = uar(first.by_speaker.sum(axis=1)) - uar(second.by_speaker.sum(axis=1))
    assert total == pytest.approx(float(apart.mean()))


def merged(counts):
    """The second and third label as one."""
    fold = np.array([[1, 0], [0, 1], [0, 1]])
    return replace(counts, labels=counts.labels[:2], matrices=fold.T @ counts.matrices @ fold)


def test_a_label_without_clips_is_left_out():
    first, second = (replace(each, matrices=each.matrices * np.array([1, 1, 0])[:, None]) for each in tables())
    found = breakdown(first, second, resampling=FEW)
    assert list(found.labels) == list(first.labels[:2])
    assert found.label_level == pytest.approx(0.975)


def test_unknown_speakers_have_no_gains_and_no_intervals():
    found = breakdown(*tables(), resampling=Resampling(known=False))
    assert (found.gains, found.win_rate, found.effect_size) == ({}, None, None)
    assert all(each.low is None and each.reason == "the speakers are unknown" for each in found.labels.values())
