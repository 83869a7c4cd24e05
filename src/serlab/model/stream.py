"""Live sound: segments as soon as they are final."""

from __future__ import annotations

import threading

from numpy.typing import ArrayLike

from serlab.audio import AudioStream
from serlab.model.segments import Segment, Segmenter


class Stream:
    """Sound that is predicted while it arrives; returned by :meth:`serlab.Model.stream`.

    The segments are those of :meth:`serlab.Model.segments` on the whole, to 1e-5 in fp32. A segment
    is final when its last sample has arrived and left the resampler (some milliseconds). Smoothing
    waits for segments after it: half of the median's size, or ten with ``hmm``. Several threads may
    feed one stream; the order of their pieces is up to them.

    Attributes:
        temperature: what scores are divided by, with ``calibrated=True``; else None.
    """

    def __init__(self, audio: AudioStream, segmenter: Segmenter, temperature: float | None = None) -> None:
        self._audio, self._segmenter = audio, segmenter
        self.temperature = temperature
        self._lock = threading.Lock()

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
            return self._segmenter.feed(self._audio.feed(samples))

    def flush(self) -> list[Segment]:
        """End the stream.

        Returns:
            The remaining segments; the last one ends where the sound does.

        Raises:
            AudioError: nothing was fed, or less than 0.1 seconds.
            UserError: the stream was flushed before.
        """
        with self._lock:
            return [*self._segmenter.feed(self._audio.flush()), *self._segmenter.flush()]
