"""Peak memory is the measured process's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import measure
from benchmarks.harness import SIZES
from benchmarks.rows import ROWS

_MIB = 2**20


@pytest.mark.slow
def test_the_peak_of_the_process_that_measures_does_not_count(tiny_bench: Path) -> None:
    np.ones(2500 * _MIB // 8).sum()
    assert measure([ROWS["predict-memory"]], SIZES["tiny"], tiny_bench) == 0
    result = json.loads((tiny_bench / "predict-memory.json").read_text(encoding="utf-8"))
    assert all(100 < peak < 2000 for peak in result["settings"]["peak_mib"])
