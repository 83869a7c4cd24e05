"""Predictions for files: read, front end, network; a file that cannot be read is listed, never guessed.

Files are read in threads, ahead of the network. What is in memory at any time is bounded in number and size, so a
hundred thousand files need no more than a thousand.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, Audio, AudioError, find_audio
from serlab.core import Exclusion, UserError
from serlab.core.progress import bar
from serlab.frontends.base import Features, FrontEnd
from serlab.model.classifier import Classifier
from serlab.model.folder import load, load_reliance

_READERS = min(8, os.cpu_count() or 1)
_AHEAD_CLIPS = 512
_AHEAD_BYTES = 64 * 2**20

# A chunk is what is scored and handed on together: the larger, the more clips of one length meet in a batch; the
# smaller, the less is lost to a kill. The first are small so that the rows and the time left come soon.
_FIRST_CHUNK = 32
_CHUNK_CLIPS = 512
_CHUNK_SECONDS = 1200.0
_CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class FilePrediction:
    """What a model says about one file.

    Attributes:
        path: as given or found.
        label: the most probable label; None where the model says that it cannot tell.
        probabilities: of each label, in the model's order.
    """

    path: str
    label: str | None
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Predictions:
    """What a model says about files.

    Attributes:
        model: the model folder.
        predictions: in the order of the files.
        excluded: what was found and could not be used, with the reason: files, and folders that cannot be searched.
    """

    model: str
    predictions: tuple[FilePrediction, ...]
    excluded: tuple[Exclusion, ...]


def predict(
    model: Path | str,
    paths: Iterable[Path | str] | Path | str,
    *,
    precision: str = "auto",
    abstain: float | None = None,
) -> Predictions:
    """Predict the emotion in audio files.

    Args:
        model: a folder of serlab's, or of a plain transformers audio-classification checkpoint.
        paths: files and folders (searched with their subfolders).
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        abstain: answer only where, as sure as that, at most this share of the model's dev answers was wrong; by
            default every file is answered. New speakers may be got wrong more often.

    Returns:
        A prediction a file, and the files that were left out.

    Raises:
        UserError: the model cannot be loaded, a path does not exist, or a folder holds no audio.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = find_audio(Path(path) for path in given)
    classifier = load(model, precision)
    answered = answers_of(Path(model), abstain)
    predictions: list[FilePrediction] = []
    excluded = list(found.excluded)
    with closing(stream(classifier, found.files, answered=answered)) as chunks:
        for chunk in chunks:
            predictions += [result for result in chunk if isinstance(result, FilePrediction)]
            excluded += [result for result in chunk if isinstance(result, Exclusion)]
    return Predictions(str(model), tuple(predictions), tuple(excluded))


Answered = Callable[[NDArray[np.float64]], bool]
"""Whether a clip of these logits is answered."""


def answers_of(model: Path, abstain: float | None) -> Answered:
    """Which clips a model answers.

    Args:
        model: the model folder.
        abstain: as for :func:`predict`.

    Raises:
        UserError: the folder does not say when to abstain, or the share cannot be had.
    """
    if abstain is None:
        return lambda _: True
    reliance = load_reliance(model)
    return partial(reliance.answers, threshold=reliance.threshold(abstain))


def stream(
    classifier: Classifier, files: Sequence[str], *, done: int = 0, answered: Answered = lambda _: True
) -> Generator[list[FilePrediction | Exclusion], None, None]:
    """Predict files as they come, with a progress bar; close the generator to stop before the end.

    Args:
        classifier: a loaded model.
        files: the audio files.
        done: files that an earlier process has predicted already, for the bar.
        answered: which clips are answered, from :func:`answers_of`.

    Yields:
        Chunk by chunk, what became of each file, in the order of ``files``.
    """
    frontend = classifier.frontend
    # What computes at a precision is a network, which shares its own work out over the cores.
    in_threads = "precision" not in frontend.config

    def prepare(file: str) -> _Clip:
        clip = _Clip.of(file)
        return clip.through(frontend) if in_threads else clip

    start, count = time.monotonic(), 0
    with bar("predicting", done + len(files), done) as progress, closing(_ahead(files, prepare)) as clips:
        ready = clips if in_threads else (clip.through(frontend) for clip in clips)
        # A loop over the chunks themselves would hold one while the next is gathered.
        for results in map(partial(_score, classifier, answered), _chunks(ready)):
            yield results
            count += len(results)
            progress.advance(len(results), f"{count / (time.monotonic() - start):,.1f} clips/s")


