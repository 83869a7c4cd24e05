"""Values that are unusual among others, by the median and the absolute deviations from it.

The modified z-score of Iglewicz and Hoaglin ("How to Detect and Handle Outliers", ASQC Quality Press,
1993) is 0.6745 (x - median) / MAD; where more than half of the values are equal and MAD is 0, they
divide by 1.2533 times the mean absolute deviation instead. They call values beyond 3.5 outliers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 3.5
"""Modified z-scores beyond this are unusual."""

_FEWEST = 5


def modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-score of each value, shape (n,); NaN stays NaN, and fewer than 5 values have 0.

    Args:
        values: shape (n,).

    >>> modified_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(1).tolist()
    [-1.3, -0.7, 0.0, 0.7, 65.4]
    """
    known = np.isfinite(values)
    if known.sum() < _FEWEST:
        return np.where(known, 0.0, np.nan)
    away = values - np.median(values[known])
    spread = float(np.median(np.abs(away[known]))) / 0.6745 or 1.2533 * float(np.abs(away[known]).mean())
    return np.where(known, away / (spread or 1.0), np.nan)


def modified_z_within(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Modified z-score of each value among those of its group, shape (n,).

    Args:
        values: shape (n,).
        groups: index of each value's group, shape (n,).
    """
    found = np.full(len(values), np.nan)
    for group in np.unique(groups):
        found[groups == group] = modified_z(values[groups == group])
    return found
