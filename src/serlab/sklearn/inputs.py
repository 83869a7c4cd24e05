"""X of scikit-learn as clips: checked, and as files, which training and the feature cache read."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import soundfile

from serlab.audio import Audio, AudioError, info
from serlab.core import UserError, argument
from serlab.corpora.scan import scan

if TYPE_CHECKING:
    from serlab.frontends.store import ClipFile


class InputError(UserError, ValueError):
    """X, y or groups cannot be used; also a ValueError, as scikit-learn expects."""


def clips_of(x: Any, sample_rate: int | None) -> list[Any]:
    """The clips of X, as :meth:`serlab.Model.predict` takes them; the samples are not checked yet.

    Args:
        x: a list, tuple, array, Series or a DataFrame with one column. Each clip is a path, an array
            or a :class:`serlab.audio.Audio`.
        sample_rate: of arrays, in Hz.

    Raises:
        InputError: X is something else, is empty, or does not fit ``sample_rate``.
    """
    if isinstance(x, (str, bytes, os.PathLike, Audio)):
        raise InputError("X is one clip; expected a list of clips.")
    if hasattr(x, "toarray"):
        raise InputError("X is a sparse matrix; expected paths or arrays of samples.")
    if isinstance(x, pd.DataFrame) or (isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind in "OUT"):
        if x.shape[1] != 1:
            raise InputError(f"X has {x.shape[1]} columns; expected one, with the paths of the clips.")
        x = np.asarray(x)[:, 0]
    try:
        clips = list(x if hasattr(x, "__len__") and not hasattr(x, "__array__") else np.asarray(x))
    except TypeError:
        raise InputError(f"X is of type {type(x).__name__}; expected a list of clips.") from None
    if not clips:
        raise InputError("X has no clips, i.e. 0 sample(s); a minimum of 1 is required.")
    if isinstance(x, np.ndarray) and 0 in x.shape:
        raise InputError(f"X has 0 feature(s) (shape={x.shape}) while a minimum of 1 is required.")
    files = [isinstance(clip, (str, os.PathLike, Audio)) for clip in clips]
    if any(files) and not all(files):
        raise InputError("X mixes files and arrays; give clips of one kind.")
    for place, clip in enumerate(clips):
        if not files[0] and not hasattr(clip, "__len__") and np.ndim(clip) == 0:
            expected = "expected a path or an array of samples"
            more = "; for a single clip, give [X]" if isinstance(clip, (float, np.number)) else ""
            raise InputError(f"X[{place}] is of type {type(clip).__name__}; {expected}{more}.")
    if files[0] and sample_rate is not None:
        raise InputError(f"{argument('sample_rate', sample_rate)} is for arrays; leave it out for files and Audio.")
    if not files[0] and sample_rate is None:
        raise InputError(f"{argument('sample_rate')} is missing; give the arrays' sample rate in Hz.")
    return clips


@dataclass(frozen=True)
class Clips:
    """Clips as files.

    Attributes:
        files: in the order of X.
        rates: sample rate of each in Hz.
    """

    files: tuple[ClipFile, ...]
    rates: tuple[int, ...]


@contextmanager
def as_files(x: Any, sample_rate: int | None) -> Iterator[Clips]:
    """Clips as files while the block runs; arrays are written to a temporary folder.

    Args:
        x: as for :func:`clips_of`.
        sample_rate: of arrays, in Hz.

    Raises:
        InputError: as for :func:`clips_of`, or a clip cannot be used. Only the block finds out
            whether a file is damaged or silent, because it reads the samples.
    """
    clips = clips_of(x, sample_rate)
    with tempfile.TemporaryDirectory(prefix="serlab-") as folder:
        found = _scanned(clips) if isinstance(clips[0], (str, os.PathLike)) else _written(clips, sample_rate, folder)
        with _explained(found.files):
            yield found


@contextmanager
def _explained(files: Sequence[ClipFile]) -> Iterator[None]:
    """Name the clip in errors about its file."""
    try:
        yield
    except AudioError as error:
        places = [place for place, file in enumerate(files) if error.path == Path(file.path)]
        if not places:
            raise
        raise InputError(f"X[{places[0]}]: {error}") from error


def _scanned(paths: Sequence[Any]) -> Clips:
    from serlab.frontends.store import ClipFile

    if any(isinstance(path, Audio) for path in paths):
        raise InputError("X mixes paths and Audio; give clips of one kind.")
    names = [os.path.abspath(path) for path in paths]  # noqa: PTH100 (pathlib would take longer than the scan)
    table = scan(names, "reading headers")
    rates = tuple(map(int, table["sample_rate"]))
    if 0 in rates:
        place = rates.index(0)
        raise InputError(f"X[{place}]: {AudioError(Path(paths[place]), info(Path(names[place])).fault)}")
    columns = zip(names, table["duration"], table["sha256"], strict=True)
    files = (ClipFile(clip_name(place), path, float(s), sha256) for place, (path, s, sha256) in enumerate(columns))
    return Clips(tuple(files), rates)


def _written(sounds: Sequence[Any], sample_rate: int | None, folder: str) -> Clips:
    from serlab.frontends.store import ClipFile

    files, rates = [], []
    for place, sound in enumerate(sounds):
        try:
            audio = sound if isinstance(sound, Audio) else Audio.from_array(sound, sample_rate or 0)
        except AudioError as error:
            raise InputError(f"X[{place}]: {error}") from error
        path = Path(folder) / f"{clip_name(place)}.wav"
        # Read again, float samples are the same to the bit. soundfile would sync each file with the disk.
        encoded = io.BytesIO()
        soundfile.write(encoded, audio.original, audio.sample_rate, format="WAV", subtype="FLOAT")
        path.write_bytes(encoded.getbuffer())
        sha256 = hashlib.sha256(f"array {audio.sample_rate} ".encode() + audio.original.tobytes()).hexdigest()
        files.append(ClipFile(path.stem, str(path), audio.seconds, sha256))
        rates.append(audio.sample_rate)
    return Clips(tuple(files), tuple(rates))


def clip_name(place: int) -> str:
    """Id of a clip, from its place in X; ids are in the order of X."""
    return f"clip{place:07}"
