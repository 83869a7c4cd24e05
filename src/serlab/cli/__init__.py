"""The command line: parsing only; heavy imports happen inside the commands."""

import sys

from serlab.cli import early

# Before anything else is imported: Ctrl-C may come at once.
sys.excepthook = early.hook

from serlab.cli.entry import main  # noqa: E402

__all__ = ["main"]
