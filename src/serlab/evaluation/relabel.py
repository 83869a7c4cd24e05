"""A prediction table in other labels: renamed, merged, and reduced to some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from serlab.tables.predictions import PREFIX, labels_of, logits_of


def relabelled_logits(
    logits: NDArray[np.floating], labels: Sequence[str], emotions: Mapping[str, str | None], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """Scores of the wanted emotions, from scores of a model's own labels.

    The probabilities of labels with the same emotion are added. Labels without a wanted emotion
    cannot be predicted: the softmax of the result is the model's probability given that it is one
    of the wanted emotions.

    Args:
        logits: natural-log scores, shape (clips, labels).
        labels: the model's labels.
        emotions: emotion of each of them; None drops it.
        wanted: the emotions, each of at least one label.

    Returns:
        Shape (clips, wanted).

    >>> relabelled_logits(np.log([[0.25, 0.25, 0.5]]), ["hap", "exc", "xxx"], {"hap": "h", "exc": "h", "xxx": "x"},
    ...     ["h", "x"]).round(3).tolist()
    [[-0.693, -0.693]]
    """
    scores = np.asarray(logits, np.float64)
    if len({emotion for emotion in map(emotions.get, labels) if emotion in wanted}) < sum(
        emotions.get(label) in wanted for label in labels
    ):
        scores = log_softmax(scores, axis=1)
    places = [[place for place, label in enumerate(labels) if emotions.get(label) == emotion] for emotion in wanted]
    columns = [scores[:, each[0]] if len(each) == 1 else logsumexp(scores[:, each], axis=1) for each in places]
    return np.stack(columns, axis=1)


def relabelled(table: pd.DataFrame, emotions: Mapping[str, str | None], wanted: Sequence[str]) -> pd.DataFrame:
    """A prediction table in other labels; rows of clips without a wanted emotion are left out.

    Args:
        table: with a logit per label.
        emotions: emotion of each label of the table; None drops it.
        wanted: the emotions that are kept, in the order of the new columns.
    """
    labels = labels_of(table)
    truth = table["label"].map(emotions)
    kept = truth.isin(list(wanted)).to_numpy()
    rows = table[kept]
    logits = relabelled_logits(logits_of(rows), labels, emotions, wanted)
    others = [name for name in table.columns if not str(name).startswith(PREFIX)]
    scores = pd.DataFrame(logits.astype(np.float32), columns=[PREFIX + label for label in wanted])
    plain = rows[others].assign(label=truth[kept]).reset_index(drop=True)
    return pd.concat([plain, scores], axis=1)
