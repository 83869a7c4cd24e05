"""Databases in audformat, in the form that ``audb`` writes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus

FILES = "file,duration,speaker,transcription\n" + "".join(
    f"wav/{who}{code}.wav,0 days 00:00:01,{who},a01\n" for who in (3, 8) for code in "WFN"
)
EMOTION = "file,emotion,emotion.confidence\n" + "".join(
    f"wav/{who}{code}.wav,{label},0.9\n"
    for who in (3, 8)
    for code, label in (("W", "anger"), ("F", "happiness"), ("N", "neutral"))
)


@pytest.fixture
def database(tmp_path, make_tone, monkeypatch):
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "emodb"
    for place, name in enumerate(f"{who}{code}" for who in (3, 8) for code in "WFN"):
        make_tone(folder / "wav" / f"{name}.wav", seconds=1, hz=200 + 40 * place)
    (folder / "db.yaml").write_text("name: emodb\nsource: http://emodb.bilderbar.info\n", encoding="utf-8")
    (folder / "db.files.csv").write_text(FILES, encoding="utf-8")
    (folder / "db.emotion.csv").write_text(EMOTION, encoding="utf-8")
    (folder / "db.emotion.categories.train.csv").write_text(EMOTION, encoding="utf-8")
    return folder


def test_labels_and_speakers_come_from_their_tables(database, capsys):
    corpus = load_corpus(str(database))
    assert corpus.labels == ("anger", "happiness", "neutral")
    assert corpus.clips["clip"].tolist() == ["wav/3F", "wav/3N", "wav/3W", "wav/8F", "wav/8N", "wav/8W"]
    assert corpus.clips["speaker"].tolist() == ["3"] * 3 + ["8"] * 3
    said = capsys.readouterr().err
    assert "labels are from db.emotion.csv, not from db.emotion.categories.train.csv" in said
    assert "speakers are from db.files.csv" in said


def test_segments_are_cut(database):
    rows = ["file,start,end,emotion"]
    rows += ["wav/3W.wav,0 days 00:00:00,0 days 00:00:00.400000,anger", "wav/3W.wav,0 days 00:00:00.400000,NaT,neutral"]
    (database / "db.emotion.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    clips = load_corpus(str(database)).clips
    assert clips["duration"].tolist() == [0.4, 0.6]
    assert clips["speaker"].tolist() == ["3", "3"]


def test_no_labels(database):
    for path in database.glob("db.emotion*.csv"):
        path.unlink()
    with pytest.raises(UserError, match=r"no table db.* of .*emodb has the columns file and emotion"):
        load_corpus(str(database))


def test_a_table_of_nkululeko(database):
    lines = [f"emodb/wav/{who}{code}.wav,{who},female,{code}" for who in (3, 8) for code in "WFN"]
    path = database.parent / "data.csv"
    path.write_text("file,speaker,gender,emotion\n" + "\n".join(lines) + "\n", encoding="utf-8")
    corpus = load_corpus(str(path))
    assert corpus.labels == ("F", "N", "W")
    assert corpus.clips["speaker"].tolist() == ["3"] * 3 + ["8"] * 3


def as_parquet(folder, **columns):
    """Write what audformat 1.4.3 writes for segments: dictionaries of strings, and durations in ns."""
    times = {name: pa.array(columns[name], pa.duration("ns")) for name in ("start", "end")}
    labels = pa.array(columns["emotion"]).dictionary_encode()
    table = pa.table({"file": pa.array(columns["file"], pa.large_string()), **times, "emotion": labels})
    pq.write_table(table, folder / "db.emotion.parquet")


def test_tables_in_parquet_with_durations(database):
    (database / "db.emotion.csv").unlink()
    (database / "db.emotion.categories.train.csv").unlink()
    half = 500_000_000
    as_parquet(
        database,
        file=["wav/3W.wav", "wav/3W.wav", "wav/8N.wav"],
        start=[0, half, half // 2],
        end=[half, None, half],
        emotion=["anger", "neutral", "neutral"],
    )
    clips = load_corpus(str(database)).clips
    assert clips["clip"].tolist() == ["wav/3W-0000000-0000500", "wav/3W-0000500-0001000", "wav/8N-0000250-0000500"]
    assert clips["duration"].tolist() == [0.5, 0.5, 0.25]
    assert clips["speaker"].tolist() == ["3", "3", "8"]


def test_the_header_of_other_programs(database):
    (database / "db.yaml").rename(database / "header.yaml")
    assert len(load_corpus(str(database)).clips) == 6


def test_pickles_are_not_read(database):
    for path in database.glob("db.*.csv"):
        path.rename(path.with_suffix(".pkl"))
    with pytest.raises(UserError, match=r"has no table db.\*.csv or db.\*.parquet; write .*reads no pickles"):
        load_corpus(str(database))
