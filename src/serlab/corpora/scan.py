"""What every corpus needs to know of its files: length, sample rate and hash, read in threads with a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pandas as pd

from serlab import audio
from serlab.files import sha256_file
from serlab.progress import bar

_MOST_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """Apply ``function`` to each item, a few at a time, and show the progress.

    Args:
        function: what to do; it should spend its time outside the interpreter's lock, as reading and decoding do.
        items: what to do it to.
        title: what the progress bar says.

    Returns:
        The results in the order of ``items``.
    """
    pool = ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1))
    results = []
    try:
        with bar(title, len(items)) as progress:
            for result in pool.map(function, items):
                results.append(result)
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def scan(paths: Sequence[str], title: str) -> pd.DataFrame:
    """Read header and hash of each file.

    Args:
        paths: the files; an empty text stands for a clip without a file.
        title: what the progress bar says.

    Returns:
        One row a path, in order: ``duration`` (seconds, NaN where unreadable), ``sample_rate`` (Hz, 0 where
        unreadable), ``sha256`` (empty where there is no file to hash).
    """
    return pd.DataFrame(in_threads(_look_at, paths, title), columns=["duration", "sample_rate", "sha256"])


def _look_at(name: str) -> tuple[float, int, str]:
    if not name:
        return float("nan"), 0, ""
    path = Path(name)
    try:
        sha256 = sha256_file(path)
    except OSError:
        return float("nan"), 0, ""
    try:
        info = audio.info(path)
    except audio.AudioError:
        return float("nan"), 0, sha256
    return info.duration, info.sample_rate, sha256


def describe_files(clips: pd.DataFrame) -> str:
    """Sample rates and formats of a corpus's readable files, in words.

    Args:
        clips: the table of a corpus; ``path`` and ``sample_rate`` are read.

    >>> describe_files(pd.DataFrame({"path": ["a.flac", "b.flac"], "sample_rate": [11025, 11025]}))
    '11,025 Hz FLAC'
    >>> describe_files(pd.DataFrame({"path": ["a.wav", "b.mp3"], "sample_rate": [8000, 48000]}))
    '8,000 to 48,000 Hz MP3 and WAV'
    """
    readable = clips[clips["sample_rate"] > 0]
    if readable.empty:
        return "unreadable"
    low, high = readable["sample_rate"].min(), readable["sample_rate"].max()
    rate = f"{low:,} Hz" if low == high else f"{low:,} to {high:,} Hz"
    formats = sorted({Path(path).suffix[1:].upper() or "unnamed" for path in readable["path"]})
    return f"{rate} {' and '.join(formats)}"
