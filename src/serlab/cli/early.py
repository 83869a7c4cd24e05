"""Ctrl-C before the command line is there to catch it: one line and no traceback. Nothing is imported but ``sys``."""

import sys

GOES_ON = "serlab: interrupted; the same command goes on from here."


def hook(kind, error, trace):  # type: ignore[no-untyped-def]
    """Stand in for ``sys.excepthook``; Python then ends the process as SIGINT does, which a shell calls 130."""
    if issubclass(kind, KeyboardInterrupt):
        print(GOES_ON, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
