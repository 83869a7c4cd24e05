"""Standard output: lines for humans, and paths for humans or programs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from serlab.core.progress import say, shown


def lines(texts: Iterable[str]) -> None:
    """Print lines for humans; control characters in names do not reach the terminal."""
    for text in texts:
        print(shown(text))


def path(found: Path) -> None:
    """Print a path: unchanged for a program, without control characters on a terminal."""
    print(shown(str(found)) if sys.stdout.isatty() else found)


def report(found: Path, models: Sequence[Path]) -> None:
    """Print a report's path, and say how to try the first of the models that were kept."""
    if models:
        say(f"to try a model: serlab predict --model {shlex.quote(str(models[0]))} FILE")
    path(found)
