"""What goes to standard output: lines for a person, and paths for a person or a program."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from serlab.core.progress import shown


def lines(texts: Iterable[str]) -> None:
    """Print lines that a person reads; names in them steer no terminal."""
    for text in texts:
        print(shown(text))


def path(found: Path) -> None:
    """Print a path: as it is for a program, and as text on a terminal."""
    print(shown(str(found)) if sys.stdout.isatty() else found)
