"""Fusing predictions: one table from several models' tables on the same clips.

The mean of log-probabilities is a product of experts (Hinton 1999, eq. 1, with equal weights): a model that is sure a
label is wrong can rule it out. The mean of probabilities is what seeds of one recipe are joined by (Lakshminarayanan
et al. 2017, section 2.4): a mixture, in which none can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from serlab.core import UserError
from serlab.tables import PREFIX, labels_of, probabilities_of

Rule = Literal["log-probabilities", "probabilities"]

_SAME = ["clip", "side", "fold"]
_SMALLEST = 1e-12


def fuse(tables: Sequence[pd.DataFrame], rule: Rule = "log-probabilities") -> pd.DataFrame:
    """Average several models' scores clip by clip, all with the same weight.

    Args:
        tables: prediction tables on the same clips, sides and folds, one seed each, in any order of rows.
        rule: what is averaged.

    Returns:
        A table with the first one's clips, in its order, and its seed.

    Raises:
        UserError: the tables are not of the same clips, or of the same labels.
    """
    first = tables[0].reset_index(drop=True)
    labels = labels_of(first)
    keys = pd.MultiIndex.from_frame(first[_SAME])
    total = np.zeros((len(first), len(labels)))
    for table in tables:
        if set(labels_of(table)) != set(labels):
            raise UserError(f"cannot fuse tables of the labels {', '.join(labels)} and {', '.join(labels_of(table))}.")
        place = pd.MultiIndex.from_frame(table[_SAME]).get_indexer(keys)
        if len(table) != len(first) or (place < 0).any():
            raise UserError("cannot fuse tables of different clips; train both on the same folds of one protocol.")
        columns = [*_SAME, *(PREFIX + label for label in labels)]
        shares = probabilities_of(table[columns].iloc[place])
        total += np.log(np.maximum(shares, _SMALLEST)) if rule == "log-probabilities" else shares
    mean = total / len(tables)
    scores = mean if rule == "log-probabilities" else np.log(np.maximum(mean, _SMALLEST))
    return first.assign(**{PREFIX + label: scores[:, i].astype(np.float32) for i, label in enumerate(labels)})
