"""What counts as learned: the test interval alone; the training score is a caution."""

import numpy as np
import pandas as pd
import pytest

from serlab.evaluation.bootstrap import Interval
from serlab.evaluation.judge import evaluate
from serlab.evaluation.learning import chance_of, fit_caution, has_learned
from serlab.evaluation.lines import evaluation_lines

LABELS = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("low", "labels", "side", "learned"),
    [
        (0.17, 6, "test", True),
        (1 / 6, 6, "test", False),
        (1 / 6 + 1e-12, 6, "test", False),
        (0.1, 6, "test", False),
        (0.45, 2, "test", False),
        (0.51, 2, "test", True),
        (0.9, 6, "dev", None),
        (None, 6, "test", None),
        (0.9, 1, "test", None),
    ],
)
def test_the_test_interval_alone_decides(low, labels, side, learned):
    high = None if low is None else 1.0
    assert has_learned(Interval(0.95, low, high), chance_of(labels), side=side) is learned


@pytest.mark.parametrize(
    ("train", "test", "labels", "caution"),
    [
        (0.542, 0.54, 6, "underfitted"),
        (0.5833, 0.55, 6, "underfitted"),
        (0.5834, 0.55, 6, None),
        (0.74, 0.7, 2, "underfitted"),
        (0.76, 0.7, 2, None),
        (1.0, 0.55, 6, "overfitted"),
        (1.0, 0.6, 6, None),
        (1.0, 0.1, 6, "overfitted"),
        (0.917, 0.726, 6, None),
        (1.0, 0.74, 2, "overfitted"),
        (None, 0.1, 6, None),
        (1.0, 1.0, 1, None),
    ],
)
def test_cautions_of_the_training_score(train, test, labels, caution):
    assert fit_caution(train, test, chance_of(labels)) == caution


def table_of(speakers: int, right: float) -> pd.DataFrame:
    """A table in which a given share of each label's clips is right."""
    random = np.random.default_rng(0)
    rows = [
        {"clip": f"{speaker}-{label}-{take}", "speaker": str(speaker), "label": label}
        for speaker in range(speakers)
        for label in LABELS
        for take in range(10)
    ]
    table = pd.DataFrame(rows)
    said = np.where(random.random(len(table)) < right, table["label"], random.choice(LABELS, len(table)))
    for label in LABELS:
        table[f"logit_{label}"] = (said == label).astype(float)
    return table


@pytest.mark.parametrize(
    ("speakers", "right", "learned", "line"),
    [
        (20, 0.5, True, "UAR is above chance (25.0 %)"),
        (20, 0.0, False, "UAR is not shown to be above chance (25.0 %)"),
        (9, 0.5, None, None),
    ],
)
def test_the_terminal_says_it_too(speakers, right, learned, line):
    result = evaluate(table_of(speakers, right), labels=LABELS)
    assert result.learned is learned
    said = [text for text in evaluation_lines(result) if "chance (" in text]
    assert said == ([] if line is None else [line])


def test_a_blind_model_has_not_learned_where_labels_have_no_clips():
    table = table_of(20, 1.0)
    table = table[table["label"].isin(("a", "b"))].assign(logit_a=9.0)
    result = evaluate(table, labels=LABELS)
    assert result.absent == ("c", "d")
    assert (result.chance, result.learned) == (0.5, False)
