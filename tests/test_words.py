"""The word list of ``make lint`` finds phrases in prose and ignores code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "words.py"
SPEC = importlib.util.spec_from_file_location("words", TOOL)
assert SPEC is not None
assert SPEC.loader is not None
words = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(words)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.py", '"""Fine."""\nx = f"it is {1} nought"\n', [(2, "nought")]),
        ("a.py", '"""Summary.\n\nOne row a clip.\n"""\n', [(3, "row a clip")]),
        ("a.py", "x = 1  # made anew\n", [(1, "anew")]),
        ("a.py", 'if x is None:\n    """Use `anew`; there is no clip."""\n', []),
        ("a.md", "Fine.\n\nWhat nobody\nsees.\n", [(3, "nobody")]),
        ("a.md", "```\nanew\n```\n`anew` [x](anew.md)\n> anew\n", []),
        ("a.md", "<!-- t: written by x -->\nanew\n<!-- end of t -->\nshall\n", [(4, "shall")]),
    ],
)
def test_a_phrase_is_found_in_prose_alone(tmp_path, name, text, found):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert [(line, phrase) for line, phrase, _ in words.matches(file)] == found


def test_the_command_fails_on_a_match(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(TOOL.parent.parent)
    assert words.main(["tools"]) == 0
    assert words.main(["tests/test_words.py"]) == 1
    assert "tests/test_words.py" in capsys.readouterr().out
