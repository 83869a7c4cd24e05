"""``python -m benchmarks [ROW...]``: alternate repeats of each side, report the ratio as min, median and max."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.rows import ROWS, Work
from serlab.files import write_json

REPEATS = 5


def seconds(work: Work) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(names: list[str]) -> None:
    """Time the rows and write ``benchmarks/results/<row>.json``."""
    wrong = [name for name in names if name not in ROWS]
    if wrong:
        sys.exit(f"there is no row {wrong[0]}; rows: {', '.join(ROWS)}")
    for name in names or ROWS:
        ours, peer, what = ROWS[name]()
        ours(), peer()
        ratios = np.array([seconds(peer) / seconds(ours) for _ in range(REPEATS)])
        low, middle, high = np.quantile(ratios, [0, 0.5, 1])
        print(f"{name:<10} {middle:6.1f} times as fast as {what} ({low:.1f} to {high:.1f})")
        result = {
            "row": name,
            "peer": what,
            "ratio": {"min": low, "median": middle, "max": high},
            "machine": platform.machine(),
        }
        write_json(Path(__file__).parent / "results" / f"{name}.json", result)


if __name__ == "__main__":
    main(sys.argv[1:])
