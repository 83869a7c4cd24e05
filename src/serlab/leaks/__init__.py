"""The leak audit: speakers or recordings in two subsets, broken clips, confounders that predict the label."""

from serlab.leaks.auditing import audit, left_out
from serlab.recordings.duplicates import find_duplicates

__all__ = ["audit", "find_duplicates", "left_out"]
