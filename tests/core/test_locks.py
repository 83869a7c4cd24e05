"""A lock excludes other processes, leaves no files, and ends with its process."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serlab.core import MachineError, UserError
from serlab.core.locks import locked

HOLD = """
import sys
from pathlib import Path
from serlab.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path):
    """A path that another process has locked, and that process."""
    path = tmp_path / "folder" / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    yield path, holder
    holder.kill()
    holder.communicate()


def test_another_process_is_kept_out_while_the_block_lasts(held) -> None:
    path, holder = held
    with (
        pytest.raises(UserError, match=r"another process is working on .*run; wait until it has finished\."),
        locked(path),
    ):
        pass
    holder.communicate()
    with locked(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(held) -> None:
    path, holder = held
    holder.kill()
    holder.wait()
    with locked(path):
        pass


def test_waiting_processes_come_one_after_another(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "ledger", wait=True):
            order.append("second")

    with locked(tmp_path / "ledger", wait=True):
        waiting = threading.Thread(target=second)
        waiting.start()
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_the_machine_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"cannot write .*file/run"), locked(tmp_path / "file" / "run"):
        pass


def test_the_current_folder_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    with locked(Path()), pytest.raises(UserError, match="another process"), locked(tmp_path / "folder"):
        pass
