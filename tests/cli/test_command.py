"""Commands made from dataclasses, and the options of every command: names, order and defaults stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from serlab.cli import command
from serlab.cli.app import app
from serlab.cli.command import After, Last
from serlab.core import UserError

TAKEN = Path(__file__).with_name("taken.txt")


@dataclass(frozen=True, kw_only=True)
class Common:
    last: Annotated[str, typer.Option(), Last()] = "z"
    name: Annotated[str, typer.Argument()]
    second: Annotated[int, typer.Option()] = 2


@dataclass(frozen=True, kw_only=True)
class Own(Common):
    first: Annotated[bool, typer.Option("--first"), After("name")] = False
    third: Annotated[list[str] | None, typer.Option(), After("second")] = None


@pytest.fixture
def received():
    """The options ``Own`` of a command for a command line."""
    found: list[Own] = []

    def own(args: Own) -> None:
        """Take options."""
        found.append(args)

    application = typer.Typer()
    command.add(application, own)

    def call(*words: str) -> Own:
        typer.main.get_command(application)(list(words), standalone_mode=False)
        return found.pop()

    call.command = typer.main.get_command(application)
    return call


def test_options_come_as_one_object(received):
    assert received("x") == Own(name="x")
    given = received("x", "--first", "--second", "3", "--third", "a", "--third", "b", "--last", "y")
    assert given == Own(name="x", first=True, second=3, third=["a", "b"], last="y")


@pytest.mark.parametrize(
    "words",
    [
        ("--second", "3", "--second", "3"),
        ("--second=3", "--first", "--second", "4"),
    ],
)
def test_an_option_for_one_value_is_not_dropped_when_it_is_given_twice(received, words):
    with pytest.raises(UserError, match=r"--second is given twice; keep one\."):
        received("x", *words)


def test_words_after_two_hyphens_are_no_options(received):
    assert received("--second", "3", "--", "--second").name == "--second"


def test_help_has_the_options_in_their_places(received):
    assert [param.name for param in received.command.params][:5] == ["name", "first", "second", "third", "last"]
    assert received.command.help == "Take options."


def taken(command, words=("serlab",)):
    """A line for every option and argument, in order."""
    for param in command.params:
        kind = "argument" if param.param_type_name == "argument" else "/".join([*param.opts, *param.secondary_opts])
        yield f"{' '.join(words)}: {kind} {'required' if param.required else param.default}"
    for name, child in getattr(command, "commands", {}).items():
        yield from taken(child, (*words, name))


def test_what_commands_take_stays():
    assert list(taken(typer.main.get_command(app))) == TAKEN.read_text(encoding="utf-8").splitlines()
