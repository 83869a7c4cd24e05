"""Turns of one request's recordings: they wait for each other, so a batch alone fills neither queue nor memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serlab.serve.body import Share
from serlab.serve.limits import LANES, Limits


class Turns:
    """Where the recordings of one request wait for each other.

    Args:
        limits: see there.
        share: the request's share of the memory.

    Attributes:
        decoding: for a decoder, until the samples have their place in memory.
        clips: for the model's queue of clips.
        divided: for the places of divided recordings.
    """

    def __init__(self, limits: Limits, share: Share) -> None:
        self.decoding = asyncio.Semaphore(limits.decoders)
        self.clips = asyncio.Semaphore(max(1, limits.queue // 2))
        self.divided = asyncio.Semaphore(LANES)
        self._share, self._held = share, 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def memory(self, count: int) -> AsyncIterator[None]:
        """Hold the samples of a recording while the block runs.

        Args:
            count: their bytes.

        Raises:
            RefusedError: the memory is full, and no other recording of the request will give any back.
        """
        while self._held and not self._share.has_room(count):
            self._freed.clear()
            await self._freed.wait()
        self._share.add(count)
        self._held += 1
        try:
            yield
        finally:
            self._share.add(-count)
            self._held -= 1
            self._freed.set()
