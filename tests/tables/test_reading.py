"""Tables from users: any content ends in a table or in one sentence, without warnings."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import UserError
from serlab.tables.cells import numbers_of, text_of
from serlab.tables.reading import parse, read_table


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "clip,label\na,sad\nb,calm\n",
        "\ufeffclip,label\na,sad\nb,calm\n",
        " clip ,label \r\n a,sad \r\nb , calm\r\n",
        "clip,label\ra,sad\rb,calm",
        '\n\n"clip","label"\n"a","sad"\n\nb,calm\n\n',
        "clip,label,,\na,sad,,\nb,calm,,\n",
    ],
)
def test_csv_as_programs_write_it(tmp_path: Path, content: str) -> None:
    table = read_table(written(tmp_path, content))
    assert table.to_dict("list") == {"clip": ["a", "b"], "label": ["sad", "calm"]}


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("", "t.csv", "it is empty; expected CSV with commas"),
        ("\n \n", "t.csv", "it is empty; expected CSV with commas"),
        ("Unnamed: 0,\n1,2\n", "t.csv", "it has no column with a name"),
        ("a;b\n1;2\n", "t.csv", "has semicolons between its columns; re-save it with commas"),
        ("a\tb\n1\t2\n", "t.csv", "has tabs between its columns"),
        ("a,b\n1,2,3\n", "t.csv", "line 2 has 3 cells, the first line 2"),
        ('a,b\n1,"2\n3,4\n', "t.csv", "line 3: unexpected end of data"),
        ("a,b,a\n1,2,3\n", "t.csv", "more than one column 'a'"),
        ("a," + "x" * 100_000 + "\n1,2\n", "t.csv", "a column whose name has 100,000 characters"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "t.csv", "line 2: field larger than field limit"),
        ("a,b\nü,1\n".encode("latin-1"), "t.csv", "is not UTF-8; re-save it"),
        ("a,b\nü,1\n".encode("utf-16"), "t.csv", "is not UTF-8"),
        ("a,b\nu,1\n".encode("utf-16-le"), "t.csv", "contains zero bytes"),
        ("a,b\n\0,1\n", "t.csv", "contains zero bytes"),
        (b"PK\x03\x04rest", "t.xlsx", "it is a spreadsheet or a ZIP archive; save it as CSV"),
        (b"\x1f\x8brest", "t.csv.gz", "it is compressed; unpack it"),
        (b"PARErest", "t.parquet", "it is encrypted"),
        (b"PAR1", "t.parquet", "cannot read the table .*; expected Parquet or CSV with commas"),
        ("a,b\n1,2\n", "t.parquet", "expected Parquet or CSV with commas"),
        ('{"a": 1}\n{"a": \n', "t.jsonl", "line 2: .*; expected one JSON object per line"),
        ("[1]\n", "t.jsonl", "entry 1 is not an object"),
        ("[" * 100_000, "t.jsonl", "expected one JSON object per line"),
        ('{"a": 1, "a": 2}', "t.jsonl", "line 1: it has a duplicate key"),
        ('{"a": ' + "9" * 5000 + "}", "t.jsonl", "expected one JSON object per line"),
        ('{"model": "m"}', "t.json", "it has no list of predictions"),
    ],
)
def test_what_is_not_a_table_is_reported_in_a_sentence(
    tmp_path: Path, content: str | bytes, name: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read_table(written(tmp_path, content, name))
    assert str(caught.value).count("\n") == 0
    assert str(tmp_path / name) in str(caught.value)


def test_what_is_not_a_file_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for path, sentence in (
        (tmp_path / "none.csv", "there is no table"),
        (tmp_path, "is a folder; expected a CSV file"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / "loop.csv", "cannot read the table"),
        (tmp_path / "a\0b", "cannot read the table"),
    ):
        with pytest.raises(UserError, match=sentence):
            read_table(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), 2**40)
    with pytest.raises(UserError, match="larger than 256 MB"):
        read_table(path)


def test_a_table_may_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"printf 'a,b\\n1,2\\n' > '{pipe}'"]):
        assert read_table(pipe).to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_nameless_columns_and_empty_rows_are_left_out_and_reported(tmp_path: Path, capsys) -> None:
    content = "Unnamed: 0,clip,label,\n0,a,sad,\n1,,,\n2,b,calm,\n,,,\n"
    table = read_table(written(tmp_path, content))
    assert table.to_dict("list") == {"clip": ["a", "b"], "label": ["sad", "calm"]}
    assert list(table.index) == [0, 2]
    assert "t.csv: 2 columns without a name and 2 empty rows left out." in capsys.readouterr().err
    pd.DataFrame({"clip": ["a", "b"]}, index=[5, 6]).to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == ["clip"]
    assert "1 column without a name left out" in capsys.readouterr().err


def test_json_lines_of_predict_are_as_its_csv(tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "label": "sad", "probabilities": {"calm": 0.25, "sad": 0.75}},
        {"path": "b.wav", "label": None, "probabilities": {"calm": 0.5, "sad": 0.5}},
    ]
    lines = written(tmp_path, "".join(f"{json.dumps(row)}\n" for row in rows), "t.jsonl")
    whole = written(tmp_path, json.dumps({"model": "m", "predictions": rows, "excluded": []}), "t.json")
    for path in (lines, whole):
        table = read_table(path)
        assert list(table.columns) == ["path", "predicted", "prob_calm", "prob_sad"]
        assert table["predicted"].tolist() == ["sad", None]
        assert table["prob_sad"].tolist() == [0.75, 0.5]


def parquet(folder: Path, **columns: pa.Array) -> Path:
    path = folder / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


COLUMNS = {
    "text": (pa.array(["x", None]), ["x", ""]),
    "dictionary": (pa.array(["x", None]).dictionary_encode(), ["x", ""]),
    "whole": (pa.array([12, None]), ["12", ""]),
    "huge": (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
    "floats of whole numbers": (pa.array([12.0, None]), ["12", ""]),
    "floats": (pa.array([0.5, 1e30]), ["0.5", "1e+30"]),
    "truth": (pa.array([True, None]), ["True", ""]),
    "nothing": (pa.array([None, None]), ["", ""]),
    "durations": (pa.array([datetime.timedelta(days=99_999), None]), ["8639913600", ""]),
    "durations in ns": (pa.array([1_500_000_000, 0], pa.duration("ns")), ["1.5", "0"]),
    "decimals": (pa.array([Decimal("0.50"), None]), ["0.50", ""]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_parquet_as_text(tmp_path: Path, kind: str) -> None:
    values, texts = COLUMNS[kind]
    table = read_table(parquet(tmp_path, clip=pa.array(["a", "b"]), column=values))
    assert text_of(table["column"], "t").tolist() == texts


@pytest.mark.parametrize(
    "values",
    [
        pa.array([{"a": 1}]),
        pa.array([[1, 2]]),
        pa.array([b"\xff"]),
        pa.array([datetime.date(9999, 1, 1)]),
        pa.array([10**18], pa.timestamp("us")),
    ],
)
def test_a_column_of_parquet_without_text_is_refused_only_if_it_is_used(tmp_path: Path, values: pa.Array) -> None:
    table = read_table(parquet(tmp_path, clip=pa.array(["a"]), column=values))
    assert text_of(table["clip"], "t").tolist() == ["a"]
    with pytest.raises(UserError, match="the column 'column' of t holds values of the type"):
        text_of(table["column"], "t")
    with pytest.raises(UserError, match="t has a score that is not a number: values of the type"):
        numbers_of(table, ["column"], "t")


def test_what_pandas_has_noted_in_parquet_may_be_wrong(tmp_path: Path) -> None:
    for noted in (b"{", b'{"index_columns": ["zz"]}', b"\xff"):
        table = pa.table({"clip": ["a"]}).replace_schema_metadata({b"pandas": noted})
        pq.write_table(table, tmp_path / "t.parquet")
        assert read_table(tmp_path / "t.parquet").to_dict("list") == {"clip": ["a"]}


def test_parquet_with_a_column_twice_or_more_rows_than_memory_holds(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"])] * 2, names=["x", "x"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="more than one column 'x'"):
        read_table(tmp_path / "t.parquet")
    pq.write_table(pa.table({"x": pa.repeat(1, 21_000_000)}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    with pytest.raises(UserError, match="more than 20,000,000 cells"):
        read_table(tmp_path / "t.parquet")


@given(st.binary(max_size=200), st.sampled_from([".csv", ".jsonl", ".json", ".parquet"]))
def test_any_bytes_end_in_a_table_or_a_sentence(content: bytes, ending: str) -> None:
    head = b"PAR1" if ending == ".parquet" else b""
    with suppress(UserError):
        table = parse(head + content, Path(f"t{ending}"))
        assert all(isinstance(name, str) for name in table.columns)


def test_a_text_longer_than_any_name_is_refused_without_repeating_it(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, json.dumps({"clip": "x" * 1_000_000}), "t.jsonl"))
    with pytest.raises(UserError, match="a cell of 1,000,000 characters") as caught:
        text_of(table["clip"], "t")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("cell", "remedy"), [("0,5", "; write 0.5"), ("50 %", "; write percentages as fractions"), ("much", "")]
)
def test_a_number_that_is_none_is_named_with_its_row(cell: str, remedy: str) -> None:
    table = pd.DataFrame({"p": ["0.1", cell]}, index=[0, 4])
    with pytest.raises(UserError, match=rf"not a number: '{cell}' in the column 'p', row 5{remedy}"):
        numbers_of(table, ["p"], "t.csv")


def test_json_lines_may_be_called_json(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"clip": "a", "predicted": "sad"}\n{"clip": "b", "predicted": "calm"}\n')
    assert read_table(path)["clip"].tolist() == ["a", "b"]
    path.write_text('[{"clip": "a"}, {"clip": "b"}]')
    assert read_table(path)["clip"].tolist() == ["a", "b"]
    path.write_text('{"clip": "a"}\n{"clip": \n')
    with pytest.raises(UserError, match=r"line 2: .*; expected one JSON object per line"):
        read_table(path)
