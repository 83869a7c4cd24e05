"""Tables of clips from users: unused columns are listed, and no cell causes a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serlab.core import UserError
from serlab.corpora import Columns
from serlab.corpora.listed import read_listed

ROWS = pd.DataFrame({"path": ["a.wav", "b.wav", "sub/c.wav"], "label": ["x", "y", "x"], "speaker": ["s1", "s2", "s1"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ROWS["path"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, table: pd.DataFrame):
    table.to_csv(folder / "t.csv", index=False)
    return read_listed(folder / "t.csv", Columns())


def refused(folder: Path, table: pd.DataFrame) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, table)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def test_columns_that_are_not_used_are_named_once(folder, capsys):
    table = ROWS.rename(columns={"speaker": "spk"}).assign(age=3, split="train")
    for _ in range(2):
        assert list(read(folder, table).clips) == ["path", "label"]
    said = capsys.readouterr().err
    assert said.count("columns not used: spk, age, split; the column 'spk' looks like the speakers") == 1
    assert "rename it speaker" in said
    assert "give a CSV as the protocol" in said


def test_usual_names_are_taken_in_any_case(folder):
    table = ROWS.rename(columns={"path": "FileName", "label": "Label", "speaker": "Actor"})
    assert list(read(folder, table).clips) == ["path", "label", "speaker"]


def test_empty_rows_and_nameless_columns_are_left_out_and_errors_count_them(folder, capsys):
    head, *rows = ROWS.to_csv(index=False).splitlines()
    text = [f"{head},,", *(f"{row},,3" for row in rows[:1]), ",,,,", ",,,,", *(f"{row},," for row in rows[1:])]
    (folder / "t.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    listed = read_listed(folder / "t.csv", Columns())
    assert listed.rows == [1, 4, 5]
    assert "2 columns without a name and 2 empty rows left out" in capsys.readouterr().err
    text[-1] = "sub/c.wav,,s1,,"
    (folder / "t.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"row 5 of the table .* is empty in the column 'label'"):
        read_listed(folder / "t.csv", Columns())


def test_other_spellings_of_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    table = ROWS.assign(path=["~/a.wav", str(folder / "b.wav"), "sub\\c.wav"])
    assert read(folder, table).clips["path"].tolist() == [str(folder / name) for name in ROWS["path"]]


def test_a_name_in_composed_letters_finds_a_file_in_decomposed_ones(folder):
    (folder / "Mu\u0308ller.wav").touch()
    for name in ("M\u00fcller.wav", "Mu\u0308ller.wav"):
        assert read(folder, ROWS.assign(path=["a.wav", "b.wav", name])).clips["path"][2].endswith("Mu\u0308ller.wav")


def test_a_column_that_is_named_must_be_there_even_if_its_name_is_the_usual_one(folder):
    ROWS.rename(columns={"label": "emotion", "speaker": "actor"}).to_csv(folder / "t.csv", index=False)
    for columns in (Columns(label="label"), Columns(speaker="speaker"), Columns(path="file")):
        with pytest.raises(UserError, match=r"has no column '(label|speaker|file)' for the"):
            read_listed(folder / "t.csv", columns)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("https://example.org/a.wav", "1 of the 3 files .* download them first"),
        ("s3://bucket/a.wav", "download them first"),
        ("C:\\data\\a.wav", "do not exist"),
        ("~nobody-of-that-name/a.wav", "do not exist"),
        ("x" * 300, "do not exist"),
        ("sub", "which is a folder; expected one file per row"),
    ],
)
def test_paths_that_lead_to_no_file(folder, path, words):
    with pytest.raises(UserError, match=words):
        read(folder, ROWS.assign(path=[path, "b.wav", "sub/c.wav"]))


def test_links_to_nothing_are_there_and_left_to_the_screening(folder):
    (folder / "gone.wav").symlink_to("/nowhere.wav")
    assert read(folder, ROWS.assign(path=["gone.wav", "b.wav", "sub/c.wav"])).clips["path"][0].endswith("gone.wav")


def test_a_label_is_a_word(folder):
    assert "row 2" in refused(folder, ROWS.assign(label=["x", "y" * 200, "z"]))


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([["x"], ["y"], ["x"]]),
        pa.array([{"a": 1}, {"a": 2}, {"a": 1}]),
        pa.array([b"x", b"y", b"x"]),
        pa.array([1, 2, 1], pa.int32()).cast(pa.date32()),
        pa.array([1, 2, 1], pa.timestamp("s")),
        pa.array([[("a", 1)], [], []], pa.map_(pa.string(), pa.int64())),
    ],
)
def test_columns_of_anything_but_text_and_numbers_are_refused_where_they_are_used(folder, cells):
    table = pa.table({"path": ROWS["path"].tolist(), "label": ["x", "y", "x"], "more": cells})
    pq.write_table(table, folder / "t.parquet")
    assert read_listed(folder / "t.parquet", Columns()).clips["label"].tolist() == ["x", "y", "x"]
    pq.write_table(table.set_column(1, "label", cells), folder / "t.parquet")
    with pytest.raises(UserError, match="label"):
        read_listed(folder / "t.parquet", Columns())


def test_a_pipe_named_like_a_table_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(UserError, match="not a regular file"):
        read_listed(folder / "pipe.csv", Columns())
