from __future__ import annotations

import hashlib
import threading

import numpy as np
import pandas as pd
import pytest

from serlab.corpora.scan import describe_files, in_threads, scan


def test_header_and_hash_of_each_file(tmp_path, make_tone):
    good = make_tone(tmp_path / "good.flac", seconds=0.25, rate=44100)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"noise")
    table = scan([str(good), "", str(bad), str(tmp_path / "gone.wav")], "looking")
    np.testing.assert_array_equal(table["duration"], [0.25, np.nan, np.nan, np.nan])
    assert table["sample_rate"].tolist() == [44100, 0, 0, 0]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (good, bad)]
    assert table["sha256"].tolist() == [hashes[0], "", hashes[1], ""]
    assert describe_files(pd.DataFrame({"path": [str(bad)], "sample_rate": [0]})) == "unreadable"


def test_results_keep_the_order_and_an_error_stops_the_rest():
    assert in_threads(lambda number: number * number, range(100), "squares") == [n * n for n in range(100)]
    done = []
    first_failed = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            first_failed.set()
            raise KeyboardInterrupt
        first_failed.wait(5)
        done.append(number)
        threading.Event().wait(0.01)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(1000), "interrupted")
    assert len(done) < 900
