"""Ctrl-C before the command line can catch it: one line and no traceback. Only ``sys`` is imported."""

import sys

GOES_ON = "serlab: interrupted; the same command resumes from here."


def hook(kind, error, trace):  # type: ignore[no-untyped-def]
    """Replacement of ``sys.excepthook``; Python then ends the process by SIGINT, exit code 130 in a shell."""
    if issubclass(kind, KeyboardInterrupt):
        print(GOES_ON, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
