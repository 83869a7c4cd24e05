"""The command line: parsing only; heavy imports happen inside the commands."""

from serlab.cli.ending import main

__all__ = ["main"]
