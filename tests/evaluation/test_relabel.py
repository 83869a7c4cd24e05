from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from serlab.evaluation.relabel import relabelled, relabelled_logits
from serlab.tables.predictions import labels_of

LABELS = ("ang", "exc", "hap", "xxx")
EMOTIONS = {"ang": "angry", "exc": "happy", "hap": "happy", "xxx": None}


@given(arrays(np.float64, (3, 4), elements=st.floats(-20, 20)))
def test_probabilities_are_those_given_one_of_the_wanted_emotions(logits: np.ndarray) -> None:
    own = softmax(logits, axis=1)
    expected = np.stack([own[:, 0], own[:, 1] + own[:, 2]], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    found = softmax(relabelled_logits(logits, LABELS, EMOTIONS, ("angry", "happy")), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_scores_stay_as_they_are_if_nothing_is_merged() -> None:
    logits = np.array([[1.0, 2.0, 3.0, 4.0]])
    found = relabelled_logits(logits, LABELS, {"ang": "angry", "hap": "happy"}, ("happy", "angry"))
    assert found.tolist() == [[3.0, 1.0]]


def test_a_table_keeps_only_clips_with_a_wanted_emotion() -> None:
    table = pd.DataFrame(
        {"clip": ["a", "b", "c"], "speaker": "s", "label": ["ang", "xxx", "exc"], "side": "test", "fold": 1, "seed": 0}
        | {f"logit_{label}": [0.5, 1.0, 2.0] for label in LABELS}
    )
    found = relabelled(table, EMOTIONS, ("angry", "happy"))
    assert found["clip"].tolist() == ["a", "c"]
    assert found["label"].tolist() == ["angry", "happy"]
    assert labels_of(found) == ("angry", "happy")
