"""The examples run, and the stored outputs of the notebook are those of its code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
EXAMPLES = HOME / "examples"

pytestmark = pytest.mark.slow


def run(*command: object) -> str:
    """Run a program in the repository, in the environment of the tests; return what it prints."""
    pytest.importorskip("espeakng_loader")  # The voice of the synthetic corpus.
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=600, cwd=HOME, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_tests_on_other_speakers_and_searches():
    lines = run("-W", "error::UserWarning", EXAMPLES / "grid_search.py").splitlines()
    assert [line.split(":")[0] for line in lines] == ["mfcc-svm", "mfcc-svm", "logistic regression"]
    assert float(lines[0].split()[2]) > 1 / 6


def outputs(notebook: Path) -> list[dict]:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def test_the_notebook_runs_and_shows_the_stored_outputs(tmp_path):
    run(HOME / "tools" / "notebook.py", EXAMPLES / "timeline.ipynb", tmp_path / "executed.ipynb")
    stored, found = outputs(EXAMPLES / "timeline.ipynb"), outputs(tmp_path / "executed.ipynb")
    assert [one["output_type"] for one in found] == ["stream", "stream", "execute_result", "display_data"]
    assert found[0] == stored[0]
    assert "unlike those of the training clips" in "".join(found[1]["text"])
    tables = [one[2]["data"]["text/plain"][0] for one in (found, stored)]
    assert tables[0] == tables[1]  # The columns.
    assert "image/png" in found[3]["data"]
    cells = json.loads((EXAMPLES / "timeline.ipynb").read_text("utf-8"))["cells"]
    last = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][-2:]
    assert sum(code.count("\n") + 1 for code in last) <= 10  # From load_model to the plot.
