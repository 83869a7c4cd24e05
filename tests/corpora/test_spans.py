"""Tables whose rows are parts of files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serlab.core import UserError
from serlab.corpora.spans import seconds_of, span_columns

SECONDS = np.array([2.0, 3.0, 4.0])
CLIPS = pd.DataFrame({"path": ["/a.wav", "/b.wav", "/c.wav"], "duration": SECONDS, "sample_rate": 16000})


def check(clips: pd.DataFrame = CLIPS, **columns: object) -> object:
    table = pd.DataFrame({"path": clips["path"], **columns})
    found = seconds_of("t.csv", span_columns(table, ["path"]), clips, [1, 2, 3])
    return None if found is None else found.tolist()


HALF = [[0.5, 1.5]] * 3


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"start": ["0.5"] * 3, "end": ["1.5"] * 3}, HALF),
        ({"start": ["0 days 00:00:00.500000"] * 3, "end": ["0 days 00:00:01.500000"] * 3}, HALF),
        ({"onset": [0.5] * 3, "offset": [1.5] * 3}, HALF),
        ({"start_ms": [500] * 3, "end_ms": [1500] * 3}, HALF),
        ({"start_sample": [8000] * 3, "end_sample": [24000] * 3}, HALF),
        ({"Start_Time": ["00:00:00.5"] * 3, "End Time": ["00:00:01,5", "0:01.5", "0:00:01.5"]}, HALF),
        ({"begin_s": [0.5] * 3, "duration": [1] * 3}, HALF),
        ({"tmin": [0.5] * 3, "tmax": [1.5] * 3}, HALF),
        ({"segment_start": ["0,5"] * 3, "segment_end": ["1,5"] * 3}, HALF),
        ({"start": [0.5] * 3, "length": [1] * 3}, HALF),
        ({"start": [0.5] * 3, "end": ["NaT", "", "1.5"]}, [[0.5, 2.0], [0.5, 3.0], [0.5, 1.5]]),
        ({"start": [0.5] * 3}, [[0.5, 2.0], [0.5, 3.0], [0.5, 4.0]]),
        ({"end": [1.5] * 3}, [[0.0, 1.5]] * 3),
    ],
)
def test_parts_of_files_in_the_spellings_of_others(columns, parts):
    assert check(**columns) == parts


def test_a_whole_file_among_parts_is_left_alone():
    found = np.array(check(start=[0, 0, 1], end=[2.0, 1.0, 4.05]))
    assert np.isnan(found[0]).all()
    assert found[1:].tolist() == [[0.0, 1.0], [1.0, 4.0]]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"offset": [0.1] * 3, "duration": [1] * 3}, "'offset' and 'duration', which is ambiguous"),
        ({"offset": [0, 0, 0], "num_frames": [8000] * 3}, "which is ambiguous; name the columns start"),
        ({"start": [0.1] * 3, "begin": [0.1] * 3, "end": [1] * 3}, "which is ambiguous"),
        ({"start": [500] * 3, "end": [1500] * 3}, r"row 1 .* is the part from 500 to 1500 s of a file of 2.00 s.*_ms"),
        ({"start": [0.5, 1, 1], "end": [1, 0.5, 2]}, "row 2 of the table t.csv .* ends at 0.5 s, which is not after"),
        ({"start": [-0.5, 0, 0], "end": [1, 1, 1]}, "row 1 .* is the part from -0.5 to 1 s"),
        ({"onset": ["0.5", "abc", "0.5"], "offset": ["1.0"] * 3}, "row 2 .* has a start or end that is not a time"),
    ],
)
def test_parts_that_cannot_be(columns, sentence):
    with pytest.raises(UserError, match=sentence):
        check(**columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"start": ["0", "0.0", ""], "end": ["2", "3.0", ""]},
        {"start": [0, 0, 0], "end": 1000 * SECONDS},
        {"start_sample": [0, 0, 0], "end_sample": 16000 * SECONDS},
        {"duration": SECONDS + 0.05},
        {"start": ["2024-01-01 10:00"] * 3},
        {"offset": ["", "", ""]},
        {"length": [5, 9, 12]},
        {"gender": ["f", "m", "f"], "start of study": ["x", "y", "z"]},
    ],
)
def test_whole_files_and_other_columns_are_taken(columns):
    assert check(**columns) is None


def test_one_file_with_many_turns():
    one = CLIPS.assign(path="/a.wav", duration=2.0)
    assert check(one, start=[0, 0.5, 1], end=[0.5, 1, 1.5]) == [[0, 0.5], [0.5, 1], [1, 1.5]]


def test_files_of_unknown_length_are_accepted():
    unknown = CLIPS.assign(duration=[2.0, np.nan, 4.0], sample_rate=[16000, 0, 16000])
    assert check(unknown, end=[2.0, 9.0, 4.0]) is None
    assert np.isnan(check(unknown, start=[1.0, 1.0, 1.0])[1]).all()
