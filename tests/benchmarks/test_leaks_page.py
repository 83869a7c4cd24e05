from benchmarks.leaks_page import publish

RESULT = {
    "threshold": 0.7,
    "first_seconds": 31.4,
    "again_seconds": 2.04,
    "distribution": {
        "crema-d": {"copies": [0.91, 0.99, 1.0], "takes": [0.05, 0.1, 0.2]},
        "synthetic": {"copies": [0.81, 0.99, 1.0], "takes": [0.05, 0.1, 0.49]},
    },
    "recall": {
        "crema-d": [{"own": [["a", "b"]]}, {"kind": "FLAC", "changes": 1, "planted": 400, "found": 399, "false": 1}],
        "synthetic": [{"own": []}, {"kind": "FLAC", "changes": 1, "planted": 400, "found": 400, "false": 0}],
    },
    "growth": [
        {"clips": 1000, "seconds": 0.2, "megabytes": 110.0, "candidates": 1},
        {"clips": 10000, "seconds": 2.1, "megabytes": 310.0, "candidates": 9},
    ],
    "machine": {"processor": "A processor", "threads": 2},
}


def test_what_was_measured_is_between_the_marks(tmp_path):
    page, picture = tmp_path / "audit.md", tmp_path / "images" / "audit.svg"
    page.write_text(
        "before\n<!-- measured: written by python -m benchmarks.leaks -->\nold\n<!-- end of measured -->\nafter\n"
    )
    publish(RESULT, page, picture)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")  # noqa: PT018
    assert "\nold\n" not in text
    assert "| FLAC | 399 of 400 | 400 of 400 | 1 | 0 |" in text
    assert "| 10,000 | 2.1 | 310 |" in text
    assert "In crema-d, their copies correlate by 0.91 or more" in text
    assert "In synthetic, their copies correlate by 0.81 or more" in text
    assert "crema-d has 1 pair." in text
    assert "synthetic has 0 pairs." in text
    assert picture.read_text().lstrip().startswith("<?xml")
