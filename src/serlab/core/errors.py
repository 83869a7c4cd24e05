"""Errors and exclusions, shared by all packages.

An error is one sentence: what is wrong, where, and what to do. Each class has the exit code of the
command line (0 done, 1 done with findings, 2 a mistake of the user, 3 a fault of the environment, 4
any other exception, which is a bug in serlab). A message names a parameter with :func:`argument`
and a recipe's setting with :func:`setting`. In Python they read ``jobs=9`` and
``training.epochs=3``; the command line shows ``--jobs 9`` and ``--set training.epochs=3``.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# torch raises plain RuntimeErrors if its CPU allocator fails, and Python if it cannot start a
# thread.
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "can't start new thread")


class SerlabError(Exception):
    """Base of all errors that serlab raises on purpose; the message is one sentence for the user."""

    exit_code = 2

    def __str__(self) -> str:
        return in_python(super().__str__())

    def __repr__(self) -> str:
        shown = ", ".join(repr(in_python(each) if isinstance(each, str) else each) for each in self.args)
        return f"{type(self).__name__}({shown})"


class UserError(SerlabError):
    """The user asked for something impossible: a wrong name, option, file or table."""

    exit_code = 2


class MachineError(SerlabError):
    """The environment is at fault: disk, permissions, network or a missing extra."""

    exit_code = 3


class FindingsError(SerlabError):
    """The data stopped the work, for example by too many exclusions."""

    exit_code = 1


# Parameters whose option has another name.
_OPTIONS = {"everyone": "all"}
_ARGUMENT, _SETTING, _END = "\ue0a0", "\ue0a1", "\ue0a2"
_MARKED = re.compile(f"([{_ARGUMENT}{_SETTING}])([a-zA-Z0-9_.:]+)(=?)([^{_END}]*){_END}")


def argument(name: str, value: object = None) -> str:
    """Name a parameter of a public function in an error message.

    Args:
        name: as in Python.
        value: the given or expected value; None names only the parameter.

    >>> error = UserError(f"{argument('max_excluded', 2)} is not between 0 and 1.")
    >>> str(error)
    'max_excluded=2 is not between 0 and 1.'
    >>> as_options(error)
    '--max-excluded 2 is not between 0 and 1.'
    """
    return f"{_ARGUMENT}{name}{'' if value is None else f'={value}'}{_END}"


def setting(path: str, value: object = None) -> str:
    """Name a recipe's setting in an error message.

    Args:
        path: dotted, e.g. ``training.epochs``.
        value: the expected value; None names only the setting.

    >>> error = UserError(f"the loss is not finite; lower {setting('training.learning_rate')}.")
    >>> str(error)
    'the loss is not finite; lower training.learning_rate.'
    >>> as_options(error)
    'the loss is not finite; lower --set training.learning_rate.'
    """
    return f"{_SETTING}{path}{'' if value is None else f'={value}'}{_END}"


def in_python(text: str) -> str:
    """A message with parameters and settings as in Python."""
    return _MARKED.sub(lambda found: f"{found[2]}{found[3]}{found[4]}", text)


def as_options(error: SerlabError) -> str:
    """The message of an error with parameters as command-line options."""
    text = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else str(error)
    return _MARKED.sub(_as_option, text)


def _as_option(found: re.Match[str]) -> str:
    if found[1] == _SETTING:
        return f"--set {found[2]}{found[3]}{found[4]}"
    return f"--{_OPTIONS.get(found[2], found[2]).replace('_', '-')}{found[3] and ' '}{found[4]}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and the errors that it was raised from or during.

    Libraries hide system errors behind their own: ``torch.save`` raises a plain RuntimeError while
    it handles the OSError of a full disk.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__]


def lacks_memory(error: BaseException) -> bool:
    """Whether the error, or one behind it, means that the machine is out of memory."""
    return any(
        isinstance(link, MemoryError)
        or getattr(link, "errno", None) == errno.ENOMEM
        or (isinstance(link, RuntimeError) and any(phrase in str(link).lower() for phrase in _NO_MEMORY))
        for link in causes(error)
    )


@dataclass(frozen=True)
class Exclusion:
    """A clip that was left out, and the reason.

    Attributes:
        clip: the clip's id in the corpus; for loose files, the path as given.
        path: its file; empty without one.
        reason: a phrase, e.g. ``"silent"``.
    """

    clip: str
    path: str
    reason: str


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for an unknown name, with the closest known one.

    Args:
        kind: kind of thing, e.g. ``"recipe"``.
        name: the name as given.
        known: all known names.

    Returns:
        The error, to be raised.

    >>> str(unknown("recipe", "resnet81", ["resnet18", "mfcc-svm"]))
    "unknown recipe 'resnet81'; did you mean 'resnet18'? Known: mfcc-svm, resnet18."
    """
    names = sorted(known)
    spelled = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    hint = f"; did you mean {spelled[near[0]]!r}?" if near else "."
    return UserError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")
