"""Benchmarks of work that users wait for against common alternatives, as ratios from one machine and run.

A *row* is one line of the table (``rows.py``). Rows with the same alternative (*peer*) are measured
together: in every repeat each side runs once, in turn (ours, peer, ours, peer ...), so that a
slower machine slows both. Each side returns a :class:`~benchmarks.harness.Timing` per repeat:
seconds of steady work, and start-up separately.
"""
