"""A command ends with at most one line, and the exit code tells the kind of error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from serlab.cli import ending
from serlab.core import MachineError, causes


@pytest.fixture
def failing(serlab, monkeypatch):
    """``serlab corpora``, which raises the given error."""

    def call(raising, *, how=None):
        def fail() -> None:
            if how is not None:
                how()
            raise raising

        monkeypatch.setattr("serlab.corpora.descriptions", fail)
        return serlab("corpora")

    return call


def details_of(sentence: str) -> Path:
    return Path(sentence.partition("; ")[2].removesuffix(" has the details for a report."))


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), KeyError("x"), RecursionError("too deep"), AssertionError()]
)
def test_a_fault_of_serlab_s_own_is_a_sentence_and_a_saved_traceback(failing, tmp_path, monkeypatch, error):
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path))
    ended = failing(error)
    assert ended.code == 4
    assert ended.sentence.startswith(f"internal error ({type(error).__name__}: ")
    saved = details_of(ended.sentence)
    assert saved.parent == tmp_path / "faults"
    text = saved.read_text()
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text
    assert "corpora" in text


def test_where_the_cache_cannot_be_written_the_traceback_goes_to_the_temporary_folder(failing, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SERLAB_CACHE", str(blocked))
    for folder, saved in ((tmp_path / "temporary", True), (blocked, False)):
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.gettempdir", lambda folder=folder: str(folder))
            ended = failing(ZeroDivisionError())
        assert ended.code == 4
        if saved:
            assert details_of(ended.sentence).parent == folder
        else:
            assert ended.sentence.endswith("its details could not be saved.")


def without_memory() -> None:
    torch.empty(10**15)


def without_memory_in_numpy() -> None:
    np.empty(10**15)


@pytest.mark.parametrize("how", [without_memory, without_memory_in_numpy, None])
def test_too_little_memory_is_the_machine_s_fault(failing, how):
    ended = failing(MemoryError(), how=how)
    assert ended.code == 3
    assert "not have enough memory" in ended.sentence


def test_a_full_gpu_is_the_machine_s_fault(failing):
    assert failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")).code == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_the_disk_refuses_is_found_behind_other_errors(failing, number):
    def refuse() -> None:
        try:
            raise OSError(number, os.strerror(number), "/somewhere/file")
        except OSError as error:
            raise RuntimeError("unexpected pos 704 vs 598") from error

    ended = failing(RuntimeError(), how=refuse)
    assert ended.code == 3
    assert os.strerror(number) in ended.sentence
    assert "/somewhere/file" in ended.sentence


def test_an_absent_library_is_the_environment_s_fault_and_an_absent_module_of_serlab_is_its_own(failing):
    ended = failing(ModuleNotFoundError("No module named 'scipy'", name="scipy"))
    assert ended.code == 3
    assert "scipy" in ended.sentence
    assert failing(ModuleNotFoundError("No module named 'serlab.x'", name="serlab.x")).code == 4


def test_an_interrupt_that_a_library_has_turned_into_another_error_is_one(failing):
    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("numpy._core.multiarray failed to import") from error

    ended = failing(ImportError(), how=interrupted)
    assert ended.code == 130
    assert ended.sentence == "interrupted; the same command resumes from here."


def test_words_that_the_command_does_not_know_are_a_sentence(serlab):
    for arguments, said in (
        (("compar",), "'compare'"),
        (("compare", "--jobs", "many"), "'--jobs'"),
        (("predict", "--modl", "x"), "--modl"),
        (("predict",), "'paths'"),
        (("split", "x", "--out"), "'--out'"),
    ):
        ended = serlab(*arguments)
        assert ended.code == 2
        assert said in ended.sentence
        assert "--help shows what it takes" in ended.sentence


@pytest.mark.parametrize("name", ["\x1b[2Jx", "a\nserlab: done", "x\u202ey", "x\x9b31m", "x\ud800"])
def test_a_name_does_not_control_the_terminal(serlab, name):
    ended = serlab("protocols", name)
    assert ended.code == 2
    assert not set(name) & set("\x1b\n\u202e\x9b\ud800") & set(ended.sentence)


def test_a_full_disk_behind_standard_output(serlab_process):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        ended = serlab_process("recipes", stdout=full)
    assert ended.code == 3
    assert "No space left on device" in ended.sentence


@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_that_the_caller_has_closed_gets_nothing_and_no_file_in_its_place(tmp_path, number):
    line = f"exec {number}>&-; exec '{sys.executable}' -m serlab recipes"
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert ("resnet18" in ended.stdout) == (number == 2)


def test_a_closed_standard_error_does_not_stop_work(serlab_process):
    reading, writing = os.pipe()
    os.close(reading)
    ended = serlab_process("protocols", "no-such-corpus", stderr=writing)
    os.close(writing)
    assert ended.code == 2


def test_a_name_that_is_not_text_is_written_unchanged(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102
    script = "from serlab.cli.ending import prepare; prepare(); import sys; print(sys.argv[1], '\u00e9')"
    for encoding, wanted in (("utf-8", folder + " é\n".encode()), ("ascii", folder + b" \\xe9\n")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
        ended = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, env=environment, check=True)
        assert ended.stdout == wanted


CYCLES = """
import weakref
from serlab.cli.ending import prepare

class Node:
    pass

prepare()
first = Node()
first.itself, gone = first, weakref.ref(first)
del first
for size in range(100_000):
    if gone() is None:
        break
    node = Node()
    node.itself = node
print(size)
"""


def test_unreachable_cycles_are_still_collected_but_less_often():
    ended = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=True)
    # Each node brings a dictionary of its own.
    assert 2_000 < int(ended.stdout) < 20_000


INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["serlab", "corpora"]
sys.meta_path.insert(0, Finder())
from serlab.cli import main
main()
"""


@pytest.mark.parametrize(
    "name", ["serlab.cli.ending", "typer", "serlab.cli.app", "serlab.core.progress", "serlab.corpora"]
)
def test_ctrl_c_during_the_imports_is_one_line(name):
    line = [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING.format(name=name)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    # Before there is anything to catch it, Python itself ends the process by the signal: 130, too,
    # for a shell.
    assert ended.returncode in (130, -signal.SIGINT)
    assert ended.stderr == "serlab: interrupted; the same command resumes from here.\n"
    assert ended.stdout == ""


def test_an_interrupt_that_falls_into_a_destructor_is_not_lost(monkeypatch):
    class Falling:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "unraisablehook", ending._unraisable)
    try:
        Falling()
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(60)
    finally:
        signal.signal(signal.SIGINT, before)


def test_warnings_are_shown_only_on_request(tmp_path):
    script = (
        "import sys; sys.argv = ['serlab', 'corpora']\n"
        "import serlab.corpora, warnings, serlab.cli\n"
        "def warn():\n    warnings.warn('look at this')\n    return serlab.corpora.reading.descriptions()\n"
        "serlab.corpora.descriptions = warn\n"
        "serlab.cli.main()"
    )
    for options, shown in (([], False), (["-W", "always"], True)):
        line = [sys.executable, *options, "-c", script]
        ended = subprocess.run(line, capture_output=True, text=True, check=True)
        assert ("look at this" in ended.stderr) == shown


def test_the_causes_of_an_error_are_walked_once_each():
    first, second = ValueError("first"), MachineError("second")
    second.__cause__, second.__context__, first.__context__ = first, first, second
    assert list(causes(second)) == [second, first]
