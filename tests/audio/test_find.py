"""Finding recordings: every likely recording is found or listed with a reason, and loops of links end."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serlab import audio
from serlab.audio import Audio, AudioError, find_audio
from serlab.core import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def reasons(folder: Path) -> dict[str, str]:
    return {os.path.relpath(entry.path, folder): entry.reason for entry in find_audio([folder]).excluded}


def test_finding_audio(tmp_path):
    touch(tmp_path, "b/2.wav", "b/1.FLAC", "a.mp3", "notes.txt", "odd.bin", "c/4.m4a", "c/5.dss", ".git/6.wav")
    names = ("a.mp3", "b/1.FLAC", "b/2.wav", "c/4.m4a", "c/5.dss")
    assert find_audio([tmp_path]) == audio.Found([f"{tmp_path}/{name}" for name in names])
    assert find_audio([tmp_path / "odd.bin", tmp_path / "b/2.wav", tmp_path]).files == [
        f"{tmp_path}/{name}" for name in ("odd.bin", "b/2.wav", "a.mp3", "b/1.FLAC", "c/4.m4a", "c/5.dss")
    ]


def test_files_are_found_as_pathlib_sorts_and_names_them(tmp_path, monkeypatch):
    names = ("b/x.wav", "b-1.wav", "b.wav", "B/x.wav", "a b/1.ogg", "b/folder.wav/2.wav", "b/x/1.opus")
    touch(tmp_path, *names)
    (tmp_path / "gone.wav").symlink_to("nothing")
    (tmp_path / "c.wav").symlink_to("b.wav")
    (tmp_path / "round").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    expected = [str(path) for path in sorted(Path(name) for name in (*names, "c.wav", "gone.wav", "loop.wav"))]
    assert find_audio([Path()]).files == expected
    with pytest.raises(AudioError, match="symbolic links"):
        Audio.from_file(Path("loop.wav"))


def test_finding_nothing(tmp_path):
    with pytest.raises(UserError, match="holds no audio"):
        find_audio([tmp_path])
    for missing in (tmp_path / "none", Path("nul\0.wav")):
        with pytest.raises(UserError, match="there is no file or folder"):
            find_audio([missing])


def test_linked_folders_are_searched_and_links_back_end(tmp_path):
    touch(tmp_path, "store/happy/1.wav", "corpus/sad/2.wav")
    (tmp_path / "corpus/happy").symlink_to(tmp_path / "store/happy")
    (tmp_path / "corpus/again").symlink_to(tmp_path / "store/happy")
    (tmp_path / "store/happy/back").symlink_to(tmp_path)
    (tmp_path / "corpus/sad/up").symlink_to("..")
    found = find_audio([tmp_path / "corpus"])
    assert not found.excluded
    inside = [os.path.relpath(file, tmp_path / "corpus") for file in found.files]
    assert {"again/1.wav", "happy/1.wav", "sad/2.wav"} <= set(inside)
    assert len(inside) < 20


def test_links_that_fan_out_end_and_are_listed(tmp_path):
    folder = tmp_path / "0"
    for level in range(25):
        touch(folder, f"{level}.wav")
        (folder.parent / f"link{level}").symlink_to(folder.name)
        folder = folder / str(level + 1)
    found = find_audio([tmp_path])
    assert len(found.files) < 1000
    assert {entry.reason for entry in found.excluded} == {"reached by too many links"}


def test_links_to_what_is_not_there_say_who_fetches_it(tmp_path):
    targets = {
        "annex.wav": "../.git/annex/objects/Xx/0q/SHA256E-s9--aa.wav/SHA256E-s9--aa.wav",
        "dvc.flac": "/mnt/data/.dvc/cache/files/md5/aa/bb",
        "plain.mp3": "/nowhere/x.mp3",
    }
    for name, target in targets.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "unlocked.wav").write_text("/annex/objects/SHA256E-s9--aa.wav\n")
    (tmp_path / "lfs.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n")
    said = {}
    for file in find_audio([tmp_path]).files:
        with pytest.raises(AudioError) as caught:
            Audio.from_file(Path(file))
        said[Path(file).name] = caught.value.reason
    assert said == {
        "annex.wav": "a git-annex link without its content (git annex get fetches it)",
        "dvc.flac": "a link to DVC data that is not here (dvc pull fetches it)",
        "lfs.wav": "a Git LFS pointer, not the audio itself (git lfs pull gets it)",
        "plain.mp3": "a link to a file or folder that is not there",
        "unlocked.wav": "a git-annex pointer, not the audio itself (git annex get fetches it)",
    }
    assert find_audio([tmp_path / "annex.wav"]).files == [str(tmp_path / "annex.wav")]


def test_skipped_entries_are_listed(tmp_path):
    touch(tmp_path, "a/1.wav", "a/.2.wav", "a/._1.wav", "a/._3.wav", "a/4.wav.part", "a/5.mp3.crdownload", "a/6.wav.gz")
    touch(
        tmp_path, ".old/7.wav", ".tool/config", "__MACOSX/a/._1.wav", "a/8.wav.dvc", "a/9.wav.dvc", "a/9.wav", "b.dvc"
    )
    (tmp_path / "gone").symlink_to("/nowhere/label")
    (tmp_path / "readme.txt").symlink_to("/nowhere/readme.txt")
    hidden, download = "hidden (its name begins with a dot)", "an unfinished download"
    pointer = "a DVC pointer without its data (dvc pull fetches it)"
    assert reasons(tmp_path) == {
        ".old": "a hidden folder",
        "a/.2.wav": hidden,
        "a/._3.wav": hidden,
        "a/4.wav.part": download,
        "a/5.mp3.crdownload": download,
        "a/6.wav.gz": "compressed; unpack it",
        "a/8.wav.dvc": pointer,
        "b.dvc": pointer,
        "gone": "a link to a file or folder that is not there",
    }
    assert [Path(file).name for file in find_audio([tmp_path]).files] == ["1.wav", "9.wav"]


def test_pipes_sockets_and_devices_named_like_audio_are_refused_and_never_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # A socket's path must be short.
    os.mkfifo("pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.wav")
        files = find_audio([Path()]).files
    assert files == ["pipe.wav", "socket.wav", "zero.wav"]
    for file in files:
        with pytest.raises(AudioError, match="not a regular file"):
            Audio.from_file(Path(file))


def test_folders_nested_beyond_any_path_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for depth in range(20):
        if depth in (3, 18):
            Path("deep.wav").touch()
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    os.chdir(tmp_path)
    found = find_audio([tmp_path])
    assert len(found.files) == 1
    assert [entry.reason for entry in found.excluded] == ["a folder whose path is too long"]
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path):
    touch(tmp_path, f"{'d/' * 200}1.wav")
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 60)
        assert len(find_audio([tmp_path]).files) == 1
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_without_permission_is_listed(tmp_path):
    touch(tmp_path, "a/1.wav", "b/2.wav")
    (tmp_path / "a").chmod(0)
    try:
        assert reasons(tmp_path) == {"a": "no permission to open this folder"}
    finally:
        (tmp_path / "a").chmod(0o755)


def test_a_folder_that_the_system_refuses_is_listed(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.wav", "b/2.wav")
    scan = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(tmp_path) == {"a": "no permission to open this folder"}
    assert find_audio([tmp_path]).files == [f"{tmp_path}/b/2.wav"]


def test_copies_under_other_names_and_archives_are_listed(tmp_path):
    names = ("a.wav.1", "b.wav~", "c.mp3.bak", "d.wav.tmp", "e.m4a?dl=1", "f.wav ", "g.flac (1)", "h.wav\n")
    archives = ("sad.zip", "deep/all.tar.gz", "more.tgz", "all.7z", "old.tar")
    beside = ("calm.zip", "calm/x.wav", "x.wav", "x.wav.bak", "x.wav.lab", "notes.txt~", "table.csv.gz", "a.b.json")
    touch(tmp_path, *names, *archives, *beside)
    found = reasons(tmp_path)
    assert sorted(found) == sorted((*names, *archives))
    assert {found[name] for name in names} == {"its name does not end as that of a recording; rename it"}
    assert {found[name] for name in archives} == {"an archive; unpack it"}


def test_suffixes_of_telephony_and_toolkits_are_recordings(tmp_path):
    names = ("a.sox", "b.g722", "c.ulaw", "d.loas", "e.oma")
    touch(tmp_path, *names)
    assert [Path(name).name for name in find_audio([tmp_path]).files] == list(names)


def test_a_detour_makes_no_second_file_of_one(tmp_path, monkeypatch, make_tone):
    make_tone(tmp_path / "a" / "x.wav")
    make_tone(tmp_path / "c" / "x.wav")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "c", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "a")
    once = find_audio([Path("../a")]).files
    assert find_audio(map(Path, ["../a", "../a/../a", "../a/link/../a/x.wav"])).files == [
        *once,
        "../a/link/../a/x.wav",
    ]
    # After a link, .. leads to the folder of its target.
    assert find_audio([Path("link/../a/../c/x.wav")]).files == ["link/../c/x.wav"]
