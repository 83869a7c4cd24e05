from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from serlab.cli import output

NAME = Path("runs\x1b[2J/caf\u00e9")


class Stream(io.StringIO):
    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(("terminal", "wanted"), [(False, f"{NAME}\n"), (True, "runs\\x1b[2J/caf\u00e9\n")])
def test_a_path_is_exact_for_a_program_and_text_on_a_terminal(monkeypatch, terminal, wanted):
    stream = Stream()
    stream.terminal = terminal
    monkeypatch.setattr(sys, "stdout", stream)
    output.path(NAME)
    assert stream.getvalue() == wanted


def test_lines_stay_lines(capsys):
    output.lines(["a\nb", "", "c\rd"])
    assert capsys.readouterr().out == "a\\nb\n\nc\\rd\n"
