"""Which of several processes this one is, as torchrun says in the environment; one alone is the first of one."""

from __future__ import annotations

import os

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int:
    """This process's number; 0 leads."""
    return _number("RANK", 0)


def world() -> int:
    """How many processes there are."""
    return _number("WORLD_SIZE", 1)


def _number(name: str, alone: int) -> int:
    # All four, or else a cluster's own use of one of the names is meant.
    return int(os.environ[name]) if all(variable in os.environ for variable in _VARIABLES) else alone
