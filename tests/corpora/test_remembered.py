from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serlab.corpora import remembered
from serlab.corpora.remembered import home_of, ignored, recall, remember


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SERLAB_CACHE", str(folder))
    return folder


@pytest.fixture
def clips(tmp_path) -> dict[str, list]:
    """Findings of two existing files."""
    paths = [tmp_path / "clips" / name for name in ("a.wav", "größe \udcff.wav")]
    paths[0].parent.mkdir()
    for path in paths:
        path.touch()
    return {str(path): [number, 0.1 + number, "text"] for number, path in enumerate(paths)}


def only_file(cache: Path) -> Path:
    (path,) = (cache / "scans").iterdir()
    return path


def test_the_folder_that_all_files_lie_below():
    assert home_of(["/a/b/1.wav", "", "/a/c/d/2.wav"]) == "/a"
    assert home_of(["/a/b/1.wav", "/a/b/c/2.wav"]) == "/a/b"
    assert home_of(["/1.wav"]) == "/"
    assert home_of(["", ""]) == home_of([]) == ""


def test_what_was_remembered_is_recalled(cache, clips, capfd):
    assert recall("scan", "/clips") == {}
    remember("scan", "/clips", clips)
    assert recall("scan", "/clips") == clips
    assert recall("screening", "/clips") == recall("scan", "/other") == {}
    with ignored():
        assert recall("scan", "/clips") == {}
    assert recall("scan", "/clips") == clips
    assert capfd.readouterr().err == ""


def test_files_that_are_gone_are_forgotten(cache, clips):
    gone = next(iter(clips))
    Path(gone).unlink()
    remember("scan", "/clips", clips)
    assert recall("scan", "/clips") == {path: clips[path] for path in clips if path != gone}


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE = {
    "empty": lambda data: b"",
    "cut in the head": lambda data: data[:20],
    "cut at the end": lambda data: data[:-1],
    "a bit of the head": lambda data: flip(data, 3),
    "a bit of the hash": lambda data: flip(data, data.index(b"\n") - 1),
    "a bit of a number": lambda data: flip(data, data.rindex(b"1.1")),
    "a bit of a path": lambda data: flip(data, data.index(b"a.wav")),
    "another format": lambda data: re.sub(rb"^serlab scan \d+ ", b"serlab scan 0 ", data),
    "something else": lambda data: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_ignored_with_a_message(cache, clips, capfd, damage):
    remember("scan", "/clips", clips)
    path = only_file(cache)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert recall("scan", "/clips") == {}
    assert capfd.readouterr().err == (
        "the remembered scan of /clips is damaged or of another version; it is computed again.\n"
    )
    remember("scan", "/clips", clips)
    assert recall("scan", "/clips") == clips


def test_every_flipped_bit_is_found(cache, clips):
    remember("scan", "/clips", clips)
    path = only_file(cache)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(flip(whole, place))
        assert recall("scan", "/clips") == {}
    path.write_bytes(whole)
    assert recall("scan", "/clips") == clips


def test_another_decoder_starts_again(cache, clips, monkeypatch, capfd):
    remember("scan", "/clips", clips)
    monkeypatch.setattr(remembered, "DECODER", "2/libsndfile-9")
    assert recall("scan", "/clips") == {}
    assert "another version" in capfd.readouterr().err


def test_a_cache_folder_that_cannot_be_made_costs_a_line(tmp_path, clips, monkeypatch, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "file"))
    assert recall("scan", "/clips") == {}
    remember("scan", "/clips", clips)
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        f"the scan of /clips cannot be remembered in {tmp_path / 'file' / 'scans'} (Not a directory); "
        "it is computed again next time."
    )


def test_a_full_disk_costs_a_line_and_the_old_file_stays(cache, clips, monkeypatch, capfd):
    remember("scan", "/clips", clips)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        remember("scan", "/clips", {})
    assert capfd.readouterr().err.count("\n") == 1
    assert recall("scan", "/clips") == clips
    assert only_file(cache)


def test_two_processes_at_once_leave_a_whole_file(cache, clips):
    code = (
        "import json, sys\n"
        "from serlab.corpora.remembered import recall, remember\n"
        "number, findings = json.loads(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    remember('scan', '/clips', {path: [number] * 2000 for path in findings})\n"
        "    assert {tuple(set(row)) for row in recall('scan', '/clips').values()} <= {(0,), (1,)}\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, json.dumps([number, list(clips)])], stderr=subprocess.PIPE)
        for number in range(2)
    ]
    for process in processes:
        assert process.communicate(timeout=100)[1] == b""
        assert process.returncode == 0
    assert set(recall("scan", "/clips")) == set(clips)
    assert only_file(cache)
