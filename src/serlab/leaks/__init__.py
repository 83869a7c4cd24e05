"""What would make a figure unbelievable, found before it is: leaks, doubles, nuisances that tell the label."""

from serlab.leaks.auditing import audit, left_out
from serlab.recordings.duplicates import find_duplicates

__all__ = ["audit", "find_duplicates", "left_out"]
