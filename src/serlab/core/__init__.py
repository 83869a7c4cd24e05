"""Shared basics: errors, settings, files, locks, progress, randomness."""

from serlab.core.errors import (
    Exclusion,
    FindingsError,
    MachineError,
    SerlabError,
    UserError,
    argument,
    as_options,
    causes,
    lacks_memory,
    setting,
    unknown,
)

__all__ = [
    "Exclusion",
    "FindingsError",
    "MachineError",
    "SerlabError",
    "UserError",
    "argument",
    "as_options",
    "causes",
    "lacks_memory",
    "setting",
    "unknown",
]
