"""Spread of clips in a space of features, against definitions and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from serlab.evaluation.space import distances, means_of, neighbours, plane, share_of, standardised


def cloud(seed: int = 0, clips: int = 60, features: int = 7, groups: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Features whose means differ by group, and the groups, each of them with a clip."""
    random = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(groups), random.integers(0, groups, clips - groups)])
    return standardised(random.normal(size=(clips, features)) + codes[:, None] * random.normal(size=features)), codes


def test_standardised_features_weigh_the_same_and_constants_nothing() -> None:
    values = standardised(np.array([[1.0, 5.0, 0.1], [3.0, 5.0, 0.1], [8.0, 5.0, 0.1]], np.float32))
    assert values.mean(axis=0) == pytest.approx([0, 0, 0])
    assert values.std(axis=0) == pytest.approx([1, 0, 0])


@pytest.mark.parametrize("clips", [5, 60])
def test_the_plane_is_that_of_principal_components(clips: int) -> None:
    values, _ = cloud(clips=clips, features=9)
    theirs = PCA(2, svd_solver="full").fit(values)
    ours = plane(values)
    assert np.abs(ours.points) == pytest.approx(np.abs(theirs.transform(values)), abs=1e-9)
    assert ours.shares == pytest.approx(theirs.explained_variance_ratio_)


def test_a_single_feature_and_no_variance_give_a_plane_too() -> None:
    assert plane(standardised(np.array([[1.0], [2.0], [3.0]]))).shares.tolist() == [1.0, 0.0]
    assert plane(np.zeros((4, 3))).points.tolist() == [[0.0, 0.0]] * 4


@given(st.integers(0, 50), st.integers(2, 5))
def test_the_share_is_anderson_s_from_pairwise_distances(seed: int, groups: int) -> None:
    """Sums of squares from distances alone, as in figure 2 of Anderson 2001."""
    values, codes = cloud(seed, clips=20, groups=groups)
    squared = np.square(values[:, None] - values).sum(axis=2)
    total = squared.sum() / 2 / len(values)
    within = sum(
        squared[np.ix_(codes == group, codes == group)].sum() / 2 / (codes == group).sum() for group in range(groups)
    )
    found = share_of(values, codes)
    assert found is not None
    assert found.raw == pytest.approx(1 - within / total)


def test_meaningless_groups_explain_nothing_when_adjusted() -> None:
    random = np.random.default_rng(1)
    found = []
    for _ in range(200):
        values = standardised(random.normal(size=(40, 3)))
        found.append(share_of(values, np.arange(40) % 10))
    assert np.mean([each.raw for each in found]) == pytest.approx(9 / 39, abs=0.02)
    assert np.mean([each.adjusted for each in found]) == pytest.approx(0, abs=0.02)


def test_shares_that_cannot_be_known() -> None:
    values = cloud()[0]
    assert share_of(values, np.zeros(len(values), np.int64)) is None
    assert share_of(np.zeros((4, 2)), np.array([0, 0, 1, 1])) is None
    alone = share_of(values, np.arange(len(values)))
    assert alone is not None
    assert (alone.raw, alone.adjusted) == (pytest.approx(1.0), None)


def test_means_and_distances_are_those_of_the_groups() -> None:
    values, codes = cloud()
    means = means_of(values, codes)
    for group in range(4):
        assert means[group] == pytest.approx(values[codes == group].mean(axis=0))
    assert distances(values, codes)[3] == pytest.approx(np.linalg.norm(values[3] - means[codes[3]]))


@pytest.mark.parametrize("clips", [30, 1100])
def test_nearest_clips_are_scikit_learn_s(clips: int) -> None:
    """1,100 clips take more than one block."""
    values, codes = cloud(3, clips=clips)
    nearest = NearestNeighbors(n_neighbors=2).fit(values).kneighbors(return_distance=False)[:, 0]
    found = neighbours(values, codes)
    assert found is not None
    assert found.share == pytest.approx(np.mean(codes[nearest] == codes))
    sizes = np.bincount(codes)
    assert found.chance == pytest.approx((sizes * (sizes - 1)).sum() / clips / (clips - 1))


def test_neighbours_by_other_speakers_alone() -> None:
    """Two speakers far apart with the labels side by side in the same order."""
    values = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    labels, speakers = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    near, across = neighbours(values, labels), neighbours(values, labels, speakers)
    assert near is not None
    assert across is not None
    assert (near.share, across.share, across.chance) == (0.0, 1.0, 0.5)
    assert neighbours(values, labels, np.zeros(4, np.int64)) is None
