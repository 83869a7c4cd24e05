"""Getting a whole corpus: from a Git LFS server, and from an archive."""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import time
import zipfile
from collections import namedtuple
from dataclasses import replace

import pandas as pd
import pytest

from serlab.core import MachineError, UserError
from serlab.core.locks import locked
from serlab.corpora import descriptions, fetching, lfs, load_corpus
from serlab.corpora.description import Archive, Fetch
from serlab.corpora.locate import place_for

CONTENT = {f"{number}_DFA_ANG_XX.wav": bytes([number % 256]) * (1000 + number) for number in range(1001, 1046)}
SHA = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


@pytest.fixture
def known(server, monkeypatch):
    server.content, server.key = CONTENT, "k"
    rows = [{"clip": name[:-4], "file": name, "sha256": SHA[name], "bytes": len(CONTENT[name])} for name in CONTENT]
    monkeypatch.setattr(fetching, "official_clips", lambda _: pd.DataFrame(rows))
    return replace(descriptions()["crema-d"], fetch=Fetch("AudioWAV", lfs=f"{server.address}/info/lfs"))


def get(known, folder):
    return fetching.get(fetching.wanted(known, folder))


def complete(folder):
    there = {path.name: path.read_bytes() for path in (folder / "AudioWAV").iterdir()}
    return there == CONTENT


def test_a_whole_corpus_and_nothing_again(known, server, tmp_path):
    found = fetching.wanted(known, tmp_path)
    assert (len(found.files), found.there) == (45, 0)
    assert fetching.get(found) == 45
    assert complete(tmp_path)
    assert len(server.asked) == 45
    again = fetching.wanted(known, tmp_path)
    assert (again.files, again.there) == ((), 45)
    assert fetching.get(again) == 45
    assert again.summary == f"nothing to get, 45 files are in {tmp_path}"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_ends_in_the_middle_is_continued(known, server, tmp_path, ranges):
    server.ranges = ranges
    server.cut["1003_DFA_ANG_XX.wav"] = 700
    get(known, tmp_path)
    assert complete(tmp_path)
    assert ("1003_DFA_ANG_XX.wav", "bytes=700-") in server.asked


def test_what_an_earlier_call_left_is_continued(known, server, tmp_path):
    name = "1004_DFA_ANG_XX.wav"
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / f"{name}.part").write_bytes(CONTENT[name][:500])
    get(known, tmp_path)
    assert complete(tmp_path)
    assert [asked for file, asked in server.asked if file == name] == ["bytes=500-"]


def test_wrong_bytes_are_not_kept(known, server, tmp_path):
    server.wrong.add("1005_DFA_ANG_XX.wav")
    with pytest.raises(MachineError, match=r"1005_DFA_ANG_XX.wav does not send the official file \(its sha256 is"):
        get(known, tmp_path)
    assert not list((tmp_path / "AudioWAV").glob("1005*"))
    server.wrong.clear()
    get(known, tmp_path)
    assert complete(tmp_path)


def test_a_busy_server_is_asked_again_and_a_refusal_named(known, server, tmp_path):
    server.broken = 2
    get(known, tmp_path / "a")
    assert complete(tmp_path / "a")
    server.refused.add("1006_DFA_ANG_XX.wav")
    with pytest.raises(MachineError, match=r"does not give a file .over its data quota.; try again later"):
        get(known, tmp_path / "b")


def test_after_an_error_no_further_file_is_asked_for(known, tmp_path, monkeypatch):
    numbers, begun = itertools.count(), []

    def downloaded(file):
        begun.append(file)
        if next(numbers) == 3:
            raise MachineError("the disk is full.")
        time.sleep(0.05)

    monkeypatch.setattr(lfs, "download", downloaded)
    with pytest.raises(MachineError, match="disk is full"):
        get(known, tmp_path)
    assert len(begun) < 12


def test_no_server(known, tmp_path):
    away = replace(known, fetch=Fetch("AudioWAV", lfs="http://127.0.0.1:9/info/lfs"))
    with pytest.raises(MachineError, match=r"cannot be fetched \(.*refused.*run the command again"):
        get(away, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "own").mkdir()
    with pytest.raises(MachineError, match="refused"):
        get(away, tmp_path / "own")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    assert not list((tmp_path / "own").iterdir())


def test_a_users_own_files_are_not_overwritten(known, tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"first .*1001_DFA_ANG_XX.wav.; choose another folder"):
        fetching.wanted(known, tmp_path)


