"""Several processes for one command: torchrun starts them, the first leads, and the others help it train.

Only the first process runs the command, writes files and logs. The others wait until it calls a
function with :func:`everywhere`; inside the function, the processes :func:`exchange` values. An
error in one process stops the function in all of them, and the first process raises it.

Messages use a separate process group (gloo) with a timeout of days, because the first process
may predict for hours between two trainings. accelerate's ``gather_object`` and
``broadcast_object_list`` use the default group, whose timeout is that of a training step, so
torch's own functions are called.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from serlab.core import MachineError
from serlab.core.progress import LOGGER
from serlab.core.ranks import rank, world

if TYPE_CHECKING:
    from torch import nn

_INTERRUPTED = 130
_LONGEST_WAIT = timedelta(days=7)
# Gradients are exchanged right after an exchange of losses, so no process waits long.
_LONGEST_STEP = timedelta(hours=1)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Value = TypeVar("Value")


class _State:
    """State of this process.

    Attributes:
        leading: whether this is the first process of several, which runs the command.
        together: whether a function is running in all processes.
        parted: whether the processes wait for different operations, so messages are impossible.
    """

    leading = False
    together = False
    parted = False


class _FailedError(Exception):
    """A process has failed, and all processes know it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def share() -> tuple[int, int]:
    """Number of this process and number of processes; (0, 1) outside :func:`everywhere`."""
    return (rank(), world()) if _State.together else (0, 1)


def led(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run ``function`` only in the first process; the others help, and return or raise the same."""

    @functools.wraps(function)
    def lead(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if world() == 1 or _State.leading:
            return function(*arguments, **named)
        # torch would warn about parameters without a gradient, which are expected.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        if rank():
            result: Result = _help()
            return result
        _group()
        _State.leading = True
        try:
            result = function(*arguments, **named)
        except BaseException as error:
            _dismiss(("raise", portable(error)))
            raise
        else:
            _dismiss(("return", result))
            return result
        finally:
            _State.leading = False

    return lead


def everywhere(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Call a function in every process.

    Args:
        function: a module-level function. If it fails in one process, it ends in the others at
            their next :func:`exchange`.
        *arguments: positional arguments, pickled for the other processes.
        **named: keyword arguments, also pickled.

    Returns:
        The first process's result.
    """
    if not _State.leading:
        return function(*arguments, **named)
    _tell(("call", (function, arguments, named)))
    try:
        return _call_together(function, arguments, named)
    except _FailedError as failure:
        raise failure.error from None


def exchange(value: Value) -> list[Value]:
    """Gather the values of all processes, in order, in each of them; with one process, only its value.

    Raises:
        MachineError: another process has ended.
    """
    if not _State.together:
        return [value]
    return _exchange(value, None)


def parallel(network: nn.Module) -> nn.Module:
    """The network for training: with several processes, it exchanges gradients."""
    if share()[1] == 1:
        return network
    from torch.nn.parallel import DistributedDataParallel

    with summing_gradients():
        # LayerDrop, masks and added heads leave parameters without a gradient in some steps.
        model = DistributedDataParallel(network, find_unused_parameters=True)
    # Buffers are copied from the first process at the end of an epoch.
    model.broadcast_buffers = False
    return model


@contextmanager
def summing_gradients() -> Iterator[None]:
    """Mark that the block exchanges gradients: a process that fails in it cannot tell the others."""
    before, _State.parted = _State.parted, _State.together
    with _connected():
        yield
    _State.parted = before


def _help() -> Any:
    """Run what the first process requests until its command ends."""
    try:
        _group()
    except MachineError as error:
        LOGGER.error("serlab: %s", error)
        raise SystemExit(error.exit_code) from None
    try:
        while True:
            kind, content = _hear()
            if kind == "return":
                return content
            if kind == "raise":
                # The exit code of the command is that of the first process.
                raise SystemExit(0) if isinstance(content, SystemExit) else content
            function, arguments, named = content
            with suppress(_FailedError):
                _call_together(function, arguments, named)
    except _GoneError as error:
        # The process that failed has already reported the reason.
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _call_together(function: Callable[..., Result], arguments: Any, named: Any) -> Result:
    _State.together = True
    try:
        result = function(*arguments, **named)
        _exchange(None, None)
        return result
    except _FailedError:
        raise
    except BaseException as error:
        if not _State.parted:
            _exchange(None, error)
        raise
    finally:
        _State.together = False


def _exchange(value: Value, error: BaseException | None) -> list[Value]:
    from torch import distributed

    entries: list[Any] = [None] * world()
    with _connected():
        distributed.all_gather_object(entries, (value, portable(error) if error else None), group=_group())
    for number, (_, failure) in enumerate(entries):
        if failure is not None:
            raise _FailedError(error if error and number == rank() else failure)
    return [entry for entry, _ in entries]


class _GoneError(MachineError):
    """The connection to another process is lost."""


@contextmanager
def _connected() -> Iterator[None]:
    """Turn a lost connection into a :class:`MachineError`."""
    from torch import distributed

    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        _State.parted = True
        raise _GoneError(
            "another process of this command has ended; its own message says why. The same command resumes from here."
        ) from error


def _tell(message: tuple[str, Any]) -> None:
    from torch import distributed

    with _connected():
        distributed.broadcast_object_list([message], src=0, group=_group())


def _dismiss(message: tuple[str, Any]) -> None:
    """Tell the other processes how the command ended, if they still listen."""
    if not _State.parted:
        with suppress(_GoneError):
            _tell(message)


def _hear() -> tuple[str, Any]:
    from torch import distributed

    message: list[Any] = [None]
    with _connected():
        distributed.broadcast_object_list(message, src=0, group=_group())
    kind, content = message[0]
    return kind, content


@functools.cache
def _group() -> Any:
    """Connect the processes once, and return the process group for messages."""
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise MachineError(f"torchrun has started more processes than there are GPUs; use --nproc_per_node {gpus}.")
        torch.cuda.set_device(local)
    if not distributed.is_initialized():
        # If imported later, its default arguments would keep the default group and its threads
        # alive.
        import torch.distributed.nn

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_LONGEST_STEP)
        atexit.register(_leave)
    return distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT)


def _leave() -> None:
    """End the threads that send messages; a thread that frees a tensor while Python exits would abort the process."""
    from torch import distributed

    if distributed.is_initialized():
        with suppress(RuntimeError):
            distributed.destroy_process_group()
    # The threads end with the last reference to their group.
    _group.cache_clear()
    gc.collect()


def portable(error: BaseException, where: str = "") -> BaseException:
    """An error that can be pickled, with a note of where it was raised unless in the first process."""
    if where or rank():
        error.add_note(f"In {where or f'process {rank()}'}:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
