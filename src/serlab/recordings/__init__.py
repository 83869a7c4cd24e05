"""Duplicates: which clips of a corpus are the same recording, and what must therefore stay in one subset."""
