"""The word list of ``make lint`` finds phrases in prose and ignores code."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
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


def test_text_of_the_library_names_no_command():
    """An error that a function raises in Python must not send its reader to the command line."""
    taken = (TOOL.parent.parent / "tests" / "cli" / "taken.txt").read_text(encoding="utf-8")
    commands = {line.split(":")[0].split()[1] for line in taken.splitlines() if line.startswith("serlab ")}
    assert {"compare", "split"} <= commands
    named = re.compile(rf"\bserlab ({'|'.join(sorted(commands))})\b")
    # A model's card tells its users how to run it.
    checked = [
        path
        for path in (TOOL.parent.parent / "src" / "serlab").rglob("*.py")
        if "cli" not in path.parts and path.name != "card.py"
    ]
    assert len(checked) > 100
    assert [(path.name, text) for path in checked for text in texts(path) if named.search(text)] == []


def texts(path: Path) -> Iterator[str]:
    """Strings of a file that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value
