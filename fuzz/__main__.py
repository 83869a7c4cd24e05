"""``python -m fuzz``: run damaged and odd inputs for a given time and report faults.

An input depends only on its kind, seed and number: the same seed and count give the same table, and
``--replay NAME`` runs one again and shows its output. It needs ``fork``, so it does not work on
Windows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz import running
from fuzz.report import Tally, markdown

_SAY_EVERY = 20.0
# Processes with threads cannot be forked safely, and inputs are small. Nothing may be downloaded.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run it; return 0 without faults, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="total time in seconds, shared by the kinds (300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (0)")
    parser.add_argument("--only", default=",".join(running.KINDS), help="kinds, separated by commas (all)")
    parser.add_argument("--count", type=int, help="number of inputs per kind; disables the default time limit")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--failures", type=Path, help="folder for a few failing inputs of each cause")
    parser.add_argument("--replay", metavar="NAME", help="run one input again, e.g. audio-0-17, and show its output")
    given = parser.parse_args(arguments)
    kinds = given.only.split(",")
    if unknown := set(kinds) - set(running.KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(running.KINDS)}")
    work = Path(tempfile.mkdtemp(prefix="serlab-fuzz-"))
    # Before preparing a kind imports heavy modules.
    os.environ.update(_ENVIRONMENT, SERLAB_CACHE=str(work / "cache"))
    failures = given.failures.absolute() if given.failures else None
    place = running.Place(work / "seeds", work, failures)
    place.seeds.mkdir()
    try:
        if given.replay:
            return _replay(given.replay, place)
        timed = given.count is None or "--seconds" in (arguments if arguments is not None else sys.argv)
        until = time.monotonic() + given.seconds if timed else float("inf")
        tallies = [
            _try_kind(kind, given.seed, given.count, place, until=until, left=len(kinds) - index)
            for index, kind in enumerate(kinds)
        ]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    text = markdown(tallies, f"seed {given.seed}, {sum(tally.inputs for tally in tallies):,} inputs")
    print(text, end="")
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    return int(any(tally.failed for tally in tallies))


def _try_kind(kind: str, seed: int, count: int | None, place: running.Place, *, until: float, left: int) -> Tally:
    """Run inputs of one kind for its share of the time."""
    tally = Tally(kind)
    kept: dict[str, int] = {}
    now = time.monotonic()
    end = now + (until - now) / left
    running.prepare(kind, place)
    said = time.monotonic()
    number = 0
    while time.monotonic() < end and (count is None or number < count):
        found = running.tried(kind, seed, number, place, until=end)
        if found is None:
            break
        tally.add(found)
        if found.faults:
            running.keep(found, place, kept)
        number += 1
        if time.monotonic() - said > _SAY_EVERY:
            said = time.monotonic()
            print(f"{kind}: {number:,} inputs, {len(tally.causes)} causes", file=sys.stderr, flush=True)
    return tally


def _replay(name: str, place: running.Place) -> int:
    kind, seed, number = name.rsplit("-", 2)
    running.prepare(kind, place)
    found = running.tried(kind, int(seed), int(number), place, until=float("inf"))
    assert found is not None
    print((place.work / "printed.log").read_text(errors="replace"), end="")
    print(f"{found.name}: {found.text}")
    for fault in found.faults:
        print(f"{fault.column}: {fault.text} [{fault.where}]")
    if place.failures:
        running.keep(found, place, {})
    print(f"{len(found.faults)} faults in {found.seconds:.1f} s, {found.megabytes:.0f} MiB")
    return int(bool(found.faults))


if __name__ == "__main__":
    sys.exit(main())
