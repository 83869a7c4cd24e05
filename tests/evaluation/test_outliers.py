"""Unusual values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from serlab.evaluation.outliers import LIMIT, modified_z, modified_z_within


def test_it_is_the_score_of_iglewicz_and_hoaglin() -> None:
    values = np.random.default_rng(0).normal(size=50)
    expected = (values - np.median(values)) / median_abs_deviation(values) * 0.6745
    assert modified_z(values) == pytest.approx(expected)


def test_normal_values_are_hardly_ever_unusual_and_a_far_one_is() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    assert np.mean(np.abs(modified_z(values)) > LIMIT) < 0.002
    assert abs(modified_z(np.append(values, 9.0))[-1]) > LIMIT


def test_one_other_value_among_equal_ones_is_unusual() -> None:
    found = modified_z(np.array([2.0] * 20 + [3.0]))
    assert found[0] == 0
    assert found[-1] > LIMIT
    assert modified_z(np.full(8, 4.0)).tolist() == [0.0] * 8


def test_unknown_values_stay_unknown_and_do_not_count() -> None:
    known = np.array([1.0, 2.0, 3.0, 4.0, 30.0])
    found = modified_z(np.append(known, np.nan))
    assert np.isnan(found[-1])
    assert found[:-1] == pytest.approx(modified_z(known))
    assert modified_z(np.array([1.0, 2.0, 50.0, np.nan]))[:3].tolist() == [0, 0, 0]


def test_within_groups_each_value_is_compared_with_its_own() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 101, 102, 103, 104, 105])
    groups = np.repeat([0, 1], 5)
    assert modified_z_within(values, groups)[:5] == pytest.approx(modified_z_within(values, groups)[5:])
