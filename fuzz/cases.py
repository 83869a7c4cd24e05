"""An input in words, what is wrong with what became of it, and how that is counted."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

COLUMNS = {
    "traceback": "tracebacks",
    "hang": "hangs",
    "length": "wrong length",
    "refused": "whole refused",
    "unlisted": "unlisted",
    "changed": "wrong result",
    "sentence": "no sentence",
    "noise": "noise",
    "code": "code ran",
    "memory": "over 2 GB",
}
"""Columns of the table: what a fault is counted as, and its title."""

WHOLE, KEPT, FREE, REFUSED, HEEDED = "whole", "kept", "free", "refused", "heeded"
"""What is expected of whoever reads an input.

``whole``: nothing that matters was changed, and it is read as before. ``kept``: damaged, so it is refused, or read as
before. ``free``: anything but a fault, since no reader could know what was there before. ``refused``: it is nothing
that could be read. ``heeded``: it says something else now, so it is refused or read otherwise than before.
"""

LONGEST_SENTENCE = 1500


@dataclass(frozen=True)
class Fault:
    """Something that must not happen.

    Attributes:
        column: a key of :data:`COLUMNS`.
        text: what is wrong, with the figures.
        where: what groups faults of one cause: exception and function, or the mutation.
    """

    column: str
    text: str
    where: str


@dataclass(frozen=True)
class Case:
    """One input: its seed and mutations in words, and what finds fault with what becomes of it."""

    text: str
    judge: Callable[[], Iterable[Fault]]


@dataclass(frozen=True)
class Tried:
    """What became of one input."""

    kind: str
    seed: int
    number: int
    text: str
    faults: tuple[Fault, ...]
    seconds: float
    megabytes: float

    @property
    def name(self) -> str:
        """How the input is named when it is tried again."""
        return f"{self.kind}-{self.seed}-{self.number}"


def raised(error: BaseException) -> Fault:
    """An exception that a user would meet as a traceback; grouped by its type and the last function of serlab."""
    return Fault("traceback", f"{type(error).__name__}: {short(str(error))}", blame(error))


def blame(error: BaseException) -> str:
    """Type of an exception, and the last function of serlab on its way."""
    frames = [frame for frame in _frames(error.__traceback__) if frame.startswith("serlab.")]
    return f"{type(error).__name__} in {frames[-1] if frames else 'no function of serlab'}"


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(trace):
        yield f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"


def sentence_faults(text: str, where: str, *, quotes: str = "") -> Iterator[Fault]:
    """What keeps an error's text from being one plain sentence.

    Args:
        text: the error's text.
        where: what the fault is grouped by.
        quotes: what the error may repeat as it was given: a line break in it is the giver's. (The command line, which
            prints such an error, is held to more.)
    """
    if any(sign in quotes for sign in ("\\n", "\\x", "NULs")):
        text = text.replace("\n", " ").replace("\x1b", " ").replace("\0", " ")
    if not text.endswith(".") or "\n" in text or len(text) > LONGEST_SENTENCE:
        yield Fault("sentence", f"not one sentence: {short(text)}", f"{where}: not one sentence")
    elif any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        yield Fault("noise", f"control characters: {text!r}", f"{where}: control characters")


def short(text: str, most: int = 240) -> str:
    """A text on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def as_line(text: str, faults: Iterable[Fault]) -> str:
    """Faults as a line of JSON, to be handed from the process that tried an input."""
    return json.dumps({"text": text, "faults": [vars(fault) for fault in faults]})


def from_line(line: str) -> tuple[str, tuple[Fault, ...]]:
    """What :func:`as_line` wrote."""
    data: dict[str, Any] = json.loads(line)
    return data["text"], tuple(Fault(**fault) for fault in data["faults"])


def print_traceback() -> None:
    """Show the exception at hand, for whoever tries an input again."""
    traceback.print_exc(file=sys.stderr)
