"""Segments of a recording or of live sound, as soon as they are final, and warnings about what was heard."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serlab.audio import AudioStream
from serlab.model.inputs import Heard, InputWarning
from serlab.model.segments import Segment, Segmenter


class Segments(Generator[Segment, None, None]):
    """The segments of a recording; returned by :meth:`serlab.Model.segments`.

    It reads the recording as it is iterated over; close it to stop before the end.
    """

    def __init__(self, found: Generator[Segment, None, None], heard: Heard | None) -> None:
        self._found, self._heard = found, heard

    def send(self, value: None) -> Segment:
        """The next segment."""
        return self._found.send(value)

    def throw(self, *error: Any) -> Segment:
        """Raise an error in the reader."""
        return self._found.throw(*error)

    @property
    def warnings(self) -> tuple[InputWarning, ...]:
        """In which ways the sound was unlike the training clips so far; of the whole recording after its end."""
        return () if self._heard is None else self._heard.warnings()


class Stream:
    """Sound that is predicted while it arrives; returned by :meth:`serlab.Model.stream`.

    The segments are those of :meth:`serlab.Model.segments` on the whole, to 1e-5 in fp32. A segment
    is final when its last sample has arrived and left the resampler (some milliseconds). Smoothing
    waits for segments after it: half of the median's size, or ten with ``hmm``. Several threads may
    feed one stream; the order of their pieces is up to them.

    Attributes:
        temperature: what scores are divided by, with ``calibrated=True``; else None.
    """

    def __init__(
        self, audio: AudioStream, segmenter: Segmenter, temperature: float | None = None, heard: Heard | None = None
    ) -> None:
        self._audio, self._segmenter, self._heard = audio, segmenter, heard
        self.temperature = temperature
        self._lock = threading.Lock()

    @property
    def warnings(self) -> tuple[InputWarning, ...]:
        """In which ways the sound was unlike the training clips so far; of all of it after :meth:`flush`."""
        with self._lock:
            return () if self._heard is None else self._heard.warnings()

    @property
    def sample_rate(self) -> int:
        """Of what arrives, in Hz."""
        return self._audio.sample_rate

    def feed(self, samples: ArrayLike) -> list[Segment]:
        """Take the next piece, of any size.

        Args:
            samples: shape (samples,) or (samples, channels); floats within -1 to 1, or integers of
                8, 16 or 32 bits.

        Returns:
            The segments that have become final.

        Raises:
            AudioError: the piece has another type, shape or number of channels than before, or is
                not finite or beyond 8 in floating point. It is left out, and the stream goes on.
            UserError: the stream was flushed.
        """
        with self._lock:
            return self._divided(self._audio.feed(samples))

    def flush(self) -> list[Segment]:
        """End the stream.

        Returns:
            The remaining segments; the last one ends where the sound does.

        Raises:
            AudioError: nothing was fed, or less than 0.1 seconds.
            UserError: the stream was flushed before.
        """
        with self._lock:
            found = self._divided(self._audio.flush())
            if self._heard is not None:
                self._heard.finish()
            return [*found, *self._segmenter.flush()]

    def _divided(self, samples: NDArray[np.float32]) -> list[Segment]:
        if self._heard is not None:
            self._heard.see(samples)
        return self._segmenter.feed(samples)
