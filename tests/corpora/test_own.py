from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlab.core import UserError
from serlab.corpora import Columns, load_corpus, own
from serlab.corpora.scan import recordings_of

ROWS = [("a/1.wav", "happy", "ann"), ("a/2.wav", "calm", "ann"), ("b/1.wav", "happy", "bob")]


@pytest.fixture
def audio_files(tmp_path, make_tone):
    for number, (name, _, _) in enumerate(ROWS):
        make_tone(tmp_path / name, seconds=0.5 + number / 10, rate=8000)
    return tmp_path


@pytest.fixture
def table():
    return pd.DataFrame(ROWS, columns=["path", "label", "speaker"])


def refused(path, columns=None) -> str:
    with pytest.raises(UserError) as caught:
        load_corpus(str(path), columns=columns)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_the_user(audio_files, table, suffix):
    path = audio_files / f"my corpus{suffix}"
    table = table.assign(sentence=["x", "y", "x"])
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    corpus = load_corpus(str(path))
    assert corpus.name == "my-corpus"
    assert corpus.labels == ("calm", "happy")
    assert corpus.speakers_known
    assert corpus.sentences_known
    clips = corpus.clips
    assert clips["clip"].tolist() == ["a/1", "a/2", "b/1"]
    assert clips["label"].tolist() == ["happy", "calm", "happy"]
    assert clips["speaker"].tolist() == ["ann", "ann", "bob"]
    assert clips["path"].tolist() == [str(audio_files / name) for name, _, _ in ROWS]
    np.testing.assert_allclose(clips["duration"], [0.5, 0.6, 0.7])
    assert corpus.copy == "the user's own 8,000 Hz WAV files"
    assert len(corpus.fingerprint) == 64


def test_columns_can_be_named_and_rows_come_in_any_order(audio_files, table):
    named = table.rename(columns={"path": "file", "label": "emotion", "speaker": "who"}).iloc[::-1]
    named.to_csv(audio_files / "t.csv", index=False)
    table.to_csv(audio_files / "u.csv", index=False)
    corpus = load_corpus(str(audio_files / "t.csv"), columns=Columns("file", "emotion", "who"))
    pd.testing.assert_frame_equal(corpus.clips, load_corpus(str(audio_files / "u.csv")).clips)
    assert "'who'" in refused(audio_files / "u.csv", Columns(speaker="who"))


def test_paths_may_be_absolute_or_lie_outside(audio_files, table):
    (audio_files / "lists").mkdir()
    table["path"] = [str(audio_files / "a/1.wav"), "../a/2.wav", "../lists/../b/1.wav"]
    table.to_csv(audio_files / "lists/t.csv", index=False)
    assert load_corpus(str(audio_files / "lists/t.csv")).clips["clip"].tolist() == ["../a/1", "../a/2", "../b/1"]


def test_labels_that_look_like_missing_values_or_numbers_are_labels(audio_files, table):
    table.assign(label=["NA", " none ", "3"]).to_csv(audio_files / "t.csv", index=False, encoding="utf-8-sig")
    assert load_corpus(str(audio_files / "t.csv")).labels == ("3", "NA", "none")


@pytest.fixture
def label_folders(tmp_path, make_tone):
    for name in ("joy/1.wav", "joy/2.flac", "rage/1.mp3"):
        make_tone(tmp_path / "calls" / name)
    (tmp_path / "calls/readme.txt").touch()
    return tmp_path / "calls"


def test_a_folder_of_label_folders(label_folders, capsys):
    own._warn_speakers_unknown.cache_clear()
    corpus = load_corpus(str(label_folders))
    assert corpus.name == "calls"
    assert corpus.labels == ("joy", "rage")
    assert corpus.clips["clip"].tolist() == ["joy/1", "joy/2", "rage/1"]
    assert corpus.clips["speaker"].tolist() == ["", "", ""]
    assert not corpus.speakers_known
    assert not corpus.sentences_known
    load_corpus(str(label_folders))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("has no speakers") == 1


def test_the_current_folder_has_a_name_too(label_folders, monkeypatch):
    monkeypatch.chdir(label_folders)
    assert load_corpus(".").name == "calls"


