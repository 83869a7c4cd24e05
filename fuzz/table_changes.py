"""Mutations of tables: columns, cells, rows, types and bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.cases import FREE, KEPT, WHOLE, short


@dataclass
class Made:
    """A table to be written to a file.

    Attributes:
        frame: the rows.
        suffix: file extension.
        how: description of the mutations.
        expect: expected result of reading it.
        spoil: mutation of the written bytes.
        named: options of CSV's writer.
    """

    frame: Any
    suffix: str
    how: list[str] = field(default_factory=list)
    expect: str = WHOLE
    spoil: Callable[[bytes], bytes] = lambda data: data
    named: dict[str, Any] = field(default_factory=dict)

    def did(self, how: str, expect: str) -> None:
        """Record a mutation; the weakest expectation counts."""
        self.how.append(how)
        self.expect = max(self.expect, expect, key=(WHOLE, KEPT, FREE).index)


def write(made: Made, path: Path) -> None:
    frame, buffer = made.frame, io.BytesIO()
    if made.suffix == ".parquet":
        frame.to_parquet(buffer, index=False)
    elif made.suffix == ".jsonl":
        frame.to_json(buffer, orient="records", lines=True)
    else:
        frame.to_csv(buffer, index=False, **made.named)
    path.write_bytes(made.spoil(buffer.getvalue()))


def _scores(made: Made) -> list[str]:
    return [str(name) for name in made.frame.columns if str(name).startswith(("logit_", "prob_"))]


def untouched(random: Random, made: Made, seeds: Path) -> None:
    made.did("untouched", WHOLE)


def _harmless(random: Random, made: Made, seeds: Path) -> None:
    """Harmless changes: order of rows and columns, additional columns, notation."""
    how = random.choice(("rows shuffled", "columns shuffled", "columns more", "index", "BOM", "quoted", "CRLF"))
    if how == "rows shuffled":
        order = list(range(len(made.frame)))
        random.shuffle(order)
        made.frame = made.frame.iloc[order]
    elif how == "columns shuffled":
        names = list(made.frame.columns)
        random.shuffle(names)
        made.frame = made.frame[names]
    elif how == "columns more":
        made.frame = made.frame.assign(remark="ok", gender="f", dataset=3)
    elif how == "index" and "Unnamed: 0" not in made.frame:
        made.frame.insert(0, "Unnamed: 0", range(len(made.frame)))
    elif made.suffix == ".csv":
        if how == "BOM":
            made.spoil = lambda data: b"\xef\xbb\xbf" + data
        elif how == "quoted":
            made.named["quoting"] = 1
        elif how == "CRLF":
            made.named["lineterminator"] = "\r\n"
    made.did(how, WHOLE)


def _named(random: Random, made: Made, seeds: Path) -> None:
    """Name the same clips in another way."""
    if "clip" not in made.frame:
        return made.did("clip gone", KEPT)
    ways: dict[str, Callable[[str], str]] = {
        "file names": lambda clip: f"{clip}.wav",
        "absolute": lambda clip: str(seeds / "corpus" / f"{clip}.wav"),
        "relative with ./": lambda clip: f"./{clip}.wav",
        "of another folder": lambda clip: f"clips/{clip}.wav",
        "other extension": lambda clip: f"{clip}.flac",
        "backslashes": lambda clip: f"corpus\\{clip}.wav",
        "upper case": str.upper,
    }
    how = random.choice(list(ways))
    column = random.choice(("clip", "path", "file", "filename", "Clip", "PATH"))
    made.frame = made.frame.assign(clip=made.frame["clip"].map(ways[how])).rename(columns={"clip": column})
    made.did(
        f"named: {how} in {column}",
        KEPT if how in ("of another folder", "other extension", "backslashes", "upper case") else WHOLE,
    )
    return None


def _hard(random: Random, made: Made, seeds: Path) -> None:
    """Labels without scores."""
    scores = _scores(made)
    if not scores:
        return
    labels = [name.partition("_")[2] for name in scores]
    best = made.frame[scores].to_numpy(dtype=float).argmax(axis=1)
    made.frame = made.frame.drop(columns=scores).assign(predicted=[labels[index] for index in best])
    made.did("only predicted", FREE)


def _drop_column(random: Random, made: Made, seeds: Path) -> None:
    name = random.choice(list(made.frame.columns))
    made.frame = made.frame.drop(columns=[name])
    made.did(f"column gone: {name}", FREE if name == "clip" else KEPT)


def _rename_column(random: Random, made: Made, seeds: Path) -> None:
    name = str(random.choice(list(made.frame.columns)))
    fresh = random.choice(
        (
            name.upper(),
            f" {name} ",
            f"{name}s",
            "",
            "logit_",
            "prob_",
            "logit_happy",
            "a\nb",
            "\x1b[31m",
            "clip",
            "x" * 500,
            "start",
        )
    )
    made.frame = made.frame.rename(columns={name: fresh})
    made.did(f"column renamed: {name} to {fresh[:12]!r}", FREE if name == "clip" or fresh == "clip" else KEPT)


def _cell(random: Random, made: Made, seeds: Path) -> None:
    """Change one cell, a few cells or a whole column."""
    frame = made.frame
    if not len(frame) or not len(frame.columns):
        return
    name = random.choice(list(frame.columns))
    value = random.choice(
        ("", " ", "nan", "NaN", "None", "inf", "-inf", "1e999", "-1", "0", "2", "1,5", "abc", "1e-400", "é", "a\nb",
         "\x00", "=1+1", "9" * 30, 2**63, -(2**70), 1e308, float("nan"), float("inf"), None, True, "\ud800",
         "0x10", "1_000")
    )  # fmt: skip
    places = range(len(frame)) if random.random() < 0.2 else random.sample(range(len(frame)), random.choice((1, 1, 5)))
    # Rows with renamed clips can still be counted if the names stay distinct.
    column = frame[name].astype(object).copy() if not hasattr(frame[name], "columns") else None
    if column is None:
        return
    for place in places:
        column.iloc[place] = value
    frame = frame.copy()
    frame[name] = column
    if made.suffix == ".parquet" or value == "\ud800":
        try:
            frame.to_parquet(io.BytesIO(), index=False)
        except Exception:
            frame[name] = frame[name].map(lambda each: repr(each))
    made.frame = frame
    made.did(
        f"cells of {name}: {len(places)} are {short(repr(value), 20)}",
        FREE if str(name) in ("clip", "side", "path") else KEPT,
    )


def _typed(random: Random, made: Made, seeds: Path) -> None:
    """Give a column another type that only Parquet has."""
    import pandas as pd
    import pyarrow as pa

    made.suffix = ".parquet"
    name = random.choice([*made.frame.columns, "label", "speaker", "fold", "seed", "side"])
    count = len(made.frame)
    kinds: dict[str, Callable[[], Any]] = {
        "structs": lambda: pd.Series([{"a": 1, "b": "x"}] * count),
        "lists": lambda: pd.Series([[1, 2]] * count),
        "dates": lambda: pd.Series(pd.date_range("2020-01-01", periods=count)),
        "spans": lambda: pd.Series(pd.to_timedelta(range(count), unit="s")),
        "zoned dates": lambda: pd.Series(pd.date_range("2020-01-01", periods=count, tz="Europe/Berlin")),
        "bytes": lambda: pd.Series([b"\xff\xfe"] * count),
        "decimals": lambda: pd.Series(pa.array([1] * count).cast(pa.decimal128(38, 2)).to_pandas()),
        "truth values": lambda: pd.Series([True, False] * (count // 2) + [True] * (count % 2)),
        "categories": lambda: pd.Series(["1"] * count).astype("category"),
        "half floats": lambda: pd.Series(np.linspace(0, 1, count).astype(np.float16)),
        "unsigned": lambda: pd.Series(np.full(count, 2**64 - 1, np.uint64)),
        "nothing": lambda: pd.Series([None] * count),
        "nullable numbers": lambda: pd.Series([1, None] * (count // 2) + [1] * (count % 2), dtype="Int64"),
        "complex text": lambda: pd.Series(["1+2j"] * count),
    }
    how = random.choice(list(kinds))
    if name not in made.frame or not hasattr(made.frame[name], "columns"):
        made.frame = made.frame.reset_index(drop=True).assign(**{str(name): kinds[how]().reset_index(drop=True)})
    made.did(f"typed: {name} holds {how}", FREE if str(name) in ("clip", "side", "path") else KEPT)


def _rows(random: Random, made: Made, seeds: Path) -> None:
    """Duplicate, remove or add rows, or use unknown clips."""
    import pandas as pd

    frame = made.frame
    how = random.choice(("double", "double, other scores", "half", "none", "one", "unknown clips", "one label", "dev"))
    if how == "double":
        frame = pd.concat([frame, frame.iloc[:2]])
    elif how == "double, other scores":
        again = frame.iloc[:2].copy()
        for name in _scores(made):
            again[name] = again[name].iloc[::-1].to_numpy() if len(again) else again[name]
        frame = pd.concat([frame, again])
    elif how == "half":
        frame = frame.iloc[: len(frame) // 2]
    elif how == "none":
        frame = frame.iloc[:0]
    elif how == "one":
        frame = frame.iloc[:1]
    elif how == "unknown clips" and "clip" in frame:
        fresh = frame.iloc[:3].copy()
        fresh["clip"] = ["nobody_1", "nobody_2", "nobody_3"][: len(fresh)]
        frame = pd.concat([frame, fresh])
    elif how == "one label" and "label" in frame:
        frame = frame[frame["label"] == "calm"]
    elif how == "dev":
        sides = ["dev" if index % 3 == 0 else "test" for index in range(len(frame))]
        frame = frame.assign(side=sides)
    made.frame = frame
    made.did(f"rows: {how}", FREE if how == "dev" else KEPT)


def _labels(random: Random, made: Made, seeds: Path) -> None:
    """Make labels or speakers almost equal, unknown, or partly missing."""
    name = random.choice(("label", "speaker"))
    if name not in made.frame:
        return _cell(random, made, seeds)
    column = made.frame[name].astype(str).copy()
    how = random.choice(("upper case", "blanks", "unknown", "missing for some", "numbers", "fewer than ten"))
    if how == "upper case":
        column.iloc[::2] = column.iloc[::2].str.upper()
    elif how == "blanks":
        column.iloc[::2] = column.iloc[::2] + " "
    elif how == "unknown":
        column.iloc[:3] = "somebody"
    elif how == "missing for some":
        column = column.astype(object)
        column.iloc[:4] = None
    elif how == "numbers":
        column = column.map({value: index for index, value in enumerate(sorted(set(column)))})
    else:
        column = column.map(lambda value: value[:2])
    made.frame = made.frame.assign(**{name: column})
    made.did(f"{name}s: {how}", KEPT)
    return None


def _keys(random: Random, made: Made, seeds: Path) -> None:
    """Change folds, seeds and subsets to valid and invalid values."""
    name = random.choice(("fold", "seed", "side"))
    value: Any = random.choice(
        (0, 1, -1, 1.5, 2**62, 2**63, "1", "x", "", None, float("nan"), "test", "dev", "train", "TEST", [1], True)
    )
    if made.suffix != ".parquet" and isinstance(value, list):
        value = "[1]"
    column: Any = [value] * len(made.frame)
    if random.random() < 0.3 and column:
        column[0] = "other" if isinstance(value, str) else None
    made.frame = made.frame.assign(**{name: column})
    made.did(f"{name} is {value!r}", FREE if name == "side" else KEPT)


def _bytes(random: Random, made: Made, seeds: Path) -> None:
    """Truncate, flip, re-encode or replace the written file."""
    how = random.choice(
        ("cut", "flipped", "zeroed", "empty", "text", "UTF-16", "Latin-1", "semicolons", "tabs", "a null byte",
         "one quote", "ragged", "pointer", "wrong suffix", "no header", "metadata", "blank lines", "huge field", "NULs")
    )  # fmt: skip
    number = random.random()

    def spoil(data: bytes) -> bytes:
        place = int(number * len(data))
        if how == "cut":
            return data[:place]
        if how == "flipped":
            return data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :] if data else data
        if how == "zeroed":
            return data[:place] + bytes(min(64, len(data) - place)) + data[place + 64 :]
        if how == "metadata":
            # Damage pandas' metadata about the columns.
            return data.replace(b'"pandas_type"', b'"pandas_typo"').replace(b'"columns"', b'"colunms"')
        line = data.find(b"\n", place) + 1
        return {
            "empty": b"",
            "text": b"nothing of the kind\n",
            "UTF-16": _recoded(data, "utf-16"),
            "Latin-1": data.replace(b"happy", "fröhlich".encode("latin-1")),
            "semicolons": data.replace(b",", b";"),
            "tabs": data.replace(b",", b"\t"),
            "a null byte": data[:place] + b"\0" + data[place:],
            "one quote": data[:line] + b'"' + data[line:],
            "ragged": data[:line] + b"a,b\n" + data[line:],
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
            "no header": data.partition(b"\n")[2],
            "blank lines": data.replace(b"\n", b"\n\n"),
            "huge field": data[:line] + b"x" * 300_000 + data[line:],
            "NULs": bytes(4096),
        }.get(how, data)

    made.spoil = spoil
    if how == "wrong suffix":
        made.did(f"bytes: {made.suffix[1:]} under another name", FREE)
        kinds = [".csv", ".parquet", ".jsonl", ".txt", ".CSV", ".xlsx", ".json", ""]
        written, made.suffix = made.suffix, random.choice(kinds)
        if written == ".parquet" and made.suffix != ".parquet":
            made.spoil = lambda data: b"PAR1" + data
        return
    made.did(f"bytes: {how}", FREE)


def _recoded(data: bytes, name: str) -> bytes:
    return data.decode("utf-8", "replace").encode(name, "replace")


def _values(random: Random, made: Made, seeds: Path) -> None:
    """Make scores invalid or barely valid."""
    scores = _scores(made)
    if not scores or not len(made.frame):
        return
    how = random.choice(("all zero", "all equal", "huge", "tiny", "no sum", "negative", "above one", "rounded", "text"))
    frame = made.frame.copy()
    numbers: dict[str, Any] = {
        "all zero": 0.0, "all equal": 1 / len(scores), "huge": 1e300, "tiny": 1e-320, "negative": -0.1,
        "above one": 1.5,
    }  # fmt: skip
    if how in numbers:
        frame[scores] = numbers[how]
    elif how == "no sum":
        frame[scores] = frame[scores] * 0.5
    elif how == "rounded":
        frame[scores] = frame[scores].astype(float).round(2)
    else:
        frame[scores[0]] = frame[scores[0]].map(lambda value: f"{value} %")
    made.frame = frame
    made.did(f"values: {how}", KEPT)


GENERAL: tuple[Callable[[Random, Made, Path], None], ...] = (
    _drop_column, _rename_column, _cell, _cell, _typed, _rows, _labels, _bytes, _bytes,
)  # fmt: skip
"""Changes that make sense for a table of clips too."""

CHANGES: tuple[Callable[[Random, Made, Path], None], ...] = (
    untouched, _harmless, _harmless, _named, _named, _hard, _drop_column, _rename_column, _rename_column, _cell, _cell,
    _cell, _typed, _typed, _typed, _rows, _rows, _labels, _keys, _keys, _bytes, _bytes, _bytes, _values,
)  # fmt: skip
