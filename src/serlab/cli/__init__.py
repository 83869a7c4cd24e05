"""The command line: parsing only; heavy imports happen inside the commands."""

from serlab.cli.app import main

__all__ = ["main"]
