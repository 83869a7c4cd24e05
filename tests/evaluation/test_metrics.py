import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from serlab.evaluation.metrics import (
    METRICS,
    absent,
    confusion,
    f1,
    macro_f1,
    partly_absent,
    precision,
    recall,
    uar,
    wa,
)

CLASSES = 5
labels = st.integers(0, CLASSES - 1)
tables = st.integers(1, 60).flatmap(
    lambda clips: st.tuples(
        arrays(np.int64, clips, elements=labels),
        arrays(np.int64, clips, elements=labels),
        arrays(np.int64, clips, elements=st.integers(0, 3)),
    )
)


@given(tables)
def test_scores_equal_scikit_learn(table):
    truth, guess, _ = table
    matrix = confusion(truth, guess, CLASSES)
    everything = list(range(CLASSES))
    present = sorted(set(truth.tolist()))
    assert np.array_equal(matrix, confusion_matrix(truth, guess, labels=everything))
    assert wa(matrix) == accuracy_score(truth, guess)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn warns of labels that are only predicted
        assert uar(matrix) == pytest.approx(balanced_accuracy_score(truth, guess), abs=1e-15)
    wanted = f1_score(truth, guess, labels=present, average="macro", zero_division=0)
    assert macro_f1(matrix) == pytest.approx(wanted, abs=1e-15)
    of_labels = precision_recall_fscore_support(truth, guess, labels=everything, zero_division=np.nan)
    for ours, theirs in zip((precision, recall, f1), of_labels[:3], strict=True):
        np.testing.assert_allclose(ours(matrix), theirs, rtol=0, atol=1e-15)


@given(arrays(np.int64, (3, CLASSES, CLASSES), elements=st.integers(0, 4)))
def test_smaller_statistics_give_the_same_bits(matrices):
    """Sums over speakers and their halves, as bootstrap and swap test make them."""
    smaller = {key: metric for key, metric in METRICS.items() if metric.smaller}
    assert set(smaller) == {"uar", "wa", "macro_f1"}
    for metric in smaller.values():
        small = metric.smaller
        for halves in (matrices, matrices.sum(axis=0) / 2):
            np.testing.assert_array_equal(small.score(small.statistics(halves)), metric.score(halves))


@given(tables)
def test_scores_of_many_matrices_are_the_scores_of_each(table):
    truth, guess, group = table
    matrices = confusion(truth, guess, CLASSES, group=group, groups=4)
    assert np.array_equal(matrices.sum(axis=0), confusion(truth, guess, CLASSES))
    for score in (uar, wa, macro_f1, recall):
        together = score(matrices)
        for index in range(4):
            own = confusion(truth[group == index], guess[group == index], CLASSES)
            np.testing.assert_array_equal(together[index], score(own))


def test_a_label_without_clips_is_named_and_leaves_the_mean():
    matrix = np.array([[4, 0, 0], [1, 1, 2], [0, 0, 0]])
    assert absent(matrix, ["angry", "fear", "sad"]) == ["sad"]
    assert partly_absent(matrix, ["angry", "fear", "sad"]) == []
    several = np.stack([matrix, matrix + np.eye(3, dtype=int)])
    assert absent(several, ["angry", "fear", "sad"]) == []
    assert partly_absent(several, ["angry", "fear", "sad"]) == ["sad"]
    assert uar(matrix) == (1.0 + 0.25) / 2
    assert np.isnan(recall(matrix)[2])
    assert precision(matrix)[2] == 0.0


def test_no_clips_is_no_score():
    nothing = np.zeros((2, 2), int)
    assert np.isnan([uar(nothing), wa(nothing), macro_f1(nothing)]).all()