@pytest.fixture
def clips(make_tone, tmp_path):
    """Three clips of RAVDESS as their published archive has them, as a ZIP."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for actor in ("01", "02", "03"):
            tone = make_tone(tmp_path / "tone.wav", rate=48000, seconds=0.2)
            archive.writestr(f"Actor_{actor}/03-01-06-01-02-01-{actor}.wav", tone.read_bytes())
    (tmp_path / "tone.wav").unlink()
    return body.getvalue()


@pytest.fixture
def zipped(server, clips):
    server.content["speech.zip"] = clips
    url = f"{server.address}/speech.zip"
    archive = Archive(url, unpacked=1_000_000, size=len(clips), md5=server.md5("speech.zip"))
    return replace(descriptions()["ravdess"], fetch=Fetch("speech", archive=archive))


def changed(known, **values):
    return replace(known, fetch=replace(known.fetch, archive=replace(known.fetch.archive, **values)))


def test_an_archive_becomes_a_corpus_that_loads(zipped, server, tmp_path):
    found = fetching.wanted(zipped, tmp_path / "ravdess")
    assert found.summary.startswith("1 archive, 0.1 MB, to ")
    assert fetching.get(found) == 3
    assert [path.name for path in (tmp_path / "ravdess").iterdir()] == ["speech"]
    corpus = load_corpus("ravdess", data=tmp_path / "ravdess")
    assert (corpus.clips["path"] != "").sum() == 3
    again = fetching.wanted(zipped, tmp_path / "ravdess")
    assert (again.files, again.there) == ((), 3)
    assert len(server.asked) == 1


def test_an_archive_that_ends_in_the_middle_is_continued_by_the_next_call(zipped, server, clips, tmp_path):
    (tmp_path / "ravdess.zip.part").write_bytes(clips[:5000])
    assert get(zipped, tmp_path) == 3
    assert server.asked == [("speech.zip", "bytes=5000-")]
    assert [path.name for path in tmp_path.iterdir()] == ["speech"]


def test_an_archive_that_was_not_yet_unpacked_is_not_fetched_again(zipped, server, clips, tmp_path):
    (tmp_path / "ravdess.zip").write_bytes(clips)
    (tmp_path / ".speech.new").mkdir()
    (tmp_path / ".speech.new" / "half.wav").write_bytes(b"")
    assert get(zipped, tmp_path) == 3
    assert server.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["speech"]


def test_a_users_own_archive_of_the_same_name_is_not_replaced(zipped, server, tmp_path):
    (tmp_path / "ravdess.zip").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"ravdess.zip is not the official archive \(its md5 is .*move it away"):
        get(zipped, tmp_path)
    assert (tmp_path / "ravdess.zip").read_bytes() == b"mine"
    assert server.asked == []


def test_an_archive_with_another_hash_leaves_nothing(zipped, server, tmp_path):
    with pytest.raises(
        MachineError, match=r"does not send the official file \(its md5 .*get it from https://zenodo.org"
    ):
        get(changed(zipped, md5="0" * 32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_archive_is_fetched_again(zipped, server, clips, tmp_path):
    with pytest.raises(MachineError, match="more than 100 bytes"):
        get(changed(zipped, unpacked=100), tmp_path)
    assert list(tmp_path.iterdir()) == []
    of_a_commit = changed(zipped, md5="", tree="0" * 40, size=0)
    server.content["speech.zip"] = clips[:-100]
    with pytest.raises(MachineError, match=r"speech.zip is a damaged archive"):
        get(of_a_commit, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_clips_is_not_taken_for_the_corpus(zipped, server, tmp_path):
    (tmp_path / "speech").mkdir()
    with pytest.raises(UserError, match=r"speech exists but holds no clip of RAVDESS; remove it, or choose another"):
        fetching.wanted(zipped, tmp_path)


def test_what_another_process_got_meanwhile_is_not_fetched_again(zipped, server, tmp_path):
    found = fetching.wanted(zipped, tmp_path)
    assert fetching.get(found) == 3
    (tmp_path / "speech" / "notes.txt").write_text("mine")
    assert fetching.get(found) == 3
    assert (tmp_path / "speech" / "notes.txt").read_text() == "mine"
    assert len(server.asked) == 1


def test_a_copy_from_another_source_is_not_doubled(zipped, make_tone, tmp_path):
    make_tone(tmp_path / "Actor_01/03-01-06-01-02-01-01.wav")
    with pytest.raises(UserError, match=r"already contains clips of RAVDESS from another source \(1\); choose another"):
        fetching.wanted(zipped, tmp_path)


def test_too_little_space_is_said_before_the_first_byte(zipped, server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 500_000))
    with pytest.raises(MachineError, match=r"RAVDESS needs 1 MB in .*, and 0 MB are free; free some space, or choose"):
        get(zipped, tmp_path)
    assert server.asked == []


def test_two_calls_at_once(zipped, tmp_path):
    with (
        locked(tmp_path / "ravdess"),
        pytest.raises(UserError, match=r"another process is working on .*ravdess; wait"),
    ):
        get(zipped, tmp_path / "ravdess")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "iemocap",
            r"cannot get IEMOCAP, because its owners want a signed release form first; get it from https://sail",
        ),
        ("savee", r"cannot get SAVEE, because its owners want a registration first; get it from http://personal.ee"),
        ("tess", r"cannot get TESS, because no published hash of its files is known; get it from https://tspace"),
        ("synthetic", r"serlab makes the synthetic corpus when it is first used; it needs the extra demo"),
    ],
)
def test_other_corpora_say_where_they_are(tmp_path, name, sentence):
    with pytest.raises(UserError, match=sentence):
        fetching.wanted(descriptions()[name], tmp_path)


def test_what_was_fetched_is_found_without_being_named(zipped, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLAB_DATA", str(tmp_path))
    get(zipped, place_for("ravdess", None))
    assert (load_corpus("ravdess").clips["path"] != "").sum() == 3
