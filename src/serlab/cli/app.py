"""The application: commands, and what becomes of errors.

Standard output carries only the result; progress, warnings and errors go to standard error. Exit codes: 0 done,
1 done with findings, 2 the user's mistake, 3 the environment's fault, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import typer

from serlab import __version__
from serlab.cli import audit, cache, compare, listing, predict, tables
from serlab.core import SerlabError
from serlab.progress import say
from serlab.training import processes

INTERRUPTED = 130

app = typer.Typer(
    name="serlab",
    help="Train, compare and judge speech emotion recognition models on speakers they have never heard.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (compare, predict, tables, audit, listing, cache):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version  # its callback has printed it


def main() -> None:
    """Run the command line and end the process with the right exit code."""
    try:
        _run()
    except BrokenPipeError:
        # The reader of standard output (head, less) has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


@processes.led
def _run() -> None:
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        # Typer has caught the KeyboardInterrupt.
        if end.code == INTERRUPTED:
            say("serlab: interrupted; the same command goes on from here.")
        sys.stdout.flush()
        raise
    except SerlabError as error:
        say(f"serlab: {error}")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        say(f"serlab: the system refused{where}: {error.strerror or error}; check space and permissions.")
        raise SystemExit(3) from None
