"""Messages and progress, through the logger ``serlab``.

As a library serlab is silent until the caller configures that logger (level INFO). The command line
calls :func:`show`: then messages go to standard error, and progress is a live bar on a terminal. Of
several processes only the first logs.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Protocol

from serlab.core.ranks import rank

_FIRST_LINE_AFTER_S = 2.0
_LINE_EVERY_S = 15.0
_LOOK_BACK_S = 1800.0
# Control characters, soft hyphen, invisible and bidirectional marks, tags, and surrogates.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

LOGGER = logging.getLogger("serlab")
LOGGER.addHandler(logging.NullHandler())


class Bar(Protocol):
    """Progress of a running task."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` more as done, and show ``note`` beside the bar."""


class _Printer(logging.Handler):
    """Prints each message on a line of standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        # If standard error is closed, work goes on.
        with suppress(OSError):
            print(record.getMessage(), file=sys.stderr, flush=True)


_PRINTER = _Printer()


def show() -> None:
    """Print serlab's messages to standard error from now on, with live bars on a terminal."""
    LOGGER.addHandler(_PRINTER)
    LOGGER.setLevel(logging.INFO)


def say(message: str) -> None:
    """Log one line, in the first process only."""
    if rank() == 0:
        LOGGER.info("%s", shown(message))


def shown(text: str) -> str:
    r"""Text for display, with control and invisible characters as escapes.

    File names, labels and speakers may contain anything. A name must not clear the screen, reverse
    a line or fake a second one. Formats for programs keep names as they are.

    >>> print(shown("a\x1b[31mb.wav"))
    a\x1b[31mb.wav
    """
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        # A byte of a file name that is not valid UTF-8.
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode()


def clock(seconds: float) -> str:
    """Format seconds for reading.

    >>> clock(7.4), clock(75), clock(7384)
    ('7 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@cache
def say_once(message: str) -> None:
    """Log a line unless this process has logged it before."""
    say(message)


@contextmanager
def bar(title: str, total: int, done: int = 0, *, asked: bool = False) -> Iterator[Bar]:
    """Show the progress of a task of ``total`` steps while the block runs.

    Args:
        title: label of the task.
        total: number of steps.
        done: steps that an interrupted process did earlier.
        asked: show a live bar even if the program does not print messages.

    Yields:
        A :class:`Bar`.
    """
    if asked or (_PRINTER in LOGGER.handlers and sys.stderr.isatty() and rank() == 0):
        with _live(title, total, done) as live:
            yield live
    else:
        yield _Lines(title, total, done)


class _Lines:
    """Log lines: the first after two seconds, then one every fifteen."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.done, self.before = title, total, done, done
        self.start = time.monotonic()
        self.next_line = self.start + _FIRST_LINE_AFTER_S

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now < self.next_line or not self.total:
            return
        self.next_line = now + _LINE_EVERY_S
        left = (now - self.start) / max(1, self.done - self.before) * (self.total - self.done)
        text = f"{self.title}: {self.done}/{self.total} ({100 * self.done // self.total} %), {clock(left)} left"
        say(f"{text}, {note}" if note else text)


@contextmanager
def _live(title: str, total: int, done: int) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left {task.fields[note]}", markup=False),
    )
    # Steps may come in groups minutes apart. By default Rich looks back 30 s and would find no
    # speed.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=_LOOK_BACK_S) as progress:
        task = progress.add_task(shown(title), total=total, completed=done, note="")

        class _Rich:
            def advance(self, steps: int = 1, note: str = "") -> None:
                progress.update(task, advance=steps, note=shown(note))

        yield _Rich()
