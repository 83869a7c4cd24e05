"""What users wait for, side by side with what they would use instead, as ratios from one machine and one run.

A *row* is one line of the table (``rows.py``). Rows that share a peer are measured together: in every repeat each side
works once, in turn (ours, peer, ours, peer ...), so that a machine that slows down slows both. A side gives a
:class:`~benchmarks.harness.Timing` a repeat: seconds of steady work, and start-up apart.
"""
