"""Fused tables are the means they say they are, whatever the order of rows and labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax

from serlab.core import UserError
from serlab.evaluation.fusion import fuse
from serlab.tables import logits_of, probabilities_of

LABELS = ("angry", "happy", "sad")


def table(seed: int, clips: int = 20, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    scores = np.random.default_rng(seed).normal(0, 3, (clips, len(labels))).astype(np.float32)
    known = {"clip": [f"c{i}" for i in range(clips)], "speaker": "s", "label": "sad", "side": "test", "fold": 1}
    return pd.DataFrame({**known, "seed": seed} | {f"logit_{label}": scores[:, i] for i, label in enumerate(labels)})


def test_the_mean_of_log_probabilities_and_that_of_probabilities() -> None:
    tables = [table(seed) for seed in range(3)]
    logits = [logits_of(each) for each in tables]

    logs = probabilities_of(fuse(tables))
    shares = probabilities_of(fuse(tables, "probabilities"))

    np.testing.assert_allclose(
        logs, softmax(np.mean([log_softmax(x, axis=1) for x in logits], axis=0), axis=1), atol=1e-6
    )
    np.testing.assert_allclose(shares, np.mean([softmax(x, axis=1) for x in logits], axis=0), atol=1e-6)


def test_neither_rows_nor_labels_need_the_same_order() -> None:
    one, other = table(1), table(2)
    shuffled = other.sample(frac=1, random_state=0)
    turned = shuffled[[*other.columns[:6], "logit_sad", "logit_angry", "logit_happy"]]

    pd.testing.assert_frame_equal(fuse([one, other]), fuse([one, turned]))


@pytest.mark.parametrize(
    "other", [table(2, clips=19), table(2).assign(fold=2), table(2).replace("c3", "c99")], ids=["fewer", "fold", "name"]
)
def test_tables_of_other_clips_are_refused(other: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="different clips"):
        fuse([table(1), other])


def test_tables_of_other_labels_are_refused() -> None:
    with pytest.raises(UserError, match="labels angry, happy, sad and angry, calm, sad"):
        fuse([table(1), table(2, labels=("angry", "calm", "sad"))])
