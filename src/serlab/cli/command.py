"""Commands whose options are a frozen dataclass: one field is one option or argument."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from serlab.core import UserError

_LISTS = {"--recipes", "--folds", "--seeds", "--test"}
"""Options that take several values, separated by commas."""

_EXAMPLES = re.compile(r"^(Examples?:)\n(.*)", re.MULTILINE | re.DOTALL)


class Command(TyperCommand):
    """A command that refuses an option that is given twice; click would use the last one and drop the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name.

        Raises:
            UserError: an option for one value is given more than once.
        """
        words = args[: args.index("--")] if "--" in args else args
        same = ctx.token_normalize_func or str
        given = Counter(f"--{same(word[2:].partition('=')[0])}" for word in words if word.startswith("--"))
        for option in self.params:
            names = {f"--{same(name.removeprefix('--'))}" for name in option.opts if name.startswith("--")}
            if (
                not getattr(option, "multiple", False)
                and not getattr(option, "is_flag", False)
                and sum(given[name] for name in names) > 1
            ):
                name = option.opts[0]
                how = "name all in one, separated by commas" if name in _LISTS else "keep one"
                raise UserError(f"{name} is given twice; {how}.")
        return super().parse_args(ctx, args)


@dataclass(frozen=True)
class After:
    """Puts an option right after another one in the help; of several, the last one comes first.

    Attributes:
        name: the other option's field. Without this mark, options are in the order of their
            definition.
    """

    name: str


@dataclass(frozen=True)
class Last:
    """Puts an option at the end of the help."""


def add(app: typer.Typer, function: Callable[[Any], None], name: str | None = None) -> None:
    """Add a command.

    Args:
        app: the application.
        function: takes the options as one dataclass object with ``Annotated`` fields, as in
            Typer; its docstring is the help.
        name: the command's name, if not the function's.
    """
    (annotation,) = (hint for name, hint in get_type_hints(function).items() if name != "return")
    kind: Callable[..., Any] = annotation

    def command(**values: Any) -> None:
        function(kind(**values))

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(_parameters(annotation))  # type: ignore[attr-defined]
    app.command(name, cls=Command)(command)


def examples_as_code(text: str) -> str:
    """Turn the examples at the end of a docstring into a code block: Typer removes their indentation."""

    def block(found: re.Match[str]) -> str:
        lines = (line.strip() for line in found[2].splitlines())
        return "\n".join([found[1], "", "```text", *filter(None, lines), "```"])

    return _EXAMPLES.sub(block, inspect.cleandoc(text))


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    defaults = {field.name: field.default for field in fields(kind)}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if defaults[name] is MISSING else defaults[name],
            annotation=hints[name],
        )
        for name in _ordered({name: _mark(hints[name]) for name in defaults})
    ]


def _ordered(marks: dict[str, After | Last | None]) -> list[str]:
    """Names in the order of the help.

    >>> _ordered({"z": Last(), "a": None, "d": None, "c": After("a"), "b": After("a")})
    ['a', 'b', 'c', 'd', 'z']
    """
    names = [name for name, mark in marks.items() if mark is None]
    for name, mark in marks.items():
        if isinstance(mark, After):
            names.insert(names.index(mark.name) + 1, name)
    return names + [name for name, mark in marks.items() if isinstance(mark, Last)]


def _mark(hint: Any) -> After | Last | None:
    found = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((mark for mark in found if isinstance(mark, After | Last)), None)
