"""Find phrases that read translated in documentation, docstrings, comments and messages.

``python tools/words.py [PATH...]`` prints each match with a suggestion and exits with 1 if there is one. Without
paths it checks the project.
Code, generated blocks and quotations in Markdown are not checked. CONTRIBUTING.md explains the style.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PHRASES = {
    r"nought": "zero",
    r"anew": "again, re-save, from scratch",
    r"shall": "must, should",
    r"of which": "a new sentence",
    r"(?<!there\s)(?-i:is none)\b(?! of)": "'is not one', 'does not exist'",
    r"(?<!there\s)is no (?!longer|more)\w+": "'is not a …'",
    r"nobody|no one knows|whoever": "say what happens, without a person",
    r"(see )?who may (read|write)": "check its permissions",
    r", for (it|they|there|this|that) ": "because",
    r"be it": "whether it is",
    r"as (\w+ )+as may be": "as far as possible",
    r"heeds?": "use, support",
    r"dear(er|est)": "more expensive",
    r"(is|are) said(?! to)": "print, report",
    r"with(out)? it (is|are)": "if",
    r"stranger'?s": "from other programs",
    r"people-like": "human-like",
    r"freed of": "without",
    r"undisturbed": "uninterrupted",
    r"for ever": "forever, endlessly",
    r"told apart|tells? (\w+ )?apart": "distinguish",
    r"as (it|they) stands?": "unchanged",
    r"stands? (beside|between)": "'is', 'is shown'",
    r"has come": "has arrived",
    r"says? nothing of": "lacks",
    r"go(es|ing)? on (from|where)": "resume",
    r"so many (clips|labels|rows|speakers)": "a number of",
    r"(lies?|lay) (beside|under|there)": "is",
    r"fault of serlab's own": "bug, internal error",
    r"(rows?|columns?|logits?|values?|lines?|folders?|files?|predictions?|matri(x|ces)|checkpoints?|models?|"
    r"runs?|steps?|once|entr(y|ies)|numbers?) an? "
    r"(clip|class|label|fold|epoch|speaker|batch|second|seed|recipe|view|file|run|line)": "'per …'",
}
_RULES = [(re.compile(rf"\b(?:{phrase})(?![\w-])", re.IGNORECASE), advice) for phrase, advice in PHRASES.items()]
_UNCHECKED = re.compile(
    r"<!-- (?P<name>[\w-]+): written by .*?<!-- end of (?P=name) -->|```.*?```|`[^`\n]*`|^>[^\n]*|\]\([^)]*\)",
    re.DOTALL | re.MULTILINE,
)
QUOTES = ("tools/words.py", "docs/plain-english.md")
"""Files that quote the phrases."""
CHECKED = ("src", "benchmarks", "fuzz", "publication", "tools", "docs", "README.md", "CONTRIBUTING.md")


def main(arguments: list[str]) -> int:
    """Check the given files and folders, or the whole project."""
    root = Path(__file__).resolve().parent.parent
    found = 0
    for file in files([Path(argument) for argument in arguments] or [root / name for name in CHECKED]):
        name = file.resolve().relative_to(root).as_posix()
        if name in QUOTES:
            continue
        for number, phrase, advice in matches(file):
            found += 1
            print(f"{name}:{number}: {phrase!r}; write {advice}")
    return 1 if found else 0


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the Python and Markdown files among and below ``paths``."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) + sorted(path.rglob("*.md")) if path.is_dir() else [path]


def matches(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the phrase and the advice for each match in a file."""
    source = file.read_text(encoding="utf-8")
    for first, text in prose(source) if file.suffix == ".py" else [(1, markdown(source))]:
        for rule, advice in _RULES:
            for match in rule.finditer(text):
                yield first + text.count("\n", 0, match.start()), match[0], advice


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each comment and string of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, re.sub(r"`[^`]*`|^\s*>>>.*", " ", node.value, flags=re.MULTILINE)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def markdown(source: str) -> str:
    """Blank out code, links, quotations and generated blocks, and keep line numbers."""
    return _UNCHECKED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
