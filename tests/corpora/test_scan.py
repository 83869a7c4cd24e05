from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serlab import audio
from serlab.corpora import load_corpus
from serlab.corpora.scan import describe_files, in_threads, scan
from serlab.corpora.verify import verify


def test_header_and_hash_of_each_file(tmp_path, make_tone):
    good = make_tone(tmp_path / "good.flac", seconds=0.25, rate=44100)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"noise")
    table = scan([str(good), "", str(bad), str(tmp_path / "gone.wav")], "looking")
    np.testing.assert_array_equal(table["duration"], [0.25, np.nan, np.nan, np.nan])
    assert table["sample_rate"].tolist() == [44100, 0, 0, 0]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (good, bad)]
    assert table["sha256"].tolist() == [hashes[0], "", hashes[1], ""]
    assert describe_files(pd.DataFrame({"path": [str(bad)], "sample_rate": [0]})) == "unreadable"


def test_results_keep_the_order_and_an_error_stops_the_rest():
    assert in_threads(lambda number: number * number, range(100), "squares") == [n * n for n in range(100)]
    done = []
    first_failed = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            first_failed.set()
            raise KeyboardInterrupt
        first_failed.wait(5)
        done.append(number)
        threading.Event().wait(0.01)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(1000), "interrupted")
    assert len(done) < 900


# --- cached
# ---------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are read, in order."""
    names = []

    info = audio.info

    def noted(path: Path) -> audio.Info:
        names.append(path.name)
        return info(path)

    monkeypatch.setattr(audio, "info", noted)
    return names


@pytest.fixture
def later(monkeypatch):
    """Make the files look older."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10**10)


@pytest.fixture
def three(tmp_path, make_tone):
    """Three files of one size in two folders."""
    return [make_tone(tmp_path / name, hz=hz) for name, hz in (("a/1.wav", 200), ("a/2.wav", 300), ("b.wav", 400))]


def look(paths, title: str) -> pd.DataFrame:
    return scan([str(path) for path in paths], title)


def test_the_second_time_no_file_is_read(three, opened, later):
    first = look([*three, ""], "first")
    assert sorted(opened) == ["1.wav", "2.wav", "b.wav"]
    opened.clear()
    pd.testing.assert_frame_equal(look([*three, ""], "again"), first)
    pd.testing.assert_frame_equal(look(three[::-1], "in another order"), first[:3][::-1].reset_index(drop=True))
    assert opened == []


def test_a_file_just_written_is_read_again(three, opened):
    look(three, "first")
    opened.clear()
    look(three, "again")
    assert sorted(opened) == ["1.wav", "2.wav", "b.wav"]


def test_a_file_changed_at_the_same_size_is_read_again_and_it_alone(three, opened, later, make_tone):
    before = look(three, "first")
    opened.clear()
    size = three[1].stat().st_size
    make_tone(three[1], hz=500)
    assert three[1].stat().st_size == size
    after = look(three, "again")
    assert opened == ["2.wav"]
    assert (before["sha256"] == after["sha256"]).tolist() == [True, False, True]


def test_a_file_changed_at_the_same_size_whose_time_was_set_back_is_read_again(three, opened, later, make_tone):
    before = look(three, "first")
    status = three[0].stat()
    make_tone(three[0], hz=500)
    os.utime(three[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert look(three, "again")["sha256"][0] != before["sha256"][0]


def test_two_files_of_one_size_and_time_that_swap_names_are_read_again(three, later):
    for path in three:
        os.utime(path, ns=(0, 0))
    before = look(three, "first")["sha256"].tolist()
    aside = three[0].rename(three[0].with_name("aside"))
    three[1].rename(three[0])
    aside.rename(three[1])
    assert look(three, "again")["sha256"].tolist() == [before[1], before[0], before[2]]


def test_a_file_that_has_gone_is_not_recalled(three, later):
    look(three, "first")
    three[2].unlink()
    table = look(three, "again")
    assert table["sha256"][2] == ""
    assert np.isnan(table["duration"][2])


def test_what_could_not_be_read_is_tried_again(tmp_path, make_tone, later, opened, monkeypatch):
    path = make_tone(tmp_path / "clip.wav")
    with monkeypatch.context() as patch:
        patch.setattr("serlab.audio.reading.examine", lambda *_: Path("/no/such/file").stat())
        assert look([path], "first")["sample_rate"].tolist() == [0]
    assert look([path], "again")["sample_rate"].tolist() == [16000]


def test_subsets_of_a_folder_do_not_replace_each_other(three, opened, later):
    look(three[:2], "some")
    look(three[1:2], "one")
    look(three[:2], "some again")
    assert opened == ["1.wav", "2.wav"]


def test_loading_a_corpus_again_reads_no_clip(tmp_path, make_tone, opened, later):
    for label in ("joy", "rage"):
        make_tone(tmp_path / label / "1.wav")
    first = load_corpus(str(tmp_path))
    opened.clear()
    assert load_corpus(str(tmp_path)).fingerprint == first.fingerprint
    assert opened == []


def test_verifying_recalls_nothing(tmp_path, make_tone, opened, later):
    for label in ("joy", "rage"):
        make_tone(tmp_path / label / "1.wav")
    load_corpus(str(tmp_path))
    opened.clear()
    assert verify(str(tmp_path)).ok
    assert opened == ["1.wav", "1.wav"]


@pytest.mark.cremad
@pytest.mark.slow
def test_crema_d_is_scanned_once(cremad_root, opened):
    first = load_corpus("crema-d", data=str(cremad_root))
    opened.clear()
    again = load_corpus("crema-d", data=cremad_root)
    assert opened == []
    pd.testing.assert_frame_equal(again.clips, first.clips)


def test_pipes_and_devices_are_not_waited_for_and_long_names_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    paths = [str(tmp_path / name) for name in ("pipe.wav", "zero.wav", "n" * 300 + ".wav", "x/" * 2500 + "y.wav")]
    found = scan(paths, "looking")
    assert found["sha256"].tolist() == [""] * 4
    assert (found["sample_rate"] == 0).all()