def test_a_corpus_never_takes_a_known_ones_name(label_folders, monkeypatch):
    label_folders.rename(label_folders.with_name("synthetic"))
    monkeypatch.chdir(label_folders.parent)
    assert load_corpus("./synthetic").name == "synthetic-own"


def test_broken_files_stay_in_the_table(label_folders):
    (label_folders / "joy/3.wav").write_text("not audio")
    clips = load_corpus(str(label_folders)).clips.set_index("clip")
    assert len(clips) == 4
    assert np.isnan(clips.loc["joy/3", "duration"])
    assert clips.loc["joy/3", "sample_rate"] == 0
    assert len(clips.loc["joy/3", "sha256"]) == 64


def test_folders_that_cannot_be_a_corpus(tmp_path, make_tone, label_folders):
    (tmp_path / "empty").mkdir()
    assert "holds no audio" in refused(tmp_path / "empty")
    make_tone(tmp_path / "one" / "joy" / "1.wav")
    assert "only the label 'joy'" in refused(tmp_path / "one")
    make_tone(label_folders / "joy" / "1.flac")
    message = refused(label_folders)
    assert "1.flac" in message
    assert "1.wav" in message
    assert "'joy/1'" in message
    make_tone(tmp_path / "flat" / "1.wav")
    assert "is not in a label's folder" in refused(tmp_path / "flat")
    make_tone(tmp_path / "deep" / "joy" / "ann" / "1.wav")
    assert "deeper than label/clip" in refused(tmp_path / "deep")
    assert "no columns" in refused(label_folders, Columns())


def test_tables_that_cannot_be_a_corpus(audio_files, table, make_tone):
    path = audio_files / "t.csv"
    assert refused(path) == f"there is no folder or table {path}."

    table.drop(columns="label").to_csv(path, index=False)
    assert refused(path) == f"the table {path} has no column 'label' for the label (it has: path, speaker)."
    table[:0].to_csv(path, index=False)
    assert "is empty; expected one row per clip" in refused(path)
    table.assign(label="happy").to_csv(path, index=False)
    assert "only the label 'happy'" in refused(path)
    table.assign(label=["happy", "", "calm"]).to_csv(path, index=False)
    assert refused(path).startswith(f"row 2 of the table {path}")
    table.assign(speaker=["ann", "bob", None]).to_csv(path, index=False)
    assert "row 3" in refused(path)
    table.assign(path=["a/1.wav", "a/7.wav", "a/8.wav"]).to_csv(path, index=False)
    assert f"2 of the 3 files that {path} names do not exist, first {audio_files / 'a/7.wav'};" in refused(path)
    pd.concat([table, table[:1]]).to_csv(path, index=False)
    assert f"row 4 of the table {path} (its header not counted) names {audio_files / 'a/1.wav'} again" in refused(path)
    make_tone(audio_files / "a/1.flac")
    pd.concat([table, table[:1].assign(path="a/1.flac")]).to_csv(path, index=False)
    assert "would both be the clip 'a/1'" in refused(path)


def test_tables_that_cannot_be_read(audio_files):
    path = audio_files / "t.csv"
    path.write_bytes("path,label\na/1.wav,fröhlich\n".encode("latin-1"))
    assert "not UTF-8" in refused(path)
    path.write_bytes(b"")
    assert "cannot read the table" in refused(path)
    path.write_text("path,label\na/1.wav,happy,too,many\n")
    assert "cannot read the table" in refused(path)
    (audio_files / "t.parquet").write_text("no parquet")
    assert "cannot read the table" in refused(audio_files / "t.parquet")
    assert "is not a folder, and its name does not end in .csv or .parquet" in refused(audio_files / "a/1.wav")


# --- nothing is lost
# -----------------------------------------------------------------------------------------------


