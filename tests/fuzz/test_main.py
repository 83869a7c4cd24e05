"""A few inputs of each kind pass, and a deliberate fault is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.cases import COLUMNS
from fuzz.running import KINDS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches processes through /proc")


def fuzz(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the fuzzers in a separate process, after Python code that may break serlab."""
    program = f"import sys\n{before}\nfrom fuzz.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=root)


def counts(text: str, kind: str) -> dict[str, int]:
    """Return a kind's row of the table: inputs, and inputs per fault."""
    row = re.search(rf"^\| {kind} \|(.*)\|$", text, re.MULTILINE)
    assert row, text
    numbers = [int(cell.replace(",", "")) for cell in row.group(1).split("|")[: 1 + len(COLUMNS)]]
    return dict(zip(("inputs", *COLUMNS), numbers, strict=True))


@pytest.mark.slow
def test_a_handful_of_each_kind_holds() -> None:
    run = fuzz("--count", "5")
    assert run.returncode == 0, run.stdout + run.stderr
    for kind in KINDS:
        assert counts(run.stdout, kind) == {"inputs": 5, **dict.fromkeys(COLUMNS, 0)}


SHORTER = """
from dataclasses import replace
from serlab import audio
whole = audio.Audio.from_file
def shorter(path):
    sound = whole(path)
    return replace(sound, original=sound.original[:-500])
audio.Audio.from_file = shorter
"""
FALLS_OVER = """
from serlab import audio
def from_file(path):
    raise KeyError("nobody expects this")
audio.Audio.from_file = from_file
"""
REFUSES = """
from serlab import audio
def from_file(path):
    raise audio.AudioError(path, "not today")
audio.Audio.from_file = from_file
"""
PRINTS = """
import os
from serlab import audio
whole = audio.Audio.from_file
audio.Audio.from_file = lambda path: (os.write(2, b"Note: resync"), whole(path))[1]
"""


@pytest.mark.parametrize(
    ("broken", "column"),
    [(SHORTER, "length"), (FALLS_OVER, "traceback"), (REFUSES, "refused"), (PRINTS, "noise")],
    ids=["shorter", "falls over", "refuses", "prints"],
)
def test_a_fault_put_in_is_found_kept_and_found_again(tmp_path: Path, broken: str, column: str) -> None:
    kept = tmp_path / "kept"
    run = fuzz("--only", "audio", "--count", "40", "--failures", str(kept), before=broken)
    assert run.returncode == 1, run.stderr
    assert counts(run.stdout, "audio")[column] > 0
    texts = {path.parent.name: path.read_text(encoding="utf-8") for path in kept.glob("*/found.txt")}
    name = next(name for name, text in texts.items() if f"\n{column}: " in text)
    assert any((kept / name / "input").iterdir())
    again = fuzz("--replay", name, before=broken)
    assert again.returncode == 1
    assert texts[name].splitlines()[0] in again.stdout


def test_the_same_seed_and_count_give_the_same_inputs() -> None:
    first, second = (fuzz("--replay", "audio-7-3").stdout.rpartition("\n")[0] for _ in range(2))
    assert first.partition("faults in")[0] == second.partition("faults in")[0]
    assert first != fuzz("--replay", "audio-7-4").stdout.rpartition("\n")[0]


def test_an_unknown_kind_is_refused() -> None:
    run = fuzz("--only", "audios")
    assert run.returncode == 2
    assert "audios" in run.stderr
