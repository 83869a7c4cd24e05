from __future__ import annotations

import io
import subprocess
import sys

import pytest

from serlab.core import progress
from serlab.core.progress import bar, clock, say


@pytest.fixture
def now(monkeypatch):
    """A clock that only moves when it is set."""
    hands = {"time": 100.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: hands["time"])
    return hands


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_all_of_it_goes_to_standard_error(capfd):
    say("hello")
    with bar("reading", 1) as running:
        running.advance()
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "hello\n"


def test_a_log_gets_a_line_after_two_seconds_and_then_every_fifteen(now, capfd):
    with bar("training", 100) as running:
        for second in range(1, 41):
            now["time"] = 100.0 + second
            running.advance(note=f"loss {second}")
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "training: 2/100 (2 %), 1 min 38 s left, loss 2",
        "training: 17/100 (17 %), 1 min 23 s left, loss 17",
        "training: 32/100 (32 %), 1 min 8 s left, loss 32",
    ]


def test_time_left_counts_only_what_this_process_did(now, capfd):
    with bar("training", 100, done=90) as running:
        now["time"] += 10
        running.advance(5)
    assert capfd.readouterr().err == "training: 95/100 (95 %), 10 s left\n"


def test_nothing_to_do_prints_nothing(now, capfd):
    with bar("reading", 0) as running:
        now["time"] += 60
        running.advance()
    assert capfd.readouterr().err == ""


def test_a_terminal_gets_a_live_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with bar("training", 4) as running:
        running.advance(2, note="loss 1.5")
    assert "training" in terminal.getvalue()
    assert "50%" in terminal.getvalue()
    assert "loss 1.5" in terminal.getvalue()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\r\tc\x00\x7f\x9b", r"a\nb\r\tc\x00\x7f\x9b"),
        ("a\u202eb\u2066c\u200fd\u2028e\ufefff", r"a\u202eb\u2066c\u200fd\u2028e\ufefff"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud83d", r"\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("Grüße, 日本語　𝄞, می‌خواهم, 👩‍🚀 \\x1b", "Grüße, 日本語　𝄞, می‌خواهم, 👩‍🚀 \\x1b"),
    ],
)
def test_control_and_invisible_characters_are_escaped(text, seen, capfd):
    assert progress.shown(text) == seen
    say(text)
    assert capfd.readouterr().err == f"{seen}\n"


def test_a_title_is_not_markup_and_controls_nothing(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with bar("[red]a\x1b[2J", 4) as running:
        running.advance(2, note="[bold]b\x07")
    assert r"[red]a\x1b[2J" in terminal.getvalue()
    assert r"[bold]b\x07" in terminal.getvalue()


SILENT = """
import logging
from serlab.core.progress import bar, say
say("hello")
logging.getLogger("serlab").warning("careful")
with bar("reading", 1) as running:
    running.advance()
"""


def test_a_library_is_silent_until_its_caller_configures_the_logger():
    ended = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
    configured = f"import logging; logging.basicConfig(level='INFO', format='%(name)s: %(message)s')\n{SILENT}"
    ended = subprocess.run([sys.executable, "-c", configured], capture_output=True, text=True, check=True)
    assert ended.stderr == "serlab: hello\nserlab: careful\n"


def test_a_terminal_gets_no_bar_unless_the_caller_wants_it(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.LOGGER, "handlers", [])
    with bar("training", 4) as running:
        running.advance(2)
    assert terminal.getvalue() == ""
