"""Run serlab's command line in this process and judge how it ended."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fuzz.cases import Fault, raised, short

CODES = (0, 1, 2, 3, 130)
"""Documented exit codes, except 4, a bug in serlab."""

# Printed by the argument parser.
_PARSER = ("Usage:", "─ Error ─")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Called:
    """The result of a call: exit code, output, and an uncaught exception, if any."""

    code: int
    out: str
    err: str
    error: BaseException | None = None


def called(arguments: Sequence[str]) -> Called:
    """Call the command line like its script; the output of this forked process is a file."""
    from serlab.cli import main

    sys.argv = ["serlab", *arguments]
    places = [_flushed(number) for number in (1, 2)]
    out = Path("stdout.txt").absolute()
    with out.open("w+", encoding="utf-8", errors="surrogateescape") as stream:
        before, sys.stdout = sys.stdout, stream
        code, error = 0, None
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException as escaped:
            code, error = 1, escaped
        finally:
            with suppress(ValueError):
                stream.flush()
            sys.stdout = before
    printed = out.read_text(encoding="utf-8", errors="replace")
    out.unlink(missing_ok=True)
    return Called(code, printed, _since(2, places[1]), error)


def faults_of(ended: Called, where: str) -> Iterator[Fault]:
    """Yield faults that a user would notice."""
    if ended.error is not None:
        yield raised(ended.error)
        return
    if "Traceback (most recent call last)" in ended.err:
        last = ended.err.strip().splitlines()[-1]
        yield Fault("traceback", short(ended.err[-600:], 600), f"{short(last, 80)} ({where})")
    elif ended.code not in CODES:
        yield Fault(
            "traceback",
            f"exit code {ended.code}: {short(ended.err[-600:], 400)}",
            f"code {ended.code}, {where}: {_last(ended.err)}",
        )
    elif ended.code in (2, 3) and not any(mark in ended.out + ended.err for mark in _PARSER):
        said = [line for line in ended.err.splitlines() if line.startswith("serlab: ")]
        if len(said) != 1 or not said[0].endswith("."):
            yield Fault("sentence", f"exit code {ended.code} says {short(ended.err)!r}", f"{where}: no sentence")
    if found := _CONTROL.search(ended.err.replace("\r", "")):
        yield Fault(
            "noise", f"control character {found.group()!r} in {short(ended.err)!r}", f"{where}: control characters"
        )


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return short(lines[-1], 80) if lines else "silent"


def _flushed(number: int) -> int:
    """Return the current size of a file that captures an output."""
    sys.stdout.flush()
    sys.stderr.flush()
    return Path(f"/proc/self/fd/{number}").stat().st_size


def _since(number: int, place: int) -> str:
    sys.stderr.flush()
    with Path(f"/proc/self/fd/{number}").open("rb") as stream:
        stream.seek(place)
        return stream.read().decode(errors="replace")
