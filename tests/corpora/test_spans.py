"""Tables whose rows are parts of files are refused, unless the parts are whole files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serlab.core import UserError
from serlab.corpora.spans import check_spans, span_columns

SECONDS = np.array([2.0, 3.0, 4.0])
CLIPS = pd.DataFrame({"path": ["/a.wav", "/b.wav", "/c.wav"], "duration": SECONDS, "sample_rate": 16000})


def check(clips: pd.DataFrame = CLIPS, **columns: object) -> None:
    table = pd.DataFrame({"path": clips["path"], **columns})
    check_spans("t.csv", span_columns(table, ["path"]), clips)


@pytest.mark.parametrize(
    "columns",
    [
        {"start": ["0.5"] * 3, "end": ["1.5"] * 3},
        {"start": [0.0, 0.0, 0.5]},
        {"offset": [0, 0, 0], "duration": [1, 1, 1]},
        {"onset": [0, 0, 0], "offset": [500, 500, 500]},
        {"Start_Time": ["00:00:01", "0:01.5", "00:00:00"], "End Time": ["00:00:02", "0:02.5", "00:00:01"]},
        {"begin_s": [1, 1, 1], "stop_s": [2, 2, 2]},
        {"segment_start": [1, 1, 1], "segment_end": [2, 2, 2]},
        {"tmin": [0, 0, 0], "tmax": [1, 1, 1]},
        {"start_sample": [0, 0, 0], "end_sample": [16000, 16000, 16000]},
        {"start": [0, 0, 0], "length": [1, 1, 1]},
        {"end": ["1.0", "", ""]},
        {"offset": [0, 0, 0], "num_frames": [8000, 8000, 8000]},
        {"start": ["0,5", "0,25", "1"], "end": ["1,5", "1,25", "2"]},
        {"onset": ["0.5", "abc", "0.5"], "offset": ["1.0", "1.0", "?"]},
    ],
)
def test_parts_of_files_are_refused_by_the_columns_names(columns):
    with pytest.raises(UserError, match="cut the files first and name the pieces, or drop th") as caught:
        check(**columns)
    assert all(repr(name) in str(caught.value) for name in columns)


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
    check(**columns)


def test_one_file_with_many_turns_is_refused_however_its_spans_look():
    with pytest.raises(UserError, match="'start' and 'end'"):
        check(CLIPS.assign(path="/a.wav", duration=2.0), start=[0, 0, 0], end=[2, 2, 2])


def test_files_of_unknown_length_are_accepted():
    check(CLIPS.assign(duration=[2.0, np.nan, 4.0], sample_rate=[16000, 0, 16000]), end=[2.0, 9.0, 4.0])
