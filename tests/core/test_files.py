from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import MachineError, UserError
from serlab.core.files import (
    absent,
    check_target,
    check_writable,
    is_stream,
    read_json,
    sha256_file,
    sha256_json,
    unwritable,
    user_folder,
    write_json,
    write_text,
    writing,
    writing_folder,
)

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""Of the three bytes ``abc``, from FIPS 180-2."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_into_folders_that_do_not_exist_yet(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "grün")
    assert path.read_bytes() == "grün".encode()
    assert names(path.parent) == ["text.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def fail() -> None:
        with writing(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == path.suffix
            temporary.write_text("half of the n")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_is_the_machines_fault_and_leaves_the_old_file(tmp_path, monkeypatch, code):
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match=os.strerror(code)) as caught:
        write_text(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_file_where_a_folder_should_be_is_the_machines_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file/a\.txt") as caught:
        write_text(tmp_path / "file" / "a.txt", "")
    assert str(caught.value).endswith(f"{tmp_path / 'file'} is a file, not a folder; write to another folder.")


def test_a_folder_of_results_is_checked_without_making_it(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "new" / "runs")
    assert names(tmp_path) == ["file"]
    with pytest.raises(MachineError, match="is a file, not a folder; write to another folder"):
        check_writable(tmp_path / "file" / "runs")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    with pytest.raises(MachineError, match=r"cannot write .*runs: Permission denied"):
        check_writable(tmp_path / "runs")


def test_an_error_without_an_error_number_is_reported_in_one_line():
    text = str(unwritable(Path("a"), ValueError("first line\n  second line.")))
    assert text == "cannot write a: first line second line; free some space or write to another folder."


def test_json_holds_no_nan_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"uar": 0.5, "name": "größe"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"uar": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"uar": 0.5, "name": "größe"}
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert names(tmp_path) == ["a.json"]


def test_hash_of_a_file(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_file(path) == ABC_SHA256


def test_hash_of_json_is_that_of_its_canonical_text(tmp_path):
    path = tmp_path / "canonical"
    path.write_text('{"a":[1,2.5,null],"ä":"ß"}', encoding="utf-8")
    assert sha256_json({"ä": "ß", "a": [1, 2.5, None]}) == sha256_file(path)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), min_size=1))
def test_hash_of_json_does_not_depend_on_the_order_of_keys(value):
    backwards = dict(reversed(value.items()))
    assert sha256_json(value) == sha256_json(backwards)
    key = next(iter(value))
    assert sha256_json(value) != sha256_json({**value, key: [value[key]]})


def test_the_nearest_name_is_suggested_if_a_file_is_missing(tmp_path):
    (tmp_path / "split.csv").write_text("")
    assert str(absent("split", str(tmp_path / "slpit.csv"))).endswith(
        f"the nearest name there is {tmp_path}/split.csv."
    )
    assert str(absent("split", str(tmp_path / "other.txt"))).endswith("other.txt.")
    assert f"nor the folder {tmp_path}/none" in str(absent("split", str(tmp_path / "none" / "split.csv")))


# --- pipes, devices, and leftovers of killed processes
# -------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from serlab.core.files import writing

with writing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_write_of_that_file(tmp_path):
    path, other = tmp_path / "table.csv", tmp_path / "other.csv"
    for target in (path, other):
        ended = subprocess.run([sys.executable, "-c", _KILLED, target], check=False)
        assert ended.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    write_text(path, "whole")
    left = names(tmp_path)
    assert left[1:] == ["table.csv"]
    assert left[0].startswith(".other.csv.serlab-")


def test_what_a_living_process_is_writing_stays_and_what_is_a_day_old_does_not(tmp_path):
    path = tmp_path / "table.csv"
    with writing(path) as mine:
        write_text(path, "another's")
        assert mine.is_file()
        mine.write_text("mine")
    assert path.read_text() == "mine"
    old = tmp_path / ".table.csv.serlab-ffffff-1.xyz.csv"
    old.write_text("half")
    write_text(path, "new")
    assert old.is_file()  # It may belong to another machine.
    os.utime(old, (0, 0))
    write_text(path, "newer")
    assert names(tmp_path) == ["table.csv"]


def test_a_name_of_maximum_length_is_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".csv")
    write_text(path, "text")
    assert names(tmp_path) == [path.name]


