"""Run the kinds of inputs one after another, up to the time limit or the number of inputs."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzz import process
from fuzz.cases import Case, Fault, Tried, as_line, from_line, print_traceback, raised

KINDS = ("audio", "models", "tables", "corpora", "cli")
_PREPARING_SECONDS = 600.0
_LAST_WORDS = 1500
# Number of inputs to keep per cause; the table counts all.
_KEPT_OF_A_CAUSE = 2


@dataclass(frozen=True)
class Place:
    """Folders for valid inputs, the current input, and failed inputs."""

    seeds: Path
    work: Path
    failures: Path | None


def prepare(kind: str, place: Place) -> None:
    """Import what a kind needs and make its valid inputs, in a separate process.

    Raises:
        RuntimeError: The inputs cannot be made.
    """
    module = import_module(f"fuzz.{kind}")
    for name in module.WARM:
        import_module(name)
    log = place.work / "preparing.log"
    until = time.monotonic() + _PREPARING_SECONDS
    # Leave the repository, so that stray files do no harm.
    ended = process.forked(lambda: module.prepare(place.seeds), log, until=until, seconds=_PREPARING_SECONDS)
    if ended.code or ended.stopped:
        raise RuntimeError(f"the material of {kind} cannot be made: {log.read_text(errors='replace')[-_LAST_WORDS:]}")


def tried(kind: str, seed: int, number: int, place: Place, *, until: float) -> Tried | None:
    """Run one input; None if the time limit was reached first.

    An input that takes too long is run again, because a busy machine slows everything down.
    """
    for attempt in (1, 2):
        folder = place.work / "input"
        _remove(folder)
        folder.mkdir(parents=True)
        told, log = place.work / "told.jsonl", place.work / "printed.log"
        told.unlink(missing_ok=True)
        ended = process.forked(lambda: _try(kind, seed, number, place, folder, told), log, until=until)  # noqa: B023
        if ended.stopped == "time":
            return None
        if ended.stopped != "hang" or attempt == 2:
            break
    if not told.exists():
        raise RuntimeError(
            f"the input {kind}-{seed}-{number} cannot be made: {log.read_text(errors='replace')[-_LAST_WORDS:]}"
        )
    text, faults = from_line(told.read_text(encoding="utf-8").splitlines()[-1])
    where = text.partition(":")[0]
    if ended.stopped == "hang":
        faults += (Fault("hang", f"not done after {ended.seconds:.0f} s", f"hang, {where}"),)
    elif ended.stopped == "memory":
        faults += (Fault("memory", f"{ended.megabytes:.0f} MiB", f"memory, {where}"),)
    elif ended.code:
        last = log.read_text(errors="replace")[-_LAST_WORDS:]
        how = f"signal {-ended.code}" if ended.code < 0 else f"code {ended.code}"
        faults += (Fault("traceback", f"the process ended with {how}: {last}", f"{how}, {where}"),)
    return Tried(kind, seed, number, text, faults, ended.seconds, ended.megabytes)


def keep(found: Tried, place: Place, kept: dict[str, int]) -> None:
    """Keep a failed input with its faults, unless enough inputs of its cause are kept."""
    causes = {fault.where for fault in found.faults}
    if place.failures is None or all(kept.get(cause, 0) >= _KEPT_OF_A_CAUSE for cause in causes):
        return
    for cause in causes:
        kept[cause] = kept.get(cause, 0) + 1
    folder = place.failures / found.name
    _remove(folder)
    folder.mkdir(parents=True)
    lines = [found.text, *(f"{fault.column}: {fault.text} [{fault.where}]" for fault in found.faults)]
    (folder / "found.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
    (place.work / "input").rename(folder / "input")


def _try(kind: str, seed: int, number: int, place: Place, folder: Path, told: Path) -> None:
    """In the forked process: make the input, describe it, and judge the result."""
    os.chdir(folder)
    module: Any = import_module(f"fuzz.{kind}")
    case: Case = module.make(random.Random(f"{seed}/{kind}/{number}"), place.seeds, folder)
    _tell(told, as_line(case.text, ()))
    _tell(told, as_line(case.text, judged(case.judge)))


def judged(judge: Callable[[], Any]) -> list[Fault]:
    """Return the judge's faults; an unexpected exception is a fault too."""
    faults: list[Fault] = []
    try:
        faults.extend(judge())
    except BaseException as error:
        print_traceback()
        faults.append(raised(error))
    return faults


def _tell(told: Path, line: str) -> None:
    with told.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def _remove(folder: Path) -> None:
    """Remove a folder even if its permissions were changed."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
