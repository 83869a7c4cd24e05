"""Fusing predictions: one table from several models' tables on the same clips.

The mean of log-probabilities is a product of experts (Hinton 1999, eq. 1, with equal weights): a
model that is sure a label is wrong can rule it out. Seeds of one recipe are averaged by
probabilities (Lakshminarayanan et al. 2017, section 2.4): a mixture, in which no model can.

Models of unequal quality need unequal weights. The weights of a sum of log-probabilities (a
logarithmic opinion pool, Genest and Zidek 1986) are fitted by logistic regression on clips that no
model was trained on, as speaker recognition fuses its systems (Brümmer et al. 2007, IEEE TASLP
15(7)); here without offsets and with no weight below 0. Their sum is free, so the fusion is
calibrated too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from serlab.core import UserError
from serlab.tables.predictions import PREFIX, labels_of, probabilities_of, truth_of

Rule = Literal["log-probabilities", "probabilities"]

_SAME = ["clip", "side", "fold"]
_SMALLEST = 1e-12


def fuse(
    tables: Sequence[pd.DataFrame], rule: Rule = "log-probabilities", *, weights: Sequence[float] | None = None
) -> pd.DataFrame:
    """Average several models' scores clip by clip.

    Args:
        tables: prediction tables on the same clips, sides and folds, one seed each, in any order of
            rows.
        rule: what is averaged.
        weights: of each table, for a sum instead of a mean; equal weights if not given.

    Returns:
        A table with the first one's clips, in its order, and its seed.

    Raises:
        UserError: the tables are not of the same clips, or of the same labels.
    """
    shares = _aligned(tables)
    parts = np.log(np.maximum(shares, _SMALLEST)) if rule == "log-probabilities" else shares
    mean = parts.mean(axis=0) if weights is None else np.tensordot(np.asarray(weights, np.float64), parts, 1)
    scores = mean if rule == "log-probabilities" else np.log(np.maximum(mean, _SMALLEST))
    first = tables[0].reset_index(drop=True)
    columns = (PREFIX + label for label in labels_of(first))
    return first.assign(**{name: scores[:, i].astype(np.float32) for i, name in enumerate(columns)})


def fit_weights(tables: Sequence[pd.DataFrame]) -> tuple[float, ...]:
    """Find the weights of the models' log-probabilities for which their sum has the least negative log-likelihood.

    The sum is convex in the weights, which are sought at 0 or above, so there is one answer; where
    two models say the same of every clip, how they share their weight is left open.

    Args:
        tables: predictions on the same clips, which no model was trained or is tested on; otherwise
            as for :func:`fuse`.

    Returns:
        One weight per table.

    Raises:
        UserError: as :func:`fuse`, or there are no clips.
    """
    logs = np.log(np.maximum(_aligned(tables), _SMALLEST))
    if not logs.shape[1]:
        raise UserError("there are no clips to fit the weights of a fusion on.")
    labels = labels_of(tables[0])
    truth = np.eye(len(labels))[truth_of(tables[0], labels)]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = np.tensordot(weights, logs, 1)
        gap = softmax(scores, axis=1) - truth
        likelihood = (log_softmax(scores, axis=1) * truth).sum() / len(truth)
        return -float(likelihood), np.einsum("mck,ck->m", logs, gap) / len(truth)

    start = np.full(len(tables), 1 / len(tables))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(tables))
    return tuple(map(float, found.x))


def _aligned(tables: Sequence[pd.DataFrame]) -> NDArray[np.float64]:
    """Probabilities of the first table's clips and labels, in its order, shape (tables, clips, labels)."""
    first = tables[0].reset_index(drop=True)
    labels = labels_of(first)
    keys = pd.MultiIndex.from_frame(first[_SAME])
    columns = [*_SAME, *(PREFIX + label for label in labels)]
    shares = []
    for table in tables:
        if set(labels_of(table)) != set(labels):
            raise UserError(f"cannot fuse tables of the labels {', '.join(labels)} and {', '.join(labels_of(table))}.")
        place = pd.MultiIndex.from_frame(table[_SAME]).get_indexer(keys)
        if len(table) != len(first) or (place < 0).any():
            raise UserError("cannot fuse tables of different clips; train both on the same folds of one protocol.")
        shares.append(probabilities_of(table[columns].iloc[place]))
    return np.stack(shares)
