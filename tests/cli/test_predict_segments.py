"""``serlab predict`` with segments: every format, and resuming a file."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlab.evaluation.spans import read_reference

RATE = 16000


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """31 s: bursts of a deep and of a high tone, with a pause of 3 s between."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    time = np.arange(14 * RATE) / RATE
    deep, high = ((time % 0.5 < 0.3) * 0.3 * np.sin(2 * np.pi * hz * time) for hz in (150, 1500))
    samples = np.concatenate([deep, np.zeros(3 * RATE), high])
    noise = np.where(samples != 0, 0.02 * np.random.default_rng(0).standard_normal(len(samples)), 0)
    soundfile.write(path, samples + noise, RATE)
    return path


@pytest.fixture(autouse=True)
def energy(monkeypatch):
    """Tones are not speech for silero, and the tiny clips are too short to be windows."""
    monkeypatch.setattr("serlab.audio.speech.has_silero", lambda: False)
    monkeypatch.setattr("serlab.model.inputs.Inputs.window", 3.0)


@pytest.fixture
def short(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))[0]


@pytest.fixture
def predict(serlab, tiny_models, one_thread):
    return lambda *arguments: serlab("predict", "--model", tiny_models["mfcc-svm"], *arguments)


def test_json_has_segments_beside_the_mean(predict, long, short):
    ended = predict(long, short, "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    whole, clip = json.loads(ended.out)["predictions"]
    assert list(clip) == ["path", "label", "probabilities"]
    assert list(whole) == ["path", "label", "probabilities", "segments"]
    segments = whole["segments"]
    assert [list(one) for one in segments] == [["start", "end", "label", "probabilities", "speech"]] * 29
    assert all(one["label"] == max(one["probabilities"], key=one["probabilities"].get) for one in segments[:14])
    (pause,) = [one for one in segments if not one["speech"]]
    assert (pause["start"], pause["label"], pause["probabilities"]) == (14, None, {})
    spoken = [list(one["probabilities"].values()) for one in segments if one["speech"]]
    np.testing.assert_allclose(list(whole["probabilities"].values()), np.mean(spoken, axis=0))


def test_csv_and_lines_have_a_row_per_segment(predict, long, short, tmp_path):
    expected = json.loads(predict(long, short, "--format", "json").out)["predictions"]
    rows = [json.loads(line) for line in predict(long, short, "--format", "jsonl").out.splitlines()]
    assert rows[:-1] == [{"path": str(long), **one} for one in expected[0]["segments"]]
    assert rows[-1] == {"start": None, "end": None, "speech": True, **expected[1]}
    text = predict(long, short, "--format", "csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == ["path", "start", "end", "speech", "predicted", "prob_calm", "prob_happy", "prob_sad"]
    for line, row in zip(table, rows, strict=True):
        assert (line["path"], line["speech"], line["predicted"]) == (
            row["path"],
            str(row["speech"]),
            row["label"] or "",
        )
        assert (line["start"], line["end"]) == tuple("" if row[at] is None else str(row[at]) for at in ("start", "end"))
        assert line["prob_sad"] == str(row["probabilities"].get("sad", ""))
    out = tmp_path / "p.parquet"
    assert predict(long, short, "--out", out).out == f"{out}\n"
    frame = pd.read_parquet(out)
    assert list(frame) == list(table[0])
    np.testing.assert_allclose(frame["prob_sad"], [float(line["prob_sad"] or "nan") for line in table])
    np.testing.assert_allclose(frame["start"], [float(line["start"] or "nan") for line in table])


def test_short_clips_keep_their_columns_unless_segments_are_asked_for(predict, short):
    assert predict(short, "--format", "csv").out.startswith("path,predicted,prob_calm")
    text = predict(short, "--format", "csv", "--window", "0.2", "--hop", "0.1").out
    assert [(row["start"], row["end"]) for row in csv.DictReader(io.StringIO(text))][:2] == [
        ("0.0", "0.2"),
        ("0.1", "0.3"),
    ]


def test_the_table_shows_time_and_pauses(predict, long):
    lines = predict(long).out.splitlines()
    assert lines[0].split() == ["file", "time", "emotion", "calm", "happy", "sad"]
    assert len(lines) == 1 + 1 + 29
    assert "14.0-17.0 s  no speech" in next(line for line in lines if "no speech" in line)


def test_players_and_annotation_tools(predict, long, short, tmp_path):
    vtt = predict(long, "--format", "vtt").out
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:")
    assert vtt.endswith("--> 00:00:31.000\nsad\n")
    assert "no speech" not in vtt
    for name, form in (("a.vtt", "vtt"), ("a.TextGrid", "textgrid"), ("a.txt", "audacity")):
        out = tmp_path / name
        assert predict(long, "--out", out).code == 0
        assert out.read_text() == predict(long, "--format", form).out
    labels = [line.split("\t") for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert (labels[0][0], labels[-1][1]) == ("0.000000", "31.000000")
    assert "no speech" in [label for _, _, label in labels]
    grid = (tmp_path / "a.TextGrid").read_text()
    assert f"intervals: size = {len(labels)}" in grid
    assert grid.count("xmin") == len(labels) + 2
    (spans,) = read_reference(tmp_path / "a.TextGrid").values()
    assert [(f"{one.start:.6f}", f"{one.end:.6f}", one.label or "no speech") for one in spans] == [
        tuple(label) for label in labels
    ]
    ended = predict(long, short, "--format", "vtt")
    assert (ended.code, ended.sentence) == (2, "the format vtt is for one recording, not 2; give one file.")
    assert predict(short, "--format", "audacity").out.startswith("0.000000\t")


def test_a_recording_is_drawn_alone_or_beside_its_output(predict, long, short, tmp_path):
    page, picture, table = tmp_path / "a.html", tmp_path / "a.png", tmp_path / "a.csv"
    assert predict(long, "--plot", page).out == f"{page}\n"
    assert predict(long, "--plot", picture, "--out", table).out == f"{table}\n{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(table.read_text().splitlines()) == 1 + 29
    ended = predict(short, "--plot", page, "--format", "jsonl", "--audio", "embed")
    assert [json.loads(line)["start"] for line in ended.out.splitlines()] == [0]
    assert f"the plot is in {page}" in ended.err
    assert "data:audio/x-wav;base64," in page.read_text()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("first", [[], ["--plot", "first.html"], ["--window", "3", "--hop", "1"]])
def test_a_plot_is_drawn_from_files_whose_rows_are_there_already(
    predict, long, short, tmp_path, monkeypatch, first, ending
):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "a.html"
    for number, clip in enumerate((long, short)):
        table = tmp_path / f"{number}.{ending}"
        assert predict(clip, "--out", table, *first).code == 0
        before = table.read_bytes()
        division = [] if "--window" not in first else first
        ended = predict(clip, "--out", table, "--plot", page, *division)
        assert (ended.code, ended.out) == (0, f"{table}\n{page}\n")
        assert table.read_bytes() == before
        assert "<svg" in page.read_text()
        page.unlink()


def test_a_plot_of_a_file_that_cannot_be_read_is_not_made(predict, short, tmp_path):
    broken, page, table = tmp_path / "a.wav", tmp_path / "a.html", tmp_path / "a.csv"
    shutil.copy(short, broken)
    assert predict(broken, "--out", table).code == 0
    broken.write_bytes(b"")
    for out in (table, tmp_path / "b.csv", tmp_path / "b.csv"):
        ended = predict(broken, "--plot", page, "--out", out)
        assert (ended.code, page.exists()) == (1, False)
        assert f"{page} is not written, because nothing was predicted." in ended.err


def test_whole_long_recordings_are_divided_alike_with_and_without_options(predict, long, short, tmp_path):
    out, how = tmp_path / "a.csv", ["--window", "3", "--hop", "1"]
    assert predict(long, "--out", out).code == 0
    before = out.read_bytes()
    assert predict(long, "--out", out, *how).code == 0
    assert out.read_bytes() == before
    ended = predict(long, short, "--out", out, *how)
    assert (ended.code, ended.sentence) == (
        2,
        f"{out} was written without options for segments, which then were made with --window 3.0 --hop 1.0 "
        "--vad energy --smoothing 1; omit them too, or write to another file.",
    )
    assert predict(long, short, "--out", out).code == 0


def test_segments_that_are_not_the_default_now_are_refused(predict, long, tmp_path, monkeypatch):
    out = tmp_path / "a.csv"
    assert predict(long, "--out", out).code == 0
    monkeypatch.setattr("serlab.model.inputs.Inputs.window", 4.0)
    ended = predict(long, "--out", out)
    assert ended.code == 2
    assert "--smoothing 1, which is not the default now; write to another file." in ended.sentence


def test_a_parquet_that_fails_leaves_the_older_one(predict, short, tmp_path, monkeypatch):
    out = tmp_path / "a.parquet"
    assert predict(short, "--out", out).code == 0
    before = out.read_bytes()

    def full(_frame: object, path: object, **_: object) -> None:
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    ended = predict(short, "--out", out)
    assert ended.code == 3
    assert f"cannot write {out}: No space left on device" in ended.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert out.read_bytes() == before


@pytest.mark.parametrize("ending", ["parquet", "vtt", "csv", "png", "html"])
def test_a_name_that_is_not_utf8_is_written_to_every_file(predict, short, tmp_path, ending):
    odd, out = tmp_path / os.fsdecode(b"caf\xe9.wav"), tmp_path / f"a.{ending}"
    shutil.copy(short, odd)
    assert predict(odd, "--plot" if ending in ("png", "html") else "--out", out).code == 0
    if ending == "parquet":
        assert pd.read_parquet(out)["path"].tolist() == [str(tmp_path / r"caf\udce9.wav")]


@pytest.mark.parametrize("option", ["--out", "--plot"])
@pytest.mark.parametrize("target", ["folder", "file/below", "n" * 300])
def test_a_target_that_cannot_be_is_refused_before_anything_is_read(
    predict, short, tmp_path, monkeypatch, option, target
):
    monkeypatch.setattr("serlab.model.model.Model.results", lambda *_, **__: pytest.fail("predicted"))
    (tmp_path / "file").touch()
    for ending in ("html", "png") if option == "--plot" else ("parquet", "vtt", "TextGrid", "txt"):
        path = tmp_path / f"{target}.{ending}"
        if target == "folder":
            path.mkdir()
        ended = predict(short, option, path)
        assert ended.code == (2 if target == "folder" else 3)
        assert str(path if "/" not in target else path.parent) in ended.sentence


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_of_segments_is_resumed(predict, long, short, tmp_path, ending):
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"p.{ending}"
    assert predict(short, long, "--out", whole).code == 0
    assert whole.read_text() == predict(short, long, "--format", ending).out.replace("\r", "")
    assert predict(short, "--out", out, "--window", "3").code == 0
    ended = predict(short, long, "--out", out)
    assert ended.code == 2
    assert "has segments made with --window 3.0 --hop 1.0 --vad" in ended.sentence
    out.unlink()
    assert predict(short, "--out", out).code == 0
    ended = predict(long, "--out", out)
    assert (ended.code, ended.sentence) == (
        2,
        f"{out} has one row per file, not one per segment; write to another file.",
    )
    before = whole.read_bytes()
    assert predict(short, "--out", whole).code == 0
    assert whole.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["--window", "0"], "--window 0.0 is not between 0.1 and 60 seconds"),
        (["--hop", "5"], "--hop 5.0 is not above 0 and at most the window of 3 s"),
        (["--vad", "loud"], "unknown speech detector 'loud'"),
        (["--smoothing", "4"], "--smoothing 4 is neither an odd number from 1 to 99 nor hmm"),
        (["--smoothing", "much"], "--smoothing much is neither an odd number from 1 to 99 nor hmm"),
        (["--stay", "0.9"], "--stay 0.9 is for --smoothing hmm; add that, or omit it"),
        (["--out", "a.mp4"], "--out a.mp4 must end in .csv, .jsonl, .parquet, .vtt, .textgrid or .txt"),
        (["--out", "a.vtt", "--format", "csv"], "contradicts the ending"),
        (["--plot", "a.pdf"], "--plot a.pdf must end in .html or .png"),
        (["--plot", "a.html", "--audio", "copy"], "--audio copy is not one of link, embed, none"),
        (["--audio", "none"], "--audio none is for the page of --plot"),
        (["--plot", "a.png", "--audio", "embed"], "--audio embed is for a page"),
    ],
)
def test_options_that_cannot_be(predict, short, arguments, phrase):
    ended = predict(short, *arguments)
    assert ended.code == 2
    assert phrase in ended.sentence


def test_one_recording_is_drawn_and_not_several(predict, short, long):
    ended = predict(short, long, "--plot", "a.html")
    assert (ended.code, ended.sentence) == (2, "--plot draws one recording, not 2; give one file.")


def test_a_recording_that_is_cut_off_is_left_out(predict, tmp_path, make_tone):
    cut = make_tone(tmp_path / "cut.flac", seconds=40)
    cut.write_bytes(cut.read_bytes()[:-300])
    ended = predict(cut, "--format", "jsonl")
    assert (ended.code, ended.out) == (1, "")
    assert f"left out: {cut} (truncated" in ended.err
