"""Micro-batches: clips of exactly one length that wait at the same time are scored together.

A batch has no padding, so an answer does not depend on the clips beside it (to 1e-5 in fp32). A
batch is what waits when the model becomes free; nothing waits for more clips to come.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serlab.core import UserError
from serlab.serve.faults import busy

if TYPE_CHECKING:
    from serlab.audio import Audio
    from serlab.model.model import Model
    from serlab.model.prediction import Prediction


@dataclass(frozen=True, eq=False)
class _Clip:
    audio: Audio
    abstain: float | None
    calibrated: bool
    answer: asyncio.Future[Prediction]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    @property
    def kind(self) -> tuple[int, float | None, bool]:
        return len(self.audio.samples), self.abstain, self.calibrated

    def tell(self, result: Prediction | BaseException) -> None:
        """Answer from the model's thread."""
        self.loop.call_soon_threadsafe(self._tell, result)

    def _tell(self, result: Prediction | BaseException) -> None:
        if self.answer.done():
            return  # Its request was given up.
        if isinstance(result, BaseException):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class Batcher:
    """Scores clips with one model in a thread of its own.

    Args:
        model: the model.
        most: clips in a batch.
        queue: clips that may wait.
        scored: told the size of each batch.
    """

    def __init__(self, model: Model, *, most: int, queue: int, scored: Callable[[int], None]) -> None:
        self._model, self._most, self._queue, self._scored = model, most, queue, scored
        self._waiting: deque[_Clip] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="serlab-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Clips that wait."""
        return len(self._waiting)

    async def predict(self, audio: Audio, abstain: float | None, *, calibrated: bool = False) -> Prediction:
        """Predict a clip.

        Args:
            audio: at most 30 seconds.
            abstain: as for :meth:`serlab.Model.predict`.
            calibrated: likewise.

        Raises:
            RefusedError: too many clips wait.
            UserError: the model has no scores for this clip, cannot abstain, or has no temperature.
        """
        clip = _Clip(audio, abstain, calibrated, asyncio.get_running_loop().create_future())
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise busy(503, "the queue of the model is full")
            self._waiting.append(clip)
            self._changed.notify()
        return await clip.answer

    def stop(self) -> None:
        """End the thread after its current batch."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._scored(len(batch))
            try:
                sounds = [clip.audio for clip in batch]
                first = batch[0]
                chunks = list(self._model.results(sounds, abstain=first.abstain, calibrated=first.calibrated))
                results: list[Prediction | UserError] = [result for chunk in chunks for result in chunk]
            except Exception as error:
                for clip in batch:
                    clip.tell(error)
            else:
                for clip, result in zip(batch, results, strict=True):
                    clip.tell(result)

    def _next(self) -> list[_Clip]:
        """The oldest clip, and those of its length that wait too; empty at the end."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._over:
                        return []
                    self._changed.wait()
                kind = self._waiting[0].kind
                batch: list[_Clip] = []
                rest: deque[_Clip] = deque()
                for clip in self._waiting:
                    if clip.answer.done():
                        continue  # Its request was given up.
                    (batch if clip.kind == kind and len(batch) < self._most else rest).append(clip)
                self._waiting = rest
                if batch:
                    return batch
