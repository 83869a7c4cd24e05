"""The ledger only grows, and says when it cannot be read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from serlab import ledger
from serlab.core import MachineError, UserError


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
