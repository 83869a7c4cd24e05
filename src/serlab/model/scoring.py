"""From recordings to predictions: read, front end, network.

Recordings are read in threads ahead of the network. The number and size of clips in memory are
limited, so a hundred thousand files need no more memory than a thousand.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fitted
from serlab.audio import SAMPLE_RATE, AudioError, AudioStream
from serlab.core import UserError
from serlab.core.precision import on_device
from serlab.core.progress import bar
from serlab.model.ahead import ahead
from serlab.model.inputs import Heard, Inputs, InputWarning
from serlab.model.prediction import Prediction
from serlab.model.segments import Answered, Score, Segment, Segmenter, Segmenting, Summary, labelled
from serlab.model.sounds import Sound, audio_of, blocks_of, path_of
from serlab.model.stream import Segments, Stream

# A chunk is scored and yielded together. In a larger chunk, more clips of equal length share a
# batch; with a smaller one, less is lost if the process is killed. The first chunks are small, so
# the first results arrive early.
_FIRST_CHUNK = 32
_CHUNK_CLIPS = 512
_CHUNK_SECONDS = 1200.0
_CHUNK_BYTES = 256 * 2**20

# torch's cache of parametrised weights belongs to the process, not to a thread or a model.
_COMPUTING = threading.Lock()

Found = TypeVar("Found")
_Row = tuple[NDArray[np.float64] | None, NDArray[np.float32] | None]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores clips with one loaded model.

    Attributes:
        fitted: the model, loaded on ``device``.
        device: as for :func:`serlab.core.precision.on_device`.
        answered: which clips get a label, by their scores after the division by ``temperature``.
        segmenting: how recordings are divided.
        divide: whether every clip is divided, not only long ones.
        temperature: what scores are divided by; None leaves them.
        inputs: the training clips, for warnings.
    """

    fitted: Fitted
    device: str | None
    answered: Answered
    segmenting: Segmenting
    divide: bool = False
    temperature: float | None = None
    inputs: Inputs | None = None

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
        return self._each(self._predicted, sounds, sample_rate)

    def embeddings(
        self, sounds: Sequence[Sound], sample_rate: int | None = None
    ) -> Generator[list[NDArray[np.float32] | UserError | None], None, None]:
        """Like :meth:`results` for embeddings, shape (dims,); None for a clip that is silent or without speech."""
        return self._each(self._embedded, sounds, sample_rate)

    def dims(self, samples: NDArray[np.float32]) -> int | None:
        """Length of an embedding, found with a second of sound; None if the model has none."""
        (_, row), *_ = self._scored_windows([samples])
        return None if row is None else len(row)

    def segments(self, sound: Sound | Iterable[NDArray[Any]], sample_rate: int | None = None) -> Segments:
        """Divide a recording of any length, or arrays that follow each other, in memory that does not grow with it.

        Raises:
            AudioError: the recording cannot be used; perhaps only after its first segments.
            UserError: as for :func:`serlab.model.sounds.audio_of`.
        """
        heard = self._heard()
        return Segments(self._segments(sound, sample_rate, self._listening(heard), heard), heard)

    def stream(self, sample_rate: int) -> Stream:
        """Sound that is predicted while it arrives."""
        heard = self._heard()
        audio = AudioStream(sample_rate, None if heard is None else heard.hear)
        return Stream(audio, self._segmenter(self._listening(heard)), self.temperature, heard)

    def _heard(self) -> Heard | None:
        return None if self.inputs is None else Heard(self.inputs)

    def _segmenter(self, score: Score) -> Segmenter:
        return Segmenter(self.segmenting, self.fitted.labels, score, self.answered)

    def _listening(self, heard: Heard | None) -> Score:
        """Scores windows, and counts them."""

        def score(windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64] | None]:
            rows = self._scored_windows(windows)
            if heard is not None:
                for window, (_, embedding) in zip(windows, rows, strict=True):
                    heard.window(window, embedding)
            return [self._shares(row) for row, _ in rows]

        return score

    def _segments(
        self, sound: Sound | Iterable[NDArray[Any]], sample_rate: int | None, score: Score, heard: Heard | None
    ) -> Generator[Segment, None, None]:
        segmenter = self._segmenter(score)
        try:
            for block in blocks_of(sound, sample_rate, None if heard is None else heard.hear):
                if heard is not None:
                    heard.see(block)
                yield from segmenter.feed(block)
            if heard is not None:
                heard.finish()
            yield from segmenter.flush()
        except AudioError as error:
            path = path_of(sound)
            raise error if path is None or error.path else AudioError(Path(path), error.reason) from error

    def _each(
        self, work: Callable[[Sequence[_Clip]], list[Found]], sounds: Sequence[Sound], sample_rate: int | None
    ) -> Generator[list[Found], None, None]:
        """Read clips and compute their features ahead of ``work``, which takes them in chunks."""
        read = partial(_Clip.of, sample_rate=sample_rate, divide=self.divide, inputs=self.inputs)
        if len(sounds) == 1:
            yield work([self._features(read(sounds[0]))])
            return
        # A front end with a precision is a network, which uses all cores itself.
        in_threads = "precision" not in self.fitted.frontend.config
        prepare = (lambda sound: self._features(read(sound))) if in_threads else read
        with closing(ahead(sounds, prepare)) as clips:
            ready = clips if in_threads else map(self._features, clips)
            # A loop over the chunks would hold one while the next is gathered.
            yield from map(work, _chunks(ready))

    def _features(self, clip: _Clip) -> _Clip:
        frontend = self.fitted.frontend
        if clip.values is None:
            return clip
        try:
            if "precision" not in frontend.config:
                return replace(clip, values=frontend(clip.values))
            with _COMPUTING, on_device(self.device):
                return replace(clip, values=frontend(clip.values))
        except UserError as error:
            return _Clip(clip.path, fault=error)

    def _predicted(self, clips: Sequence[_Clip]) -> list[Prediction | UserError]:
        return [self._said(clip, *found) for clip, found in zip(clips, self._scored(clips), strict=True)]

    def _embedded(self, clips: Sequence[_Clip]) -> list[NDArray[np.float32] | UserError | None]:
        rows = self._scored(clips)
        return [self._embedding(clip, row) for clip, (_, row) in zip(clips, rows, strict=True)]

    def _embedding(self, clip: _Clip, row: NDArray[np.float32] | None) -> NDArray[np.float32] | UserError | None:
        if clip.divided is None:
            return clip.fault or row
        total, count = np.zeros(1), 0

        def score(windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64] | None]:
            nonlocal total, count
            for _, found in self._scored_windows(windows):
                if found is not None:
                    total, count = total + found, count + 1
            return [None] * len(windows)

        try:
            for _ in self._segments(*clip.divided, score, None):
                pass
        except UserError as error:
            return error
        return (total / count).astype(np.float32) if count else None

    def _scored_windows(self, windows: Sequence[NDArray[np.float32]]) -> list[_Row]:
        return self._scored([self._features(_Clip(None, values=window)) for window in windows])

    def _scored(self, clips: Sequence[_Clip]) -> list[_Row]:
        """Scores of clips, shape (labels,) each, and embeddings if there are any; None for one without features."""
        features = [clip.values for clip in clips if clip.values is not None]
        rows: Iterator[_Row] = iter(())
        if features:
            with _COMPUTING, on_device(self.device):
                found = self.fitted.scored(features)
            embeddings = [None] * len(features) if found.embeddings is None else found.embeddings
            rows = zip(found.logits.astype(np.float64), embeddings, strict=True)
        return [(None, None) if clip.values is None else next(rows) for clip in clips]

    def _said(
        self, clip: _Clip, logits: NDArray[np.float64] | None, embedding: NDArray[np.float32] | None
    ) -> Prediction | UserError:
        if clip.divided is not None:
            return self._divided(clip.path, *clip.divided)
        if logits is None:
            return clip.fault or Prediction(None, {}, clip.path)
        shares = self._shares(logits)
        if shares is None:
            return UserError("the model's scores of this clip are not finite.")
        label, probabilities = labelled(shares, self.fitted.labels, self.answered)
        warnings = clip.warnings
        if self.inputs is not None and self.inputs.distance is not None and embedding is not None:
            far = self.inputs.distance.far(embedding[np.newaxis])
            warnings = (*warnings, *self.inputs.about_distance(float(far[0])))
        return Prediction(label, probabilities, clip.path, (), self.temperature, warnings)

    def _divided(self, path: str | None, sound: Sound, sample_rate: int | None) -> Prediction | UserError:
        summary, found = Summary(), []
        segments = self.segments(sound, sample_rate)
        try:
            for segment in segments:
                summary.add(segment)
                found.append(segment)
        except UserError as error:
            return error
        label, probabilities = summary.of(self.fitted.labels, self.answered)
        warnings = segments.warnings if probabilities else ()
        temperature = self.temperature if probabilities else None
        return Prediction(label, probabilities, path, tuple(found), temperature, warnings)

    def _shares(self, logits: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """Probabilities; None where the scores are not finite."""
        if logits is None or not np.isfinite(logits).all():
            return None
        return _softmax(logits / (self.temperature or 1.0))


def gathered(
    work: Callable[[Sequence[Sound], int | None], Generator[list[Found | UserError], None, None]],
    x: Any,
    sample_rate: int | None,
    title: str,
) -> list[Found]:
    """All results of one sound or of several.

    Args:
        work: gives them in chunks.
        x: a sound, or a list or tuple of sounds.
        sample_rate: of arrays.
        title: of a progress bar; none if empty.

    Raises:
        UserError: a sound cannot be used.
    """
    several = isinstance(x, (list, tuple))
    listed = x if several else [x]
    found: list[Found] = []
    with (
        bar(title, len(listed), asked=True) if title else nullcontext() as progress,
        closing(work(listed, sample_rate)) as chunks,
    ):
        for chunk in chunks:
            for result in chunk:
                if isinstance(result, UserError):
                    raise UserError(f"x[{len(found)}]: {result}") if several else result
                found.append(result)
            if progress is not None:
                progress.advance(len(chunk))
    return found


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
    warnings: tuple[InputWarning, ...] = ()

    @classmethod
    def of(cls, sound: Sound, *, sample_rate: int | None, divide: bool, inputs: Inputs | None) -> _Clip:
        path = path_of(sound)
        try:
            audio = None if divide else audio_of(sound, sample_rate)
        except UserError as error:
            return cls(path, fault=error)
        if audio is None:
            # A chunk of its own, because its segments may need as much memory as a chunk of clips.
            return cls(path, math.inf, divided=(sound, sample_rate))
        if audio.silent:
            return cls(path)
        warnings = () if inputs is None else tuple(inputs.about_clip(audio))
        return cls(path, len(audio.samples) / SAMPLE_RATE, audio.samples, warnings=warnings)

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
