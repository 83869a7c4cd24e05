"""Descriptions of inputs, their faults, and how faults are counted."""

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
"""Columns of the table: kind of a fault, and its title."""

WHOLE, KEPT, FREE, REFUSED, ALTERED = "whole", "kept", "free", "refused", "altered"
"""Expected results.

``whole``: only harmless changes, so it is read as before. ``kept``: damaged, so it is refused or
read as before. ``free``: anything but a fault, because a reader cannot know the original.
``refused``: it cannot be read. ``altered``: it has another meaning now, so it is refused or read
differently.
"""

LONGEST_SENTENCE = 1500


@dataclass(frozen=True)
class Fault:
    """A behaviour that must not occur.

    Attributes:
        column: a key of :data:`COLUMNS`.
        text: description with values.
        where: key that groups faults by cause: exception and function, or the mutation.
    """

    column: str
    text: str
    where: str


@dataclass(frozen=True)
class Case:
    """One input: a description of its seed and mutations, and a judge of the result."""

    text: str
    judge: Callable[[], Iterable[Fault]]


@dataclass(frozen=True)
class Tried:
    """The result of one input."""

    kind: str
    seed: int
    number: int
    text: str
    faults: tuple[Fault, ...]
    seconds: float
    megabytes: float

    @property
    def name(self) -> str:
        """The name for replaying the input."""
        return f"{self.kind}-{self.seed}-{self.number}"


def raised(error: BaseException) -> Fault:
    """Return a fault for an exception that would show a traceback, grouped by type and last serlab function."""
    return Fault("traceback", f"{type(error).__name__}: {short(str(error))}", blame(error))


def blame(error: BaseException) -> str:
    """Return an exception's type and the last serlab function in its traceback."""
    frames = [frame for frame in _frames(error.__traceback__) if frame.startswith("serlab.")]
    return f"{type(error).__name__} in {frames[-1] if frames else 'no function of serlab'}"


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(trace):
        yield f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"


def sentence_faults(text: str, where: str, *, quotes: str = "") -> Iterator[Fault]:
    """Yield faults if an error's text is not one plain sentence.

    Args:
        text: the error's text.
        where: key that groups faults.
        quotes: input that the error may quote unchanged, including line breaks. (The command line
            must escape them.)
    """
    if any(sign in quotes for sign in ("\\n", "\\x", "NULs")):
        text = text.replace("\n", " ").replace("\x1b", " ").replace("\0", " ")
    if not text.endswith(".") or "\n" in text or len(text) > LONGEST_SENTENCE:
        yield Fault("sentence", f"not one sentence: {short(text)}", f"{where}: not one sentence")
    elif any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        yield Fault("noise", f"control characters: {text!r}", f"{where}: control characters")


def short(text: str, most: int = 240) -> str:
    """Shorten a text to one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def as_line(text: str, faults: Iterable[Fault]) -> str:
    """Serialise faults as a line of JSON, to send them from the process that ran an input."""
    return json.dumps({"text": text, "faults": [vars(fault) for fault in faults]})


def from_line(line: str) -> tuple[str, tuple[Fault, ...]]:
    """Parse the output of :func:`as_line`."""
    data: dict[str, Any] = json.loads(line)
    return data["text"], tuple(Fault(**fault) for fault in data["faults"])


def print_traceback() -> None:
    """Show the current exception when an input is replayed."""
    traceback.print_exc(file=sys.stderr)
