"""Predictions for files; a file that cannot be used is listed with the reason, never guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from serlab.audio import AudioError, find_audio, seconds_of
from serlab.core import Exclusion, UserError
from serlab.core.progress import bar
from serlab.model.model import Model, load_model
from serlab.model.prediction import Prediction, to_frame
from serlab.model.segments import SegmentOptions, watcher
from serlab.model.sounds import NATURAL_SECONDS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predictions:
    """What a model says about files.

    Attributes:
        model: the model folder.
        predictions: in the order of the files.
        excluded: what was found but could not be used, with the reason: files, and folders that cannot be searched.
        labels: of the model, in the order of the probabilities.
    """

    model: str
    predictions: tuple[Prediction, ...]
    excluded: tuple[Exclusion, ...]
    labels: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The predictions as a table, as :func:`serlab.to_frame` gives it."""
        return to_frame(self.predictions)


def predict(
    model: Path | str,
    paths: Iterable[Path | str] | Path | str,
    *,
    precision: str = "auto",
    abstain: float | None = None,
    calibrated: bool = False,
    **how: Unpack[SegmentOptions],
) -> Predictions:
    """Predict the emotion in audio files; recordings over 30 seconds are divided into segments.

    Args:
        model: a model folder, serlab's or a plain transformers audio-classification checkpoint; the
            text ``box`` is the shipped model.
        paths: files and folders (searched with their subfolders).
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        abstain: as for :meth:`serlab.Model.predict`.
        calibrated: as for :meth:`serlab.Model.predict`.
        how: ``window``, ``hop``, ``vad``, ``smoothing`` and ``stay``, as for :meth:`serlab.Model.predict`.

    Returns:
        A prediction per file, and the files that were left out, silent clips among them.

    Raises:
        UserError: the model cannot be loaded, a path does not exist, or a folder holds no audio.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = find_audio(Path(path) for path in given)
    loaded = load_model(model, precision=precision)
    predictions: list[Prediction] = []
    excluded = list(found.excluded)
    with closing(stream(loaded, found.files, abstain=abstain, calibrated=calibrated, **how)) as chunks:
        for chunk in chunks:
            predictions += [result for result in chunk if isinstance(result, Prediction)]
            excluded += [result for result in chunk if isinstance(result, Exclusion)]
    return Predictions(str(model), tuple(predictions), tuple(excluded), loaded.labels)


def stream(
    model: Model,
    files: Sequence[str],
    *,
    done: int = 0,
    abstain: float | None = None,
    calibrated: bool = False,
    **how: Unpack[SegmentOptions],
) -> Generator[list[Prediction | Exclusion], None, None]:
    """Predict files as they come, with a progress bar; close the generator to stop before the end.

    Args:
        model: the model.
        files: the audio files.
        done: files that an earlier process has predicted already, for the bar.
        abstain: as for :meth:`serlab.Model.predict`.
        calibrated: as for :meth:`serlab.Model.predict`.
        how: as for :func:`predict`.

    Yields:
        In chunks, what became of each file, in the order of ``files``.
    """
    chunks = model.results(files, abstain=abstain, calibrated=calibrated, **how)
    watch = _in_seconds(files) if how or any_long(files) else _in_files(done, len(files))
    with watch as advance, closing(chunks):
        names = iter(files)
        for chunk in chunks:
            results = [_result(name, found) for found, name in zip(chunk, names, strict=False)]
            yield results
            advance(len(results))


@contextmanager
def _in_files(done: int, left: int) -> Iterator[Callable[[int], None]]:
    """Progress by number of files."""
    start, count = time.monotonic(), 0
    with bar("predicting", done + left, done) as progress:

        def advance(files: int) -> None:
            nonlocal count
            count += files
            progress.advance(files, f"{count / (time.monotonic() - start):,.1f} clips/s")

        yield advance


@contextmanager
def _in_seconds(files: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """Progress by seconds of audio, also within a long recording."""
    start, lengths = time.monotonic(), [_seconds(file) for file in files]
    ends = [0.0, *accumulate(lengths)]
    place, shown_as_done = 0, 0
    with bar("predicting seconds of audio", round(ends[-1])) as progress:

        def to(seconds: float) -> None:
            nonlocal shown_as_done
            steps = int(seconds) - shown_as_done
            if steps > 0:
                shown_as_done += steps
                progress.advance(steps, f"{seconds / (time.monotonic() - start):,.1f} times real time")

        def advance(count: int) -> None:
            nonlocal place
            place += count
            to(ends[place])

        # Files before this one may be predicted, and their results not yet there.
        def within(seconds: float) -> None:
            to(min(ends[place] + seconds, ends[-1]))

        watcher.set(within)
        try:
            yield advance
        finally:
            watcher.set(None)


def _seconds(file: str) -> float:
    """Length by the headers; 0 if they cannot be read."""
    with suppress(AudioError):
        return seconds_of(Path(file))
    return 0.0


def any_long(files: Iterable[str]) -> bool:
    """Whether any file is long enough to be divided into segments, by its headers."""
    return any(_seconds(file) > NATURAL_SECONDS for file in files)


def all_long(files: Iterable[str]) -> bool:
    """Whether every file is that long."""
    return all(_seconds(file) > NATURAL_SECONDS for file in files)


def _result(file: str, found: Prediction | UserError) -> Prediction | Exclusion:
    if isinstance(found, Prediction):
        return found if found.probabilities or found.segments else Exclusion(file, file, "silent")
    return Exclusion(file, file, found.reason if isinstance(found, AudioError) else str(found).rstrip("."))
