"""What a server process holds: models, decoders, limits and numbers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from serlab.core import unknown
from serlab.serve.body import Memory
from serlab.serve.decoders import Decoders
from serlab.serve.faults import RefusedError
from serlab.serve.limits import Settings
from serlab.serve.metrics import Metrics
from serlab.serve.models import Served, load, warnings_of
from serlab.serve.turns import Turns

if TYPE_CHECKING:
    from serlab.model.segments import SegmentOptions

_THREADS = 4


class Service:
    """Answers recordings.

    Args:
        settings: see there; the models are loaded at once.

    Raises:
        SerlabError: a folder is not a model, or is damaged.

    Attributes:
        models: by name, the first one answers if a request names none.
        threads: for streams.
        streams: how many are open.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits, self.metrics = settings, settings.limits, Metrics()
        self.models = load(settings.models, settings.precision, settings.limits, self.metrics.batch.observe)
        self.decoders = Decoders(settings.limits)
        self.memory = Memory(settings.limits.held_bytes)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="serlab-streams")
        self.streams = 0

    async def start(self) -> None:
        """Start the decoders."""
        await self.decoders.start()

    async def stop(self) -> None:
        """End decoders and threads."""
        await self.decoders.stop()
        self.close()

    def close(self) -> None:
        """End the threads."""
        for served in self.models.values():
            served.stop()
        self.threads.shutdown(cancel_futures=True)

    def pick(self, name: str | None) -> Served:
        """The model of this name, the first one without a name.

        Raises:
            RefusedError: there is no such model.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RefusedError(400, str(unknown("model", name[:100], self.models)))
        return self.models[name]

    async def answer(
        self,
        content: bytes,
        turns: Turns,
        served: Served,
        *,
        segments: bool,
        abstain: float | None,
        calibrated: bool,
        how: SegmentOptions,
    ) -> dict[str, Any]:
        """Decode a recording, and predict it.

        Args:
            content: of the file.
            turns: where it waits for the other recordings of its request.
            served: the model.
            segments: whether to divide short recordings too, and to tell the segments.
            abstain: as for :meth:`serlab.Model.predict`.
            calibrated: likewise.
            how: likewise.

        Raises:
            RefusedError: it cannot be answered; 504 if it takes too long.

        Returns:
            The answer, with dataclasses for warnings and segments.
        """
        how = {"window": None, **how} if segments else how
        try:
            async with asyncio.timeout(self.limits.timeout), AsyncExitStack() as held:
                async with turns.decoding:
                    decoded = await self.decoders.decode(content)
                    await held.enter_async_context(turns.memory(decoded.samples.nbytes))
                self.metrics.audio.inc(decoded.seconds)
                async with turns.divided if served.divides(decoded, how) else turns.clips:
                    prediction = await served.predict(decoded, abstain, how, calibrated=calibrated)
        except TimeoutError:
            raise RefusedError(504, f"the answer takes more than {self.limits.timeout:g} s.", 10) from None
        answer = {
            "label": prediction.label,
            "probabilities": prediction.probabilities,
            "model": served.name,
            "seconds": round(decoded.seconds, 3),
            "warnings": warnings_of(decoded, prediction, known=served.knows_clips),
        }
        if prediction.temperature is not None:
            answer["temperature"] = prediction.temperature
        return answer | ({"segments": prediction.segments} if segments else {})

    def now(self) -> tuple[int, int, int, int]:
        """Clips that wait, held bytes, decoders that died, open streams."""
        waiting = sum(served.waiting for served in self.models.values())
        return waiting, self.memory.held, self.decoders.died, self.streams
