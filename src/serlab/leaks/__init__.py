"""What would make a figure unbelievable, found before it is: leaks, doubles, nuisances that tell the label."""

from serlab.leaks.auditing import audit, left_out
from serlab.recordings.copies import copies

__all__ = ["audit", "copies", "left_out"]
