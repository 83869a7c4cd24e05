"""What would make a figure unbelievable, found before it is: leaks, doubles, nuisances that tell the label."""

from serlab.audit.auditing import audit, copies

__all__ = ["audit", "copies"]
