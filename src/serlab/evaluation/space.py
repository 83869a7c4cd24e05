"""How clips are spread in a space of features: axes for a picture, shares of the variance, neighbours, distances.

Features are standardised first, so that each of them weighs the same. The share of variance between
groups is Anderson's R² ("A new method for non-parametric multivariate analysis of variance", Austral
Ecology 26, 2001) with Euclidean distances; for a single feature it is eta squared. It grows with the
number of groups even if they mean nothing, so it is also given adjusted, as 1 - (1 - R²)(n - 1)/(n - k),
for a single feature epsilon squared (Kelley, PNAS 21(9), 1935). Adjusted, meaningless groups have 0 on
average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Codes = NDArray[np.int64]

_AT_ONCE = 512


@dataclass(frozen=True)
class Plane:
    """The first two principal components.

    Attributes:
        points: each clip's place, shape (clips, 2).
        shares: share of the variance of each component, shape (2,).
    """

    points: Floats
    shares: Floats


@dataclass(frozen=True)
class Share:
    """Share of the variance between groups.

    Attributes:
        raw: R².
        adjusted: for the number of groups; can be slightly below 0. None if there are as many
            groups as clips.
    """

    raw: float
    adjusted: float | None


@dataclass(frozen=True)
class Neighbours:
    """How often the nearest other clip is of the same group.

    Attributes:
        share: of the clips.
        chance: the same for a clip drawn at random instead of the nearest.
    """

    share: float
    chance: float


def standardised(features: Floats) -> NDArray[np.float64]:
    """Features with mean 0 and standard deviation 1; constant ones become 0.

    Args:
        features: shape (clips, features), finite.
    """
    values = np.asarray(features, np.float64)
    spread = values.std(axis=0)
    constant = spread <= 1e-9 * np.abs(values).max(axis=0, initial=0.0)
    found = centred(values) / np.where(constant, 1.0, spread)
    found[:, constant] = 0.0
    return found


def centred(features: Floats) -> NDArray[np.float64]:
    """Features with mean 0, shape (clips, features)."""
    found: NDArray[np.float64] = features - features.mean(axis=0)
    return found


def plane(features: Floats) -> Plane:
    """The first two principal components of standardised features.

    The sign of a component is that of its largest loading, so that the picture is always the same.

    Args:
        features: from :func:`standardised`, shape (clips, features).
    """
    scatter = features.T @ features
    values, vectors = np.linalg.eigh(scatter)
    wanted = np.zeros((features.shape[1], 2))
    kept = vectors[:, ::-1][:, :2]
    wanted[:, : kept.shape[1]] = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    shares = np.zeros(2)
    shares[: kept.shape[1]] = np.maximum(values[::-1][:2], 0) / max(float(values.sum()), 1e-300)
    return Plane(features @ wanted, shares)


def share_of(features: Floats, groups: Codes) -> Share | None:
    """Share of the variance between groups, over all features.

    Args:
        features: from :func:`standardised`, or :func:`centred` after that, shape (clips, features).
        groups: index of each clip's group, from 0 without gaps, shape (clips,).

    Returns:
        None if there is no variance, or a single group.

    >>> share_of(standardised(np.array([[0.0], [0.0], [1.0], [1.0]])), np.array([0, 0, 1, 1]))
    Share(raw=1.0, adjusted=1.0)
    """
    total = float(np.square(features).sum())
    clips, count = len(features), int(groups.max(initial=-1)) + 1
    if total <= 0 or count < 2:
        return None
    size = np.bincount(groups, minlength=count)
    raw = min(1.0, float((np.square(means_of(features, groups)).sum(axis=1) * size).sum()) / total)
    return Share(raw, 1 - (1 - raw) * (clips - 1) / (clips - count) if clips > count else None)


def means_of(features: Floats, groups: Codes) -> NDArray[np.float64]:
    """Mean of each group, shape (groups, features)."""
    count = int(groups.max(initial=-1)) + 1
    order = np.argsort(groups, kind="stable")
    size = np.bincount(groups, minlength=count)
    sums = np.add.reduceat(features[order], np.concatenate([[0], np.cumsum(size)[:-1]]), axis=0)
    means: NDArray[np.float64] = sums / size[:, None]
    return means


def distances(features: Floats, groups: Codes) -> NDArray[np.float64]:
    """Distance of each clip from the mean of its group, shape (clips,)."""
    found: NDArray[np.float64] = np.linalg.norm(features - means_of(features, groups)[groups], axis=1)
    return found


def neighbours(features: Floats, groups: Codes, apart: Codes | None = None) -> Neighbours | None:
    """How often the nearest other clip is of the same group.

    Args:
        features: from :func:`standardised`, shape (clips, features).
        groups: index of each clip's group, shape (clips,).
        apart: if given, only clips with another value are neighbours, such as other speakers.

    Returns:
        None if no clip has such a neighbour.
    """
    same, chance, counted = 0, 0.0, 0
    for rows, squares in _squared_distances(features):
        others = np.ones_like(squares, bool) if apart is None else apart[rows, None] != apart
        others[np.arange(len(rows)), rows] = False
        some = others.any(axis=1)
        nearest = np.where(others, squares, np.inf).argmin(axis=1)
        alike = groups[rows, None] == groups
        same += int((groups[nearest] == groups[rows])[some].sum())
        chance += float(((alike & others).sum(axis=1)[some] / others.sum(axis=1)[some]).sum())
        counted += int(some.sum())
    return Neighbours(same / counted, chance / counted) if counted else None


def _squared_distances(features: Floats) -> Iterator[tuple[Codes, Floats]]:
    """Squared distances of some clips to all, without keeping those of all clips in memory."""
    values = features.astype(np.float32)
    squares = np.square(values).sum(axis=1)
    for start in range(0, len(values), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(values)))
        yield rows, squares[rows, None] + squares - 2 * values[rows] @ values.T
