"""Standard output: lines for humans, and paths for humans or programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from serlab.core.progress import shown


def lines(texts: Iterable[str]) -> None:
    """Print lines for humans; control characters in names do not reach the terminal."""
    for text in texts:
        print(shown(text))


def path(found: Path) -> None:
    """Print a path: unchanged for a program, without control characters on a terminal."""
    print(shown(str(found)) if sys.stdout.isatty() else found)
