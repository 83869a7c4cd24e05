"""Archives that are damaged, dangerous, or not the expected ones; every one leaves nothing behind."""

from __future__ import annotations

import contextlib
import resource
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serlab.core import MachineError
from serlab.corpora.archives import BadArchiveError, unpack

MOST = 1_000_000


def zipped(path, content, top=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else top + name, data)
    return path


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "a.zip"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "corpus" / "clips"


def nothing_left(tmp_path):
    return {path.name for path in tmp_path.rglob("*")} <= {"a.zip", "corpus", "repository"}


def test_all_files_in_their_folders(archive, target, tmp_path):
    zipped(archive, {"Actor_01/a.wav": b"one", "Actor_02/b.wav": b"two", "empty/": b"", "ä b.txt": b""})
    assert unpack(archive, target, MOST) == 3
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*.*")}
    assert found == {"Actor_01/a.wav": b"one", "Actor_02/b.wav": b"two", "ä b.txt": b""}
    assert {path.name for path in target.parent.iterdir()} == {"clips"}


@pytest.mark.parametrize(
    "name",
    [
        "../a.wav",
        "a/../../b.wav",
        "/etc/a.wav",
        "C:/a.wav",
        "..\\a.wav",
        "a/./b.wav",
        "a\nb.wav",
        "x" * 250,
        "d/" * 20 + "a",
    ],
)
def test_names_that_lead_out_of_the_folder(archive, target, tmp_path, name):
    zipped(archive, {"good.wav": b"", name: b"bad"})
    if "\\" in name:
        # The library writes a slash for a backslash on some systems.
        archive.write_bytes(archive.read_bytes().replace(b"../a.wav", b"..\\a.wav"))
    with pytest.raises(BadArchiveError, match=r"from here was not unpacked, because .* (outside its folder|deeply)"):
        unpack(archive, target, MOST, source="from here")
    assert nothing_left(tmp_path)


@given(st.lists(st.text("ab./\\:~\n ", min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
@settings(deadline=None, max_examples=100)
def test_whatever_the_names_are_nothing_is_written_elsewhere(names):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        archive = zipped(folder / "a.zip", dict.fromkeys(names, b"x"))
        with contextlib.suppress(BadArchiveError):
            unpack(archive, folder / "corpus" / "clips", MOST)
        assert {path.name for path in folder.iterdir()} <= {"a.zip", "corpus"}
        assert {path.name for path in (folder / "corpus").glob("*")} <= {"clips"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(archive, target, tmp_path, kind):
    zipped(archive, {entry("a.wav", kind | 0o777): b"/etc/passwd"})
    with pytest.raises(BadArchiveError, match=r"'a.wav' is a link or a device"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("names", [["a", "a/b.wav"], ["A/b.wav", "a"]])
def test_a_file_with_the_name_of_a_folder(archive, target, tmp_path, names):
    zipped(archive, dict.fromkeys(names, b"x"))
    with pytest.raises(BadArchiveError, match="a file and a folder with the same name"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_whose_blocks_have_no_largest_size(archive, target, tmp_path, kind):
    with zipfile.ZipFile(archive, "w", kind) as opened:
        opened.writestr("a.wav", bytes(1000))
    with pytest.raises(BadArchiveError, match=r"'a.wav' is compressed otherwise than by deflate"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


def test_a_name_that_is_not_in_utf_8(archive, target, tmp_path):
    zipped(archive, {"ä.wav": b"x"})
    archive.write_bytes(archive.read_bytes().replace("ä".encode(), b"\xff\xfe"))
    with pytest.raises(BadArchiveError, match=r"damaged archive \('utf-8' codec can't decode"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


def test_an_archive_without_its_middle_is_damaged_and_the_disk_is_not_blamed(archive, target, tmp_path):
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.wav", bytes(1000))
    content = archive.read_bytes()
    archive.write_bytes(content[:500] + content[700:])
    with pytest.raises(BadArchiveError, match=r"is a damaged archive"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


def test_a_bomb_is_not_unpacked(archive, target, tmp_path):
    zipped(archive, {"a.wav": bytes(MOST + 1)})
    assert archive.stat().st_size < MOST / 100
    with pytest.raises(BadArchiveError, match="unpacked, it has more than 1,000,000 bytes"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


def test_a_bomb_that_lies_about_its_size(archive, target, tmp_path):
    zipped(archive, {"a.wav": bytes(2 * MOST)})
    small = (1000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace((2 * MOST).to_bytes(4, "little"), small))
    with pytest.raises(BadArchiveError, match=r"is a damaged archive"):
        unpack(archive, target, MOST)
    assert nothing_left(tmp_path)


def test_two_files_of_one_name(archive, target, tmp_path):
    zipped(archive, {"a.wav": b"", "A.WAV": b""})
    with pytest.raises(BadArchiveError, match="two files with the same name"):
        unpack(archive, target, MOST)


@pytest.mark.parametrize("fault", ["cut", "changed", "not a ZIP"])
def test_damage(archive, target, tmp_path, fault):
    zipped(archive, {"a.wav": bytes(range(256)) * 20})
    content = archive.read_bytes()
    damaged = {"cut": content[:-40], "changed": content[:60] + b"?" + content[61:], "not a ZIP": b"ID3" + bytes(100)}
    archive.write_bytes(damaged[fault])
    with pytest.raises(BadArchiveError, match=r"from here is a damaged archive \(.*\); nothing was kept"):
        unpack(archive, target, MOST, source="from here")
    assert nothing_left(tmp_path)


def test_a_full_disk(archive, target, tmp_path):
    zipped(archive, {"a.wav": bytes(100_000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(MachineError, match=r"cannot write .*clips: File too large; free some space"):
            unpack(archive, target, MOST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert nothing_left(tmp_path)


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository whose names are hard to sort: git orders a folder as if it ended in a slash."""
    folder = tmp_path / "repository"
    for name in ("a/x.wav", "a.wav", "a-b/y.wav", "a0", "ä/1/2/3.wav", "run.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "run.sh").chmod(0o755)
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return folder


def test_the_content_of_a_commit_is_compared_with_git(repository, archive, target):
    git(repository, "archive", "--format=zip", "--prefix=corpus-1/", "-o", str(archive), "HEAD")
    assert unpack(archive, target, MOST, tree=git(repository, "rev-parse", "HEAD^{tree}")) == 6
    assert (target / "a-b/y.wav").read_text() == "a-b/y.wav"


@pytest.mark.parametrize("change", ["another byte", "another name", "a file more", "a file less"])
def test_the_content_of_another_commit_is_not_kept(repository, archive, target, tmp_path, change):
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    names = {path.relative_to(repository).as_posix(): path.read_bytes() for path in repository.rglob("*.wav")}
    changed = dict(names)
    match change:
        case "another byte":
            changed["a.wav"] = b"a.waw"
        case "another name":
            changed["b.wav"] = changed.pop("a.wav")
        case "a file more":
            changed["more.wav"] = b""
        case "a file less":
            del changed["a.wav"]
    zipped(archive, changed, top="corpus-1/")
    with pytest.raises(BadArchiveError, match=rf"not the official archive \(its git tree is \w{{40}}, not {tree}\)"):
        unpack(archive, target, MOST, tree=tree)
    assert not target.exists()


def test_an_archive_of_a_commit_has_one_folder_at_its_top(archive, target):
    zipped(archive, {"a/x.wav": b"", "b/y.wav": b""})
    with pytest.raises(BadArchiveError, match="it has not one folder at its top"):
        unpack(archive, target, MOST, tree="0" * 40)
