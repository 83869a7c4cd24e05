"""Words every part of serlab shares: label sets, exclusions and errors.

Errors are sentences for a person: what is wrong, where, and what to do. Each class carries the exit code that the
command line ends with (0 done, 1 done with findings, 2 the user's mistake, 3 the environment's fault; 4, a fault of
serlab's own, is for every other exception).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# torch raises plain RuntimeErrors where its CPU allocator fails, and Python where it can't start a thread.
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "can't start new thread")

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad")
"""The six labels of CREMA-D, in alphabetical order."""


class SerlabError(Exception):
    """Base of every error that serlab raises on purpose; its text is one sentence for the user."""

    exit_code = 2


class UserError(SerlabError):
    """The user asked for something that cannot be: a wrong name, option, file or table."""

    exit_code = 2


class MachineError(SerlabError):
    """The machine is at fault: disk, permissions, network, a missing extra."""

    exit_code = 3


class FindingsError(SerlabError):
    """The work stopped because of what it found in the data (for example too many exclusions)."""

    exit_code = 1


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and the errors that it was raised from or during.

    Libraries hide what the system said behind errors of their own: ``torch.save`` raises a plain RuntimeError while it
    handles the OSError of a full disk.
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
    """Whether the error, or one behind it, says that the machine has not enough memory."""
    return any(
        isinstance(link, MemoryError)
        or getattr(link, "errno", None) == errno.ENOMEM
        or (isinstance(link, RuntimeError) and any(phrase in str(link).lower() for phrase in _NO_MEMORY))
        for link in causes(error)
    )


@dataclass(frozen=True)
class Exclusion:
    """A clip that was left out, and why.

    Attributes:
        clip: the corpus's id of the clip (for loose files: the path as given).
        path: the file concerned, empty when there is none.
        reason: one phrase, e.g. ``"silent"``.
    """

    clip: str
    path: str
    reason: str


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that does not exist, with the nearest real one.

    Args:
        kind: what was named, e.g. ``"recipe"``.
        name: the name as given.
        known: every name that exists.

    Returns:
        The error, ready to be raised.

    >>> str(unknown("recipe", "resnet81", ["resnet18", "mfcc-svm"]))
    "unknown recipe 'resnet81'; did you mean 'resnet18'? Known: mfcc-svm, resnet18."
    """
    names = sorted(known)
    spelled = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    hint = f"; did you mean {spelled[near[0]]!r}?" if near else "."
    return UserError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")
