"""Corpora: tables of clips, known by name or read from the user's own folders."""
