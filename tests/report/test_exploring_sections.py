"""From the table of clips to the views."""

from __future__ import annotations

import numpy as np
import pytest
from tests.report.explored import corpus_of, crossed, table_of

from serlab.report.exploring_sections import MOST_SPEAKERS, about, counts, grid, measures, outliers, speakers


def test_holes_are_named_by_label() -> None:
    corpus = corpus_of(crossed(3, 2, without=[("s0001", "label00"), ("s0002", "label00")]))
    found = grid(corpus, table_of(corpus))
    assert found is not None
    assert found.holes == {"label00": ("s0001", "s0002")}
    assert (found.empty, found.text) == (2, "2 of 6 cells have no clip.")
    assert [row.counts for row in found.rows][1] == {"label00": 0, "label01": 1}
    assert (found.shade(0), found.shade(found.largest)) == (0, 8)


def test_a_full_grid_says_so() -> None:
    corpus = corpus_of(crossed(4, 3, takes=2))
    found = grid(corpus, table_of(corpus))
    assert found is not None
    assert (found.empty, found.single) == (0, False)
    assert found.text == "Every speaker has clips of every label: none of the 12 cells is empty."


def test_of_many_speakers_those_with_the_most_holes_are_shown() -> None:
    last = [("s0499", f"label{k:02}") for k in range(1, 4)]
    corpus = corpus_of(crossed(500, 4, without=last))
    found = grid(corpus, table_of(corpus))
    assert found is not None
    assert (len(found.rows), found.speakers) == (MOST_SPEAKERS, 500)
    assert found.rows[-1].speaker == "s0499"
    assert found.rows[-1].counts == {"label00": 1, "label01": 0, "label02": 0, "label03": 0}


def test_speakers_with_one_label_each_are_noticed() -> None:
    corpus = corpus_of([("a", "happy"), ("a", "happy"), ("b", "sad")])
    found = grid(corpus, table_of(corpus))
    assert found is not None
    assert found.single


def test_without_speakers_there_is_no_grid_and_no_number_of_speakers() -> None:
    corpus = corpus_of([("", "happy"), ("", "sad")], speakers_known=False)
    table = table_of(corpus)
    assert grid(corpus, table) is None
    assert about(corpus, table).headline.startswith("2 clips of unknown speakers with 2 labels")
    assert counts(corpus, table)[0].rows[0].speakers is None


def test_balance_and_medians_of_a_speaker() -> None:
    corpus = corpus_of([("a", "happy")] * 3 + [("a", "sad")] + [("b", "sad")] * 2 + [("b", "happy")] * 2)
    table = table_of(corpus)
    table["sex"] = ["Female"] * 4 + [None] * 4
    first, second = speakers(corpus, table)
    assert (first.balance, first.sex, second.balance, second.sex) == ("happy 75 %", "Female", "even", "")
    assert first.rms == pytest.approx(np.median(table["rms"][:4]))


def test_unusable_clips_count_as_clips_but_not_as_minutes() -> None:
    corpus = corpus_of(crossed(2, 2))
    table = table_of(corpus)
    table.loc[0, ["fault", "duration", "rms"]] = ["silent", np.nan, np.nan]
    found = about(corpus, table)
    assert (found.clips, found.usable) == (4, 3)
    assert found.seconds == pytest.approx(table["duration"][1:].sum())
    assert measures(corpus, table)[0].whole.clips == 3


def test_rates_are_counted_with_their_unit_and_long_lists_cut() -> None:
    corpus = corpus_of(crossed(2, 30))
    table = table_of(corpus)
    table["sample_rate"] = [8000] * 10 + [0] * 2 + [48000] * 48
    table["sentence"] = [f"s{place}" for place in range(60)]
    by_column = {each.column: each for each in counts(corpus, table)}
    assert {row.value: row.clips for row in by_column["sample_rate"].rows} == {
        "8,000 Hz": 10,
        "48,000 Hz": 48,
        "unknown": 2,
    }
    assert (len(by_column["sentence"].rows), by_column["sentence"].more) == (12, 48)
    assert len(by_column["label"].rows) == 30


def test_outliers_are_the_clips_that_were_changed() -> None:
    corpus = corpus_of(crossed(10, 4))
    table = table_of(corpus)
    table.loc[3, "duration"] = 40.0
    table.loc[5, "rms"] = -70.0
    table.loc[6, "snr"] = 1.0
    table.loc[7, "silence"] = 60.0
    table.loc[8, "distance"] = 90.0
    found = {each.key: each for each in outliers(table)}
    assert {key: [each.clip for each in kind.first] for key, kind in found.items()} == {
        "duration": ["clip00003"],
        "rms": ["clip00005"],
        "snr": ["clip00006"],
        "silence": ["clip00007"],
        "distance": ["clip00008"],
    }
    assert (found["duration"].first[0].value, found["rms"].first[0].value) == ("40.00 s", "−70.0 dB")
    assert found["silence"].first[0].z is None


def test_a_high_snr_and_a_low_distance_are_no_reason_to_listen() -> None:
    corpus = corpus_of(crossed(10, 4))
    table = table_of(corpus)
    table.loc[6, "snr"] = 90.0
    table.loc[8, "distance"] = 1e-3
    found = {each.key: each.count for each in outliers(table)}
    assert (found["snr"], found["distance"]) == (0, 0)
    table["snr"] = np.nan
    assert "snr" not in {each.key for each in outliers(table)}
