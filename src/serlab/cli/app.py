"""The application: its commands, and how they are run.

Only the result goes to standard output; progress, warnings and errors go to standard error.
"""

from __future__ import annotations

import re
import sys

import typer

from serlab import __version__
from serlab.cli import (
    audit,
    cache,
    command,
    compare,
    data,
    explore,
    export,
    listen,
    listing,
    predict,
    pretrain,
    push,
    serve,
    tables,
)
from serlab.cli.ending import INTERRUPTED, ended
from serlab.core import UserError
from serlab.training import processes

# An empty list is for the command to refuse.
_LISTS = ("--recipes", "--recipe", "--folds", "--fold", "--seeds", "--seed")
_EMPTY_OPTION = re.compile(r"--[\w-]+=")
# Both spellings are accepted by every command that has one of them.
_SAME = {"recipes": "recipe", "folds": "fold", "seeds": "seed"}

app = typer.Typer(
    name="serlab",
    help="Train, compare and evaluate speech emotion recognition models on unseen speakers.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: _SAME.get(name, name),
    },
)
for module in (compare, pretrain, predict, listen, serve, export, push, tables, audit, explore, listing, data, cache):
    module.register(app)
for each in (app, *(group.typer_instance for group in app.registered_groups)):
    for registered in each.registered_commands if each else ():
        registered.help = command.examples_as_code(registered.callback.__doc__ or "")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version  # printed by its callback


def _check_filled(words: list[str]) -> None:
    """Refuse empty words: usually an unset variable of the shell."""
    for before, word in zip(["", *words], words, strict=False):
        if before in _LISTS:
            continue
        if not word or _EMPTY_OPTION.fullmatch(word):
            what = word.rstrip("=") or (before if before.startswith("-") else "")
            raise UserError(f"{what or 'an argument'} is empty (is a variable unset?); give it a value, or omit it.")


@processes.led
def run() -> None:
    """Run the command line, report the error that ended it, and exit with the matching code."""
    try:
        _check_filled(sys.argv[1:])
        code = typer.main.get_command(app)(standalone_mode=False)
    except BaseException as error:
        code = ended(error)
    else:
        # Typer has caught the KeyboardInterrupt.
        code = ended(KeyboardInterrupt() if code == INTERRUPTED else SystemExit(code))
    if code:
        raise SystemExit(code)
