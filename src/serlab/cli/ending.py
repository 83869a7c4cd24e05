"""How a command ends: with one line and an exit code, even during imports.

Exit codes: 0 done, 1 done with findings, 2 a mistake of the user, 3 a fault of the environment, 4 a
bug in serlab, 130 interrupted. Only the standard library is imported here, because Ctrl-C may come
during all other imports.
"""

from __future__ import annotations

import _thread
import codecs
import errno
import gc
import os
import select
import signal
import sys
import threading
import warnings
from functools import partial
from types import TracebackType

from serlab.cli.early import GOES_ON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from serlab.core import MachineError

INTERRUPTED = 130
_USAGE, _MACHINE, OWN_FAULT = 2, 3, 4
_A_MOMENT_S = 0.01
_COLLECT_AFTER = 10_000
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def ended(error: BaseException) -> int:
    """Print why the command ends, in one line if there is a reason.

    Args:
        error: the exception that ended it.

    Returns:
        The exit code.
    """
    from serlab.core import causes

    links = list(causes(error))
    if any(isinstance(link, KeyboardInterrupt) for link in links) or _Interrupts.seen:
        # A second Ctrl-C would interrupt the cleanup.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _say(GOES_ON)
        code = INTERRUPTED
    elif any(isinstance(link, BrokenPipeError) for link in links) and (isinstance(error, SystemExit) or _reader_gone()):
        # Rich ends a program whose reader is gone by SystemExit, with standard output on the null device.
        code = 0
    elif isinstance(error, SystemExit) and isinstance(error.code, int | None) and error.__context__ is None:
        code = error.code or 0
    else:
        code = _told(error)
    return _flushed(code)


def _told(error: BaseException) -> int:
    from serlab.core import MachineError, SerlabError, as_options

    if hasattr(error, "format_message"):
        return _usage(error)
    known: SerlabError | None = error if isinstance(error, SerlabError) else _of_the_machine(error)
    if known is None and isinstance(error, ImportError) and not (error.name or "").startswith("serlab"):
        known = MachineError(f"a required library cannot be loaded ({_line(error)}); install serlab again.")
    if known is not None:
        _say(f"serlab: {as_options(known)}")
        return known.exit_code
    where = _saved(error)
    details = f"{where} has the details for a report" if where else "its details could not be saved"
    _say(f"serlab: internal error ({type(error).__name__}: {_line(error)}); {details}.")
    return OWN_FAULT


def _usage(error: BaseException) -> int:
    """Print click's message about the arguments."""
    message = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return _USAGE
    command = context.command_path if context else "serlab"
    _say(f"serlab: {' '.join(message.split()).rstrip('.?')}; {command} --help shows what it takes.")
    return _USAGE


def _of_the_machine(error: BaseException) -> MachineError | None:
    """The error as a MachineError, if disk, permissions or memory caused it."""
    from serlab.core import MachineError, causes, lacks_memory

    if lacks_memory(error):
        return MachineError(
            "the machine does not have enough memory; end other programs, or use a smaller model or batch "
            "(--set training.batch_size=4) or fewer --jobs."
        )
    for link in causes(error):
        if isinstance(link, OSError) and (link is error or link.errno in _DISK):
            where = f" {link.filename}" if link.filename else ""
            return MachineError(
                f"the system refused{where}: {link.strerror or _line(link)}; check space and permissions."
            )
    return None


def _saved(error: BaseException) -> str | None:
    """Write the traceback to the cache folder, or to the temporary folder, and return the file's path."""
    import platform
    import tempfile
    import time
    import traceback
    from pathlib import Path

    from serlab import __version__
    from serlab.core.files import cache_folder

    about = f"serlab {__version__}, Python {platform.python_version()}, {platform.platform()}\n{sys.argv}\n\n"
    text = about + "".join(traceback.format_exception(error))
    name = f"fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (cache_folder() / "faults", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return str(folder / name)
    return None


def _line(error: BaseException) -> str:
    """The message of an error, in one line of limited length."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{text[:200]} …" if len(text) > 200 else text or "no message"


def _say(message: str) -> None:
    # Imported here, because Ctrl-C may have prevented an earlier import.
    from serlab.core.progress import say, show

    show()
    say(message)


def _flushed(code: int) -> int:
    """Flush standard output, so that Python does not print an error when it exits."""
    try:
        sys.stdout.flush()
    except OSError as error:
        gone = isinstance(error, BrokenPipeError)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not gone:
            _say(f"serlab: cannot write to standard output: {error.strerror}.")
            return _MACHINE
    return code


def _reader_gone() -> bool:
    """Whether the reader of standard output has closed it: ``serlab predict … | head``."""
    if not hasattr(select, "poll"):
        # Windows: a broken pipe can only be standard output.
        return True
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), select.POLLERR)
        return bool(watch.poll(0))
    except (OSError, ValueError):
        return False


class _Interrupts:
    """Whether Ctrl-C was pressed; C code that loads a module may replace the exception."""

    seen = False


def prepare() -> None:
    """Set up the process: streams, Ctrl-C, memory, and Python's own messages."""
    _Interrupts.seen = False
    # Python looks for unreachable cycles after 700 new objects. Imports make a million that all stay: torch and
    # transformers take a quarter less time to import this way, and a report a seventh less.
    gc.set_threshold(_COLLECT_AFTER)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Closed by the caller (``2>&-``): the next opened file would get its number, and stray
            # output.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115
    codecs.register_error("serlab", _as_it_was)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="serlab")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _unraisable
    sys.excepthook = _unprinted
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.warnoptions:
        warnings.showwarning = _unshown


def _as_it_was(error: UnicodeError) -> tuple[bytes | str, int]:
    """Encode characters that a stream's encoding lacks: an undecodable byte as itself, others as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    parts = (
        bytes([ord(sign) - 0xDC00]) if 0xDC80 <= ord(sign) <= 0xDCFF else sign.encode("ascii", "backslashreplace")
        for sign in found
    )
    return b"".join(parts), error.end


def _interrupt(_number: int, _frame: object) -> None:
    _Interrupts.seen = True
    raise KeyboardInterrupt


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    # An interrupt in a destructor would be lost, and one raised here would only come back to this
    # function.
    if issubclass(found.exc_type, KeyboardInterrupt):
        # On Windows os.kill would end the process at once.
        again = _thread.interrupt_main if os.name == "nt" else partial(os.kill, os.getpid(), signal.SIGINT)
        threading.Timer(_A_MOMENT_S, again).start()


def _unprinted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # C code that is interrupted while it loads prints the interrupt before it raises its own error.
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


def _unshown(*_: object, **__: object) -> None:
    """Hide warnings unless ``-W`` enables them."""
