"""``python -m benchmarks [ROW...] [--full] [--tiny] [--force]``: measure rows, write results, table and plot.

A full pass resumes where it stopped: a row with a full result of the same code, machine and
versions is only measured again with ``--force``. Quick results are ignored by git, full ones are
committed in a folder per kind of processor; the table shows the kinds side by side.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from pathlib import Path

from benchmarks import table
from benchmarks.harness import (
    RESULTS,
    SIZES,
    Size,
    Skipped,
    code_version,
    kind_of,
    load,
    machine,
    record,
    save,
    versions,
)
from benchmarks.materials import corpus
from benchmarks.rows import ROWS, Row
from serlab.core import SerlabError, unknown
from serlab.core.progress import clock, say, show


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run it; return 0 on success, 1 if a row was skipped, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)}; all by default")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--full", action="store_true", help="the committed figures: hours")
    sizes.add_argument("--tiny", action="store_true", help="toy models: only whether the rows work")
    parser.add_argument("--force", action="store_true", help="measure again what has been measured")
    parser.add_argument("--repeats", type=int, help="other than the size has; fewer for a slow row")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of serlab's training")
    parser.add_argument("--table", action="store_true", help="only write table and plot from the results there are")
    given = parser.parse_args(arguments)
    mode = "full" if given.full else "tiny" if given.tiny else "quick"
    folder = RESULTS / (kind_of(machine()) if given.full else mode)
    try:
        rows = [_row(name) for name in given.rows] or [row for row in ROWS.values() if given.full or not row.full_only]
    except SerlabError as error:
        say(f"benchmarks: {error}")
        return error.exit_code
    skipped = 0
    if not given.table:
        size = SIZES[mode]
        size = replace(size, precision=given.precision, repeats=given.repeats or size.repeats)
        skipped = measure(rows, size, folder, force=given.force)
    say(f"the table is in {table.publish(mode, RESULTS if given.full else folder)}")
    return 1 if skipped else 0


def measure(rows: Sequence[Row], size: Size, folder: Path, *, force: bool = False) -> int:
    """Measure rows, together if they share a peer, and write the result of each.

    Args:
        rows: the rows.
        size: amount of work.
        folder: folder of results, also of an earlier pass.
        force: whether to measure rows that have a full result.

    Returns:
        The number of rows skipped because they cannot be measured here.
    """
    start, skipped = time.monotonic(), 0
    wanted = _with_needed(rows, size, folder)
    for target, members in groupby(wanted, key=lambda row: row.measure):
        names = [row.name for row in members]
        if size.name == "full" and not force:
            done = [name for name in names if not ROWS[name].extrapolated and still_valid(name, size, folder)]
            for name in done:
                say(f"{name}: done already with this code, machine and versions; FORCE=1 does it again")
            names = [name for name in names if name not in done]
        if not names:
            continue
        say(f"{', '.join(names)} ({size.name}, after {clock(time.monotonic() - start)})")
        module, function = target.split(":")
        try:
            outcomes = getattr(import_module(module), function)(size, names, folder)
        except (Skipped, SerlabError) as error:
            say(f"{', '.join(names)} cannot be measured here: {error}")
            outcomes = {}
        skipped += len(names) - len(outcomes)
        for name, outcome in outcomes.items():
            save(record(name, outcome, size), folder)
    say(f"done in {clock(time.monotonic() - start)}")
    return skipped


def still_valid(name: str, size: Size, folder: Path) -> bool:
    """Return whether a row has a result of this size, code, machine, versions and corpus."""
    result = load(name, folder)
    return result is not None and (
        result["mode"] == size.name
        and result["precision_asked_for"] == size.precision
        and result["code"] == code_version(ROWS[name].measure)
        and result["machine"] == machine()
        and result["versions"] == versions()
        and result["settings"].get("corpus") in (None, corpus().name)
    )


def _row(name: str) -> Row:
    if name not in ROWS:
        raise unknown("row", name, ROWS)
    return ROWS[name]


def _with_needed(rows: Sequence[Row], size: Size, folder: Path) -> list[Row]:
    """Return the rows in table order, plus rows that they are computed from and that have no valid result."""
    names = {row.name for row in rows}
    names |= {need for row in rows for need in row.needs if not still_valid(need, size, folder)}
    return [row for row in ROWS.values() if row.name in names]


if __name__ == "__main__":
    show()
    warnings.filterwarnings("ignore", module="transformers")
    sys.exit(main())
