"""Duplicates: clips of a corpus that are the same recording, and so must stay in one subset."""