def test_a_target_is_checked_and_not_made(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    for fine in ("new.csv", "new/folder/a.csv", "file", "pipe.csv"):
        check_target(tmp_path / fine)
    check_target(Path("/dev/null"))
    with pytest.raises(UserError, match=r"folder\.csv is a folder; name a file in it, e\.g\. .*/result\.csv"):
        check_target(tmp_path / "folder.csv")
    for bad in ("file/a.csv", "file/new/a.csv", "n" * 300):
        with pytest.raises(MachineError, match="cannot write"):
            check_target(tmp_path / bad)
    assert not (tmp_path / "new").exists()


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "grün")
    assert os.read(reader, 100) == "grün".encode()
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert is_stream(path)
    assert not is_stream(tmp_path)
    assert not is_stream(tmp_path / "none")


def test_a_device_that_a_link_leads_to_is_not_replaced(tmp_path):
    link = tmp_path / "null.csv"
    link.symlink_to("/dev/null")
    write_text(link, "text")
    assert link.is_symlink()
    assert is_stream(Path("/dev/null"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[1]", "expected an object in braces, found list"),
        ('{"a": 1, "a": 2}', "it has the field 'a' twice"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": -Infinity}', "-Infinity is not a finite number"),
        ('{"a": 1e999}', "1e999 is not a finite number"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": "\udcff"}', "cannot be read as JSON"),
    ],
)
def test_json_that_is_not_a_plain_object_is_refused_by_name(tmp_path, text, why):
    path = tmp_path / "some.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=re.escape(why)) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_json_is_read_as_it_was_written(tmp_path):
    value = {"a": [1, -2.5, None, True], "ü": {"b": 2**62}}
    write_json(tmp_path / "some.json", value)
    assert read_json(tmp_path / "some.json") == value


def test_json_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", "absent.json"):
        with pytest.raises(UserError, match="missing or not a file"):
            read_json(tmp_path / name)


def test_json_beyond_any_configuration_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate(100 * 2**20)
    with pytest.raises(UserError, match="larger than 64 MiB"):
        read_json(path)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    with writing_folder(folder) as temporary:
        (temporary / "a.json").write_text("1")
    with pytest.raises(MachineError, match="model"), writing_folder(folder):
        raise OSError("disk full")
    assert [path.name for path in folder.iterdir()] == ["a.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_link_to_a_folder_stays_and_its_folder_is_replaced(tmp_path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    for text in ("1", "2"):
        with writing_folder(tmp_path / "link") as temporary:
            (temporary / "a.json").write_text(text)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "real" / "a.json").read_text() == "2"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "disk", "link", "real"]


def test_the_old_folder_is_there_until_the_new_one_has_its_name(tmp_path, monkeypatch):
    folder, replace = tmp_path / "model", Path.replace
    with writing_folder(folder) as temporary:
        (temporary / "a.json").write_text("old")

    # The folder is a mount point; the new one cannot get its name.
    for last in (folder, tmp_path / ".model.new"):

        def busy(path, target, last=last):
            if path == last:
                raise OSError(errno.EBUSY, "Device or resource busy")
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", busy)
        with pytest.raises(MachineError, match="busy"), writing_folder(folder) as temporary:
            (temporary / "a.json").write_text("new")
        assert (folder / "a.json").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced, replace = [], Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.path.realpath(f"/proc/self/fd/{handle}")))

    def renamed(path, target):
        if path.is_dir():
            assert {str(each) for each in (path, *path.rglob("*"))} <= {*synced}
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", renamed)
    with writing_folder(tmp_path / "model") as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "a.json").write_text("1")
    assert synced


# What platformdirs gives for an application "serlab" on each system.
FOLDERS = {
    "Linux": (".cache/serlab", ".local/share/serlab"),
    "Darwin": ("Library/Caches/serlab", "Library/Application Support/serlab"),
    "Windows": ("AppData/Local/serlab/serlab/Cache", "AppData/Local/serlab/serlab"),
}


@pytest.mark.parametrize("system", FOLDERS)
def test_the_user_s_folders_are_those_of_the_system(system, tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert (user_folder("cache"), user_folder("data")) == tuple(tmp_path / each for each in FOLDERS[system])


def test_the_user_s_folders_follow_the_variables_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert user_folder("data") == tmp_path / "serlab"
    # The specification says to ignore relative paths.
    assert user_folder("cache") == Path.home() / ".cache" / "serlab"
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert user_folder("data") == tmp_path / "local" / "serlab" / "serlab"
