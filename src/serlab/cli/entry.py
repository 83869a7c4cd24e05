"""The entry point of the command line: it sets up the process before any heavy import."""

from __future__ import annotations

from serlab.cli.ending import OWN_FAULT, ended, prepare


def main() -> None:
    """Run the command line and end the process with the right exit code."""
    code = OWN_FAULT
    try:
        prepare()
        from serlab.core.progress import show

        show()
        from serlab.cli.app import run

        run()
        code = 0
    except SystemExit as told:
        code = told.code if isinstance(told.code, int) else 0
    except BaseException as error:
        code = ended(error)
    raise SystemExit(code)
