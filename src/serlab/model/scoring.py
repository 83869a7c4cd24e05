"""From recordings to predictions: read, front end, network.

Recordings are read in threads ahead of the network. The number and size of clips in memory are
limited, so a hundred thousand files need no more memory than a thousand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fitted
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core import UserError, argument
from serlab.core.precision import on_device
from serlab.model.ahead import ahead
from serlab.model.prediction import Prediction

Sound = str | os.PathLike[str] | Audio | NDArray[Any]
"""Forms of a clip: the path of a file, checked audio, or an array with its sample rate."""

Answered = Callable[[NDArray[np.float64]], bool]
"""Whether a clip with these logits, shape (labels,), gets a label."""

# A chunk is scored and yielded together. In a larger chunk, more clips of equal length share a
# batch; with a smaller one, less is lost if the process is killed. The first chunks are small, so
# the first results arrive early.
_FIRST_CHUNK = 32
_CHUNK_CLIPS = 512
_CHUNK_SECONDS = 1200.0
_CHUNK_BYTES = 256 * 2**20

# torch's cache of parametrised weights belongs to the process, not to a thread or a model.
_COMPUTING = threading.Lock()


def audio_of(sound: Sound, sample_rate: int | None) -> Audio:
    """Read and check a clip in any form; silence is allowed.

    Args:
        sound: the clip.
        sample_rate: in Hz; required for an array, and not allowed otherwise.

    Raises:
        AudioError: the clip cannot be used.
        UserError: an array without a sample rate, or a sample rate without an array.
    """
    if not isinstance(sound, (str, os.PathLike, Audio)):
        if sample_rate is None:
            raise UserError(f"{argument('sample_rate')} is missing; give the array's sample rate in Hz.")
        return Audio.from_array(sound, sample_rate, allow_silence=True)
    if sample_rate is not None:
        raise UserError(f"{argument('sample_rate', sample_rate)} is for arrays; leave it out for a file or Audio.")
    return sound if isinstance(sound, Audio) else Audio.from_file(sound, allow_silence=True)


@dataclass(frozen=True)
class Scorer:
    """Scores clips with one loaded model.

    Attributes:
        fitted: the model, loaded on ``device``.
        device: as for :func:`serlab.core.precision.on_device`.
        answered: which clips get a label.
    """

    fitted: Fitted
    device: str | None
    answered: Answered

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
        read = partial(_Clip.of, sample_rate=sample_rate)
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
        features = [clip.values for clip in clips if clip.values is not None]
        rows: Iterator[NDArray[np.float64]] = iter(())
        if features:
            with _COMPUTING, on_device(self.device):
                rows = iter(self.fitted.logits(features).astype(np.float64))
        return [self._said(clip, None if clip.values is None else next(rows)) for clip in clips]

    def _said(self, clip: _Clip, logits: NDArray[np.float64] | None) -> Prediction | UserError:
        if logits is None:
            return clip.fault or Prediction(None, {}, clip.path)
        if not np.isfinite(logits).all():
            return UserError("the model's scores of this clip are not finite.")
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        labels = self.fitted.labels
        label = labels[int(shares.argmax())] if self.answered(logits) else None
        return Prediction(label, dict(zip(labels, map(float, shares), strict=True)), clip.path)


@dataclass(frozen=True)
class _Clip:
    """A clip between two steps: its samples, later its features, or the reason for having neither (None: silent)."""

    path: str | None
    seconds: float = 0.0
    values: NDArray[np.float32] | None = None
    fault: UserError | None = None

    @classmethod
    def of(cls, sound: Sound, *, sample_rate: int | None) -> _Clip:
        path = os.fspath(sound) if isinstance(sound, (str, os.PathLike)) else None
        try:
            audio = audio_of(sound, sample_rate)
        except UserError as error:
            return cls(path, fault=error)
        path = path or (None if audio.path is None else str(audio.path))
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