def test_every_recording_of_a_folder_is_a_clip_or_listed(label_folders, make_tone, tmp_path, capsys):
    (label_folders / "joy/3.m4a").write_bytes(b"not read without an extra")
    (label_folders / "joy/4.wav").symlink_to("../.git/annex/objects/xx/K.wav/K.wav")
    os.mkfifo(label_folders / "rage/5.wav")
    make_tone(label_folders / "rage/.6.wav")
    make_tone(tmp_path / "store/calm/7.wav")
    (label_folders / "calm").symlink_to(tmp_path / "store/calm")
    (label_folders / "empty").mkdir()
    (label_folders / "gone").symlink_to("/nowhere/gone")
    (label_folders / "later.dvc").write_text("outs:\n")
    corpus = load_corpus(str(label_folders))
    assert corpus.labels == ("calm", "joy", "rage")
    assert corpus.clips["clip"].tolist() == ["calm/7", "joy/1", "joy/2", "joy/3", "joy/4", "rage/1", "rage/5"]
    assert {entry.clip: entry.reason for entry in corpus.excluded} == {
        "empty": "a folder without audio",
        "gone": "a link to a file or folder that is not there",
        "later.dvc": "a DVC pointer without its data (dvc pull fetches it)",
        "rage/.6.wav": "hidden (its name begins with a dot)",
    }
    assert set(corpus.lost) == {"empty", "gone", "later"}
    said = capsys.readouterr().err
    assert all(f"left out: {label_folders / name} (" in said for name in ("empty", "gone", "rage/.6.wav"))


def test_names_that_are_not_utf8_are_listed(label_folders):
    odd = os.fsencode(label_folders / "joy") + b"/caf\xe9.wav"
    shutil.copy(label_folders / "joy/1.wav", odd)
    odd = Path(os.fsdecode(os.fsencode(label_folders) + b"/f\xe4r"))
    odd.mkdir()
    shutil.copy(label_folders / "joy/1.wav", odd / "1.wav")
    corpus = load_corpus(str(label_folders))
    assert {entry.clip for entry in corpus.excluded} == {"joy/caf\\xe9.wav", "f\\xe4r/1.wav"}
    assert set(corpus.lost) == {"f\\xe4r"}
    moved = Path(os.fsdecode(os.fsencode(label_folders.parent) + b"/n\xf6"))
    assert "is not UTF-8" in refused(label_folders.rename(moved))


def test_a_label_folder_without_clips_is_named_where_one_label_is_left(tmp_path, make_tone):
    make_tone(tmp_path / "one/joy/1.wav")
    (tmp_path / "one/rage").mkdir()
    assert "only the label 'joy' (rage: a folder without audio)" in refused(tmp_path / "one")
    (tmp_path / "none/rage").mkdir(parents=True)
    (tmp_path / "none/rage/.1.wav").touch()
    assert "holds no audio that can be used" in refused(tmp_path / "none")


def test_labels_and_speakers_that_look_the_same_are_one_and_that_is_reported(audio_files, table, capsys):
    table = table.assign(label=["so so", "calm", "so\u00a0 so"], speaker=["1", "1.0", "2"])
    table.to_csv(audio_files / "t.csv", index=False)
    corpus = load_corpus(str(audio_files / "t.csv"))
    assert corpus.labels == ("calm", "so so")
    assert corpus.clips["speaker"].tolist() == ["1", "1", "2"]
    said = capsys.readouterr().err
    assert "the label 'so so' replaces 'so\\xa0 so' (1 clip)" in said
    assert "the speaker '1' replaces '1.0' (1 clip)" in said
    table.assign(label=["Happy", "calm", "happy"]).to_csv(audio_files / "u.csv", index=False)
    assert "differ only in capitals" in refused(audio_files / "u.csv")
    table.assign(label=["x", "y", "x"], speaker=["Ann", "ann", "bob"]).to_csv(audio_files / "v.csv", index=False)
    load_corpus(str(audio_files / "v.csv"))
    assert (
        "speakers that differ only in capitals and count as different ones: 'Ann' and 'ann'" in capsys.readouterr().err
    )


def test_folders_of_people_taken_for_labels_are_warned_about(tmp_path, make_tone, table, audio_files, capsys):
    for actor in range(1, 4):
        make_tone(tmp_path / f"who/Actor_{actor:02d}/1.wav")
    load_corpus(str(tmp_path / "who"))
    said = capsys.readouterr().err
    assert "the 3 labels of" in said
    assert "look like people (Actor_01, Actor_02, Actor_03)" in said
    assert "give a CSV or Parquet table" in said
    table.assign(label=table["speaker"]).to_csv(audio_files / "t.csv", index=False)
    load_corpus(str(audio_files / "t.csv"))
    assert "name the column of the labels" in capsys.readouterr().err


