"""Request bodies: received under a limit of size and time, and kept in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from serlab.serve.faults import RefusedError, busy
from serlab.serve.limits import Limits


class Memory:
    """Bytes of bodies and samples that all requests hold together.

    Args:
        most: how many they may hold.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One request's share, given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.set(0)


class Share:
    """Bytes that one request holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._held = memory, 0

    def has_room(self, count: int) -> bool:
        """Whether so many bytes more may be held."""
        return self._memory.held + count <= self._memory.most

    def add(self, count: int) -> None:
        """Hold more, or less if ``count`` is negative.

        Raises:
            RefusedError: all requests together would hold too much.
        """
        if count > 0 and not self.has_room(count):
            raise busy(503, "the server's memory for uploads is full")
        self._memory.held += count
        self._held += count

    def set(self, count: int) -> None:
        """Hold so many from now on, fewer than before."""
        self._memory.held += count - self._held
        self._held = count


@dataclass(frozen=True)
class File:
    """An uploaded file. Its name is not kept."""

    content: bytes


# Its warnings quote the body.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)


class _InMemory(MultiPartParser):
    spool_max_size = 0  # SpooledTemporaryFile then never becomes a file.


async def files_of(request: Request, limits: Limits, share: Share, *, most: int) -> list[File]:
    """Receive the files of a multipart request, in fields called ``file``.

    Args:
        request: the request.
        limits: see there.
        share: counts what is held.
        most: files.

    Raises:
        RefusedError: the body is too large (413) or too slow (408), or is not such a request (400).
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise RefusedError(400, "the body is not multipart/form-data; send the recording in its field file.")
    promised = request.headers.get("content-length", "")
    if promised.isdigit() and int(promised) > limits.body_bytes:
        raise _too_large(limits)
    parser = _InMemory(
        request.headers, _received(request, limits, share), max_files=most, max_fields=8, max_part_size=1024
    )
    try:
        async with asyncio.timeout(limits.timeout):
            form = await parser.parse()
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {limits.timeout:g} s.") from None
    except ClientDisconnect:
        raise RefusedError(499, "the sender left.") from None
    except MultiPartException as error:
        if str(error).startswith("Too many files"):
            if most == 1:
                raise RefusedError(400, "the body has more than one file; send several to /v1/predict:batch.") from None
            raise RefusedError(413, f"the body has more than {most} files.") from None
        raise RefusedError(400, "the body is not a complete multipart/form-data message.") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise RefusedError(400, "the body is not a complete multipart/form-data message.") from None
    found = []
    try:
        for field in form.getlist("file"):
            if not isinstance(field, UploadFile):
                raise RefusedError(400, "the field file is text; send a file.")
            found.append(File(await field.read()))
    finally:
        await form.close()
    if not found:
        raise RefusedError(400, "the body has no field file; send the recording in it.")
    return found


async def _received(request: Request, limits: Limits, share: Share) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limits.body_bytes:
            raise _too_large(limits)
        share.add(len(chunk))
        yield chunk


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the body is larger than {limits.max_mb:g} MB.")