@dataclass(frozen=True)
class _Clip:
    """A file on its way: its samples, later its features, or why it has none."""

    file: str
    seconds: float = 0.0
    values: NDArray[np.float32] | None = None
    fault: str = ""

    @classmethod
    def of(cls, file: str) -> _Clip:
        try:
            samples = Audio.from_file(file).samples
        except AudioError as error:
            return cls(file, fault=error.reason)
        return cls(file, len(samples) / SAMPLE_RATE, samples)

    def through(self, frontend: FrontEnd) -> _Clip:
        if self.values is None:
            return self
        try:
            return _Clip(self.file, self.seconds, frontend(self.values))
        except UserError as error:
            return _Clip(self.file, fault=str(error).rstrip("."))

    @property
    def size(self) -> int:
        return 0 if self.values is None else self.values.nbytes


def _ahead(files: Iterable[str], prepare: Callable[[str], _Clip]) -> Generator[_Clip, None, None]:
    """Prepare files in threads ahead of whoever iterates, and yield them in order.

    A file is taken only while there is room, by whoever makes some or has its hands free, so that no thread ever waits:
    no more is held than the limits and one clip a thread, and Python can end though nobody closed the iterator.
    """
    rest = iter(files)
    line: deque[Future[_Clip]] = deque()
    lock = threading.Lock()
    busy, held, over = 0, 0, False
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="serlab-reader")

    def take() -> None:
        nonlocal busy
        while not over and busy < _READERS and len(line) < _AHEAD_CLIPS and held < _AHEAD_BYTES:
            file = next(rest, None)
            if file is None:
                return
            line.append(pool.submit(work, file))
            busy += 1

    def work(file: str) -> _Clip:
        nonlocal busy, held
        size = 0
        try:
            clip = prepare(file)
            size = clip.size
            return clip
        finally:
            with lock:
                busy -= 1
                held += size
                take()

    try:
        with lock:
            take()
        while line:
            clip = line.popleft().result()
            with lock:
                held -= clip.size
                take()
            yield clip
    finally:
        with lock:
            over = True
        pool.shutdown(cancel_futures=True)


def _chunks(clips: Iterable[_Clip]) -> Iterator[list[_Clip]]:
    """Gather clips up to a number, a duration and a size; the first chunks are smaller."""
    chunk: list[_Clip] = []
    most, seconds, size = _FIRST_CHUNK, 0.0, 0
    for clip in clips:
        chunk.append(clip)
        seconds += clip.seconds
        size += clip.size
        if len(chunk) >= min(most, _CHUNK_CLIPS) or seconds >= _CHUNK_SECONDS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, seconds, size, most = [], 0.0, 0, 2 * most
    if chunk:
        yield chunk


def _score(classifier: Classifier, answered: Answered, chunk: Sequence[_Clip]) -> list[FilePrediction | Exclusion]:
    features: list[Features] = [clip.values for clip in chunk if clip.values is not None]
    rows = iter(classifier.logits(features).astype(np.float64) if features else ())
    return [
        Exclusion(clip.file, clip.file, clip.fault)
        if clip.values is None
        else _say(classifier, answered, clip.file, next(rows))
        for clip in chunk
    ]


def _say(
    classifier: Classifier, answered: Answered, file: str, logits: NDArray[np.float64]
) -> FilePrediction | Exclusion:
    if not np.isfinite(logits).all():
        return Exclusion(file, file, "the model gives no finite score for it")
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    probabilities = dict(zip(classifier.labels, map(float, shares), strict=True))
    return FilePrediction(file, classifier.labels[int(shares.argmax())] if answered(logits) else None, probabilities)
