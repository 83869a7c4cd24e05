"""The ledger only grows, and reports if it cannot be read or written."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from serlab.core import MachineError, UserError
from serlab.tables import ledger


def test_lines_come_back_in_order_with_their_time(tmp_path: Path) -> None:
    assert ledger.read(tmp_path) == []
    for fold in (1, 2):
        ledger.enter(tmp_path, {"recipe": "resnet18", "fold": fold})
    lines = ledger.read(tmp_path)
    assert [line["fold"] for line in lines] == [1, 2]
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_half_a_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text('{"recipe": "resn')
    with pytest.raises(UserError, match=r"ledger\.jsonl has a line that is not JSON"):
        ledger.read(tmp_path)


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(MachineError, match=r"ledger\.jsonl"):
        ledger.enter(tmp_path, {})


def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path: Path) -> None:
    ledger.enter(tmp_path, {"fold": 1})
    size = (tmp_path / "ledger.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
    try:
        with pytest.raises(MachineError, match=r"ledger\.jsonl"):
            ledger.enter(tmp_path, {"fold": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    ledger.enter(tmp_path, {"fold": 3})
    assert [line["fold"] for line in ledger.read(tmp_path)] == [1, 3]
