"""From the decision values of pairs of labels to votes and scores of labels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.classical import Array

UNSEEN = -1e4
"""Score of a label that an SVM has not seen: finite, but without a share of the softmax at any temperature."""


def votes(values: Array, seen: NDArray[np.bool_]) -> Array:
    """Number of pairs that each label wins.

    Args:
        values: decision values of all pairs, shape (n, pairs).
        seen: labels that each clip's SVM has learned, shape (n, K); pairs with other labels do not
            vote.

    Returns:
        Votes, shape (n, K), and -10,000 for labels that were not learned.
    """
    signs = pair_signs(seen.shape[1])
    valid = _valid(seen)
    won = np.where(values >= 0, 1, -1) * valid @ signs
    return np.where(seen, (won + valid @ np.abs(signs)) / 2, UNSEEN)


def one_against_rest(values: Array, seen: NDArray[np.bool_]) -> Array:
    """One score per label: its votes, plus a fraction of a vote from the sum of its decision values.

    With s the sum of a label's decision values over its pairs, its score is votes + s / (3 (|s| +
    1)), as with scikit-learn's ``decision_function_shape="ovr"``. Two labels share the single
    decision value.

    Args:
        values: decision values of all pairs, shape (n, pairs).
        seen: labels that each clip's SVM has learned, shape (n, K).

    Returns:
        Scores, shape (n, K), and -10,000 for labels that were not learned.
    """
    sums = values * _valid(seen) @ pair_signs(seen.shape[1])
    if seen.shape[1] == 2:
        return np.where(seen, sums / 2, UNSEEN)
    return votes(values, seen) + np.where(seen, sums / (3 * (np.abs(sums) + 1)), 0.0)


def pair_signs(n_labels: int) -> Array:
    """For each pair (rows), 1 at the label (columns) that a positive value favours, -1 at the other."""
    if n_labels == 2:
        return np.array([[-1.0, 1.0]])  # scikit-learn flips the sign if there is one pair.
    signs = np.zeros((n_labels * (n_labels - 1) // 2, n_labels))
    for pair, (first, second) in enumerate(combinations(range(n_labels), 2)):
        signs[pair, first], signs[pair, second] = 1.0, -1.0
    return signs


def _valid(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a clip's SVM knows both labels of each pair, shape (n, pairs)."""
    first, second = zip(*combinations(range(seen.shape[1]), 2), strict=True)
    return seen[:, first] & seen[:, second]