def test_parts_of_files_are_clips(audio_files, table, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    table.assign(path="a/1.wav", start=[0, 0.1, 0.2], end=[0.1, 0.2, 0.3]).to_csv(audio_files / "t.csv", index=False)
    found = load_corpus(str(audio_files / "t.csv"))
    assert found.clips["clip"].tolist() == [f"a/1-0000{part}00-0000{part + 1}00" for part in range(3)]
    assert "3 of 3 rows are parts of files (start, end)" in capsys.readouterr().err
    table.assign(start=0, end=[0.5, 0.6, 0.7]).to_csv(audio_files / "u.csv", index=False)
    assert len(load_corpus(str(audio_files / "u.csv")).clips) == 3


def test_parts_keep_the_rate_and_the_format_of_their_recording(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    rows = []
    for place, (name, rate) in enumerate((("a.wav", 44100), ("b.flac", 8000))):
        soundfile.write(tmp_path / name, np.random.default_rng(place).normal(0, 0.1, rate), rate)
        rows += [{"path": name, "label": "xy"[place], "start": start, "end": start + 0.4} for start in (0, 0.5)]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    corpus = load_corpus(str(tmp_path / "t.csv"))
    assert corpus.clips["sample_rate"].tolist() == [44100, 44100, 8000, 8000]
    assert corpus.copy == "parts of the user's own 8,000 to 44,100 Hz FLAC and WAV files"
    assert [Path(path).suffix for path in recordings_of(corpus.clips)] == [".wav", ".wav", ".flac", ".flac"]


def test_lengths_alone_cut_nothing(audio_files, table, capsys):
    table.assign(duration=0.1).to_csv(audio_files / "t.csv", index=False)
    corpus = load_corpus(str(audio_files / "t.csv"))
    assert "cache" not in "".join(corpus.clips["path"])
    assert "the column 'duration' differs from the lengths of the files; not used" in capsys.readouterr().err
    table.assign(path="a/1.wav", duration=[0.1, 0.2, 0.3]).to_csv(audio_files / "u.csv", index=False)
    assert "parts of files in 'duration', which is ambiguous" in refused(audio_files / "u.csv")


def test_names_that_end_in_a_blank_are_clips_that_a_table_can_name(tmp_path, make_tone):
    for name in ("x/a .wav", "x/b.wav", "y/ c.wav", "y/d.wav"):
        make_tone(tmp_path / "corpus" / name)
    assert load_corpus(str(tmp_path / "corpus")).clips["clip"].tolist() == ["x/a", "x/b", "y/ c", "y/d"]


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.csv", "https://example.org/corpus.csv", "~/none.csv"])
def test_what_no_path_is_called(name):
    assert "unknown corpus" in refused(name) or "there is no folder or table" in refused(name)


def test_usual_names_of_columns_are_found_in_any_case(audio_files, table, capsys):
    path = audio_files / "t.csv"
    table.set_axis(["File Name", "Emotion ", "ACTOR"], axis=1).assign(clip="x").to_csv(path, index=False)
    clips = load_corpus(str(path)).clips
    assert clips["path"].tolist() == [str(audio_files / name) for name, _, _ in ROWS]
    assert clips["speaker"].tolist() == ["ann", "ann", "bob"]
    assert "the column 'File Name' is used for the files, not 'clip'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("label", "emo", "the column 'emo' looks like the labels: label_column=emo"),
        ("path", "wav_path", "the column 'wav_path' looks like the files: path_column=wav_path"),
    ],
)
def test_a_column_that_is_probably_meant_is_named_with_its_option(audio_files, table, old, new, hint):
    path = audio_files / "t.csv"
    table.rename(columns={old: new}).to_csv(path, index=False)
    assert hint in refused(path)


def test_rows_are_counted_as_in_the_file(audio_files, table):
    path = audio_files / "t.csv"
    path.write_text("path,label,speaker\n,,\na/1.wav,happy,ann\na/2.wav,,ann\n")
    assert "row 3 of the table" in refused(path)
