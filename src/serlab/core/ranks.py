"""Number of this process among those that torchrun has started, from the environment; 0 of 1 without torchrun."""

from __future__ import annotations

import os

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int:
    """Number of this process; process 0 leads."""
    return _number("RANK", 0)


def world() -> int:
    """Number of processes."""
    return _number("WORLD_SIZE", 1)


def _number(name: str, alone: int) -> int:
    # All four must be set, because clusters set some of them themselves.
    return int(os.environ[name]) if all(variable in os.environ for variable in _VARIABLES) else alone
