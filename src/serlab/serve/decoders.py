"""The decoder processes of a server: started, limited, and replaced when they die."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, Audio
from serlab.serve.faults import RefusedError
from serlab.serve.limits import Limits

# The process ends itself at its limit; this is for one that cannot.
_GRACE_S = 5.0
_ALARM = -14
_MOST_ANSWER = 1 << 16
# Other variables may hold secrets, which a malicious file must not reach.
_VARIABLES = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Decoded:
    """A recording that can be predicted.

    Attributes:
        samples: mono, 16 kHz, shape (samples,).
        seconds: its length.
        rate: its sample rate in the file, Hz.
        channels: in the file.
    """

    samples: NDArray[np.float32]
    seconds: float
    rate: int
    channels: int

    @property
    def audio(self) -> Audio:
        """For a model, which gets the same samples as from the file."""
        return Audio(self.samples, SAMPLE_RATE, 1, None, False)


class _DiedError(Exception):
    """A decoder that ended, or was ended.

    Attributes:
        late: whether it took too long.
    """

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late


class Decoders:
    """A pool of decoder processes.

    A recording whose decoder dies is tried once more in a new process, because the process may have
    been ended from outside; one that takes too long is not.

    Attributes:
        died: how many processes died so far.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()
        self.died = 0

    async def start(self) -> None:
        """Start the processes."""
        for one in await asyncio.gather(*(_Process.start(self._limits) for _ in range(self._limits.decoders))):
            self._add(one)

    async def stop(self) -> None:
        """End the processes."""
        for one in self._all:
            one.kill()
            await one.end()
        self._all.clear()

    @property
    def pids(self) -> list[int]:
        """Of the running processes."""
        return [one.pid for one in self._all]

    async def decode(self, content: bytes) -> Decoded:
        """Decode a recording.

        Raises:
            RefusedError: it cannot be read (400), is too long (413) or has no usable sound (422).
        """
        for last in (False, True):
            process = await self._take()
            try:
                said, samples = await asyncio.wait_for(process.ask(content), self._limits.decode_seconds + _GRACE_S)
            except (_DiedError, TimeoutError, asyncio.CancelledError) as error:
                await self._replace(process)
                if isinstance(error, asyncio.CancelledError):
                    raise
                if not isinstance(error, _DiedError) or error.late:
                    late = f"decoding it takes more than {self._limits.decode_seconds:g} s"
                    raise RefusedError(400, f"the recording cannot be read: {late}.") from None
                if last:
                    raise RefusedError(400, "the recording cannot be read: the decoder crashes on it.") from None
            else:
                self._free.put_nowait(process)
                return _decoded(said, samples)
        raise AssertionError

    async def _take(self) -> _Process:
        while not (process := await self._free.get()).alive:
            await self._replace(process)
        return process

    async def _replace(self, process: _Process) -> None:
        self.died += 1
        self._all.discard(process)
        process.kill()
        # Not awaited by a request that was cancelled.
        self._starting = asyncio.ensure_future(self._start_one())
        await asyncio.shield(self._starting)

    async def _start_one(self) -> None:
        self._add(await _Process.start(self._limits))

    def _add(self, process: _Process) -> None:
        self._all.add(process)
        self._free.put_nowait(process)


def _decoded(said: dict[str, object], samples: NDArray[np.float32]) -> Decoded:
    if "fault" in said:
        code, reason = int(str(said["code"])), str(said["fault"])
        start = "the recording is" if code == 413 and reason.startswith("longer") else "the recording cannot be read:"
        if code == 422:
            start = "the recording has no usable sound:"
        raise RefusedError(code, f"{start} {reason}.")
    if said["silent"]:
        raise RefusedError(422, "the recording has no usable sound: silent.")
    return Decoded(samples, float(str(said["seconds"])), int(str(said["rate"])), int(str(said["channels"])))


class _Process:
    """One decoder process."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits) -> None:
        self._process, self._limits = process, limits

    @classmethod
    async def start(cls, limits: Limits) -> _Process:
        # Standard error is dropped, because libraries print what a file contains.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serlab.serve.decoder",
            str(limits.max_seconds), str(limits.decode_seconds), str(limits.decode_mb),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ} | _ONE_THREAD,
            start_new_session=True,
        )  # fmt: skip
        return cls(process, limits)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, content: bytes) -> tuple[dict[str, object], NDArray[np.float32]]:
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None
        assert received is not None
        try:
            sent.write(struct.pack("<Q", len(content)))
            sent.write(content)
            await sent.drain()
            (size,) = struct.unpack("<I", await received.readexactly(4))
            if size > _MOST_ANSWER:
                raise _DiedError(late=False)
            said = json.loads(await received.readexactly(size))
            count = int(said["samples"])
            if not 0 <= count <= self._limits.max_seconds * SAMPLE_RATE + SAMPLE_RATE:
                raise _DiedError(late=False)
            # A copy, because torch wants arrays that can be written to.
            return said, np.frombuffer(await received.readexactly(4 * count), "<f4").astype(np.float32)
        except (OSError, asyncio.IncompleteReadError, ValueError, KeyError, TypeError) as error:
            code = await self.end()
            raise _DiedError(late=code == _ALARM) from error

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> int:
        """End the process; return its exit code, which is the cause if it had ended before."""
        with suppress(TimeoutError):
            # A process that died has closed its pipes before it is reaped.
            return await asyncio.wait_for(self._process.wait(), 0.2)
        self.kill()
        return await self._process.wait()
