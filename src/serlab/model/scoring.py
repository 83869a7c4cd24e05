"""From recordings to predictions: read, front end, network.

Recordings are read in threads ahead of the network. The number and size of clips in memory are
limited, so a hundred thousand files need no more memory than a thousand.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fitted
from serlab.audio import SAMPLE_RATE, AudioError
from serlab.core import UserError
from serlab.core.precision import on_device
from serlab.model.ahead import ahead
from serlab.model.prediction import Prediction
from serlab.model.segments import Answered, Segment, Segmenter, Segmenting, Summary
from serlab.model.sounds import Sound, audio_of, blocks_of, path_of

# A chunk is scored and yielded together. In a larger chunk, more clips of equal length share a
# batch; with a smaller one, less is lost if the process is killed. The first chunks are small, so
# the first results arrive early.
_FIRST_CHUNK = 32
_CHUNK_CLIPS = 512
_CHUNK_SECONDS = 1200.0
_CHUNK_BYTES = 256 * 2**20

# torch's cache of parametrised weights belongs to the process, not to a thread or a model.
_COMPUTING = threading.Lock()


@dataclass(frozen=True)
class Scorer:
    """Scores clips with one loaded model.

    Attributes:
        fitted: the model, loaded on ``device``.
        device: as for :func:`serlab.core.precision.on_device`.
        answered: which clips get a label.
        segmenting: how every clip is divided; None divides only long ones, in the standard way.
    """

    fitted: Fitted
    device: str | None
    answered: Answered
    segmenting: Segmenting | None = None

    def results(
        self, sounds: Sequence[Sound], sample_rate: int | None = None
    ) -> Generator[list[Prediction | UserError], None, None]:
        """Predict clips; close the generator to stop before the end.

        Args:
            sounds: the clips.
            sample_rate: of arrays, in Hz.

        Yields:
            In chunks, the prediction of each clip, or the error if it cannot be used, in the order
            of ``sounds``.
        """
        read = partial(_Clip.of, sample_rate=sample_rate, divide=self.segmenting is not None)
        if len(sounds) == 1:
            yield self._score([self._features(read(sounds[0]))])
            return
        # A front end with a precision is a network, which uses all cores itself.
        in_threads = "precision" not in self.fitted.frontend.config
        prepare = (lambda sound: self._features(read(sound))) if in_threads else read
        with closing(ahead(sounds, prepare)) as clips:
            ready = clips if in_threads else map(self._features, clips)
            # A loop over the chunks would hold one while the next is gathered.
            yield from map(self._score, _chunks(ready))

    def segments(
        self, sound: Sound | Iterable[NDArray[Any]], sample_rate: int | None = None
    ) -> Generator[Segment, None, None]:
        """Divide a recording of any length, or arrays that follow each other, in memory that does not grow with it.

        Raises:
            AudioError: the recording cannot be used; perhaps only after its first segments.
            UserError: as for :func:`serlab.model.sounds.audio_of`.
        """
        segmenter = self.segmenter()
        try:
            for block in blocks_of(sound, sample_rate):
                yield from segmenter.feed(block)
            yield from segmenter.flush()
        except AudioError as error:
            path = path_of(sound)
            raise error if path is None or error.path else AudioError(Path(path), error.reason) from error

    def segmenter(self) -> Segmenter:
        """A segmenter for one recording."""
        return Segmenter(self.segmenting or Segmenting(), self.fitted.labels, self._windows, self.answered)

    def _features(self, clip: _Clip) -> _Clip:
        frontend = self.fitted.frontend
        if clip.values is None:
            return clip
        try:
            if "precision" not in frontend.config:
                return clip.holding(frontend(clip.values))
            with _COMPUTING, on_device(self.device):
                return clip.holding(frontend(clip.values))
        except UserError as error:
            return _Clip(clip.path, fault=error)

    def _score(self, clips: Sequence[_Clip]) -> list[Prediction | UserError]:
        return [self._said(clip, logits) for clip, logits in zip(clips, self._logits(clips), strict=True)]

    def _windows(self, windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64] | None]:
        rows = self._logits([self._features(_Clip(None, values=window)) for window in windows])
        return [None if row is None or not np.isfinite(row).all() else _softmax(row) for row in rows]

    def _logits(self, clips: Sequence[_Clip]) -> list[NDArray[np.float64] | None]:
        """Scores of clips, shape (labels,) each; None for one without features."""
        features = [clip.values for clip in clips if clip.values is not None]
        rows: Iterator[NDArray[np.float64]] = iter(())
        if features:
            with _COMPUTING, on_device(self.device):
                rows = iter(self.fitted.logits(features).astype(np.float64))
        return [None if clip.values is None else next(rows) for clip in clips]

    def _said(self, clip: _Clip, logits: NDArray[np.float64] | None) -> Prediction | UserError:
        if clip.divided is not None:
            return self._divided(clip.path, *clip.divided)
        if logits is None:
            return clip.fault or Prediction(None, {}, clip.path)
        if not np.isfinite(logits).all():
            return UserError("the model's scores of this clip are not finite.")
        shares, labels = _softmax(logits), self.fitted.labels
        label = labels[int(shares.argmax())] if self.answered(logits) else None
        return Prediction(label, dict(zip(labels, map(float, shares), strict=True)), clip.path)

    def _divided(self, path: str | None, sound: Sound, sample_rate: int | None) -> Prediction | UserError:
        summary, found = Summary(), []
        try:
            for segment in self.segments(sound, sample_rate):
                summary.add(segment)
                found.append(segment)
        except UserError as error:
            return error
        return Prediction(*summary.of(self.fitted.labels, self.answered), path, tuple(found))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True)
class _Clip:
    """A clip between two steps: its samples, later its features, or the reason for having neither (None: silent).

    A recording that is divided into segments is read in its turn.
    """

    path: str | None
    seconds: float = 0.0
    values: NDArray[np.float32] | None = None
    fault: UserError | None = None
    divided: tuple[Sound, int | None] | None = None

    @classmethod
    def of(cls, sound: Sound, *, sample_rate: int | None, divide: bool) -> _Clip:
        path = path_of(sound)
        try:
            audio = None if divide else audio_of(sound, sample_rate)
        except UserError as error:
            return cls(path, fault=error)
        if audio is None:
            # A chunk of its own, because its segments may need as much memory as a chunk of clips.
            return cls(path, math.inf, divided=(sound, sample_rate))
        return cls(path) if audio.silent else cls(path, len(audio.samples) / SAMPLE_RATE, audio.samples)

    def holding(self, features: NDArray[np.float32]) -> _Clip:
        return _Clip(self.path, self.seconds, features)

    @property
    def nbytes(self) -> int:
        return 0 if self.values is None else self.values.nbytes


def _chunks(clips: Iterable[_Clip]) -> Iterator[list[_Clip]]:
    """Gather clips up to a number, a duration and a size; the first chunks are smaller."""
    chunk: list[_Clip] = []
    most, seconds, size = _FIRST_CHUNK, 0.0, 0
    for clip in clips:
        chunk.append(clip)
        seconds += clip.seconds
        size += clip.nbytes
        if len(chunk) >= min(most, _CHUNK_CLIPS) or seconds >= _CHUNK_SECONDS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, seconds, size, most = [], 0.0, 0, 2 * most
    if chunk:
        yield chunk
