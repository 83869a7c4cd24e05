"""Confusion counts by speaker as a table: nothing is lost, and no clip is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.metrics import UAR
from serlab.report.crossing_counts import COLUMNS, counts_of, read, table_of, write

LABELS = ("angry", "happy", "sad")
ABOUT = {"recipe": "r", "source": "a+b", "normalised": False, "target": "t", "what": "tested"}


def predictions(answers: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """A prediction table from seed, speaker, label and answer of each clip."""
    scores = np.eye(3)[[answer for *_, answer in answers]]
    return pd.DataFrame(
        {
            "clip": [f"secret-{number}" for number in range(len(answers))],
            "speaker": [f"0{speaker}" for _, speaker, _, _ in answers],
            "label": [LABELS[label] for _, _, label, _ in answers],
            "fold": 1,
            "seed": [seed for seed, *_ in answers],
            **{f"logit_{label}": scores[:, place] for place, label in enumerate(LABELS)},
        }
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_every_count_comes_back(answers: list[tuple[int, int, int, int]]) -> None:
    counts = count_by_speaker(predictions(answers), LABELS)
    again = counts_of(table_of([(ABOUT, counts)]), LABELS)
    assert (again.labels, again.speakers, again.folds, again.seeds) == (
        counts.labels, counts.speakers, counts.folds, counts.seeds,
    )  # fmt: skip
    np.testing.assert_array_equal(again.matrices, counts.matrices)
    np.testing.assert_array_equal(again.speaker, counts.speaker)
    np.testing.assert_array_equal(again.scores(UAR), counts.scores(UAR))


def test_the_file_keeps_names_as_texts_and_has_no_clip(tmp_path: Path) -> None:
    counts = count_by_speaker(predictions([(0, 1, 0, 0), (0, 2, 1, 2)]), LABELS)
    write(tmp_path / "speakers.csv", table_of([({**ABOUT, "source": ""}, counts)]))
    assert "secret" not in (tmp_path / "speakers.csv").read_text(encoding="utf-8")
    found = read(tmp_path / "speakers.csv")
    assert list(found.columns) == COLUMNS
    assert found["speaker"].tolist() == ["01", "02"]
    assert found["source"].tolist() == ["", ""]
    assert found["normalised"].tolist() == [False, False]
    assert counts_of(found, LABELS).speakers == ("01", "02")
