"""Length, sample rate and hash of a corpus's files, read in threads with a progress bar.

The results are cached. A file with the same path, size and times of change is not opened again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from serlab import audio
from serlab.core.progress import bar
from serlab.corpora.remembered import home_of, recall, remember

_MOST_THREADS = 8
# Passing single files to threads takes longer than reading them.
_AT_ONCE = 16
# Two writes within a tick of the file system's clock (up to 2 s on FAT) have the same time of
# change.
_SETTLED_AFTER_NS = 2_000_000_000
_NOTHING = (float("nan"), 0, "")

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """Apply ``function`` to each item in threads, with a progress bar.

    Args:
        function: should release the interpreter lock most of the time, as reading and decoding do.
        items: its arguments.
        title: of the progress bar.

    Returns:
        The results in the order of ``items``.
    """
    pool = ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1))
    parts = [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
    results: list[Result] = []
    try:
        with bar(title, len(items)) as progress:
            for part in pool.map(lambda part: [function(item) for item in part], parts):
                results += part
                progress.advance(len(part))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def scan(paths: Sequence[str], title: str) -> pd.DataFrame:
    """Read header and hash of each file, unless they are cached.

    Args:
        paths: absolute paths; empty for a clip without a file.
        title: of the progress bar.

    Returns:
        One row per path, in order: ``duration`` (seconds, NaN if unreadable), ``sample_rate`` (Hz,
        0 if unreadable), ``sha256`` (empty if there is no file to hash).
    """
    home = home_of(paths)
    known = recall("scan", home)
    settled = time.time_ns() - _SETTLED_AFTER_NS
    states = [_state(path) if path else [] for path in paths]
    rows = [_recalled(known.get(path), state) for path, state in zip(paths, states, strict=True)]
    unknown = [place for place, row in enumerate(rows) if row is None]
    found = in_threads(_look_at, [paths[place] for place in unknown], title) if unknown else []
    fresh = {}
    for place, row in zip(unknown, found, strict=True):
        rows[place] = row
        state = states[place]
        # Files that could not be read are tried again, because the reason may be temporary.
        if row[1] and max(state[1:]) < settled:
            fresh[paths[place]] = [*state, *row]
    if fresh:
        remember("scan", home, known | fresh)
    return pd.DataFrame(rows, columns=["duration", "sample_rate", "sha256"])


def _state(path: str) -> list[int]:
    """Size and times of change of content and of name, in ns; empty for a missing file, a pipe or a device."""
    try:
        # Objects of pathlib would take longer than the system does.
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return []
    if not stat.S_ISREG(status.st_mode):
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _recalled(finding: list[Any] | None, state: list[int]) -> tuple[float, int, str] | None:
    if not state:
        return _NOTHING
    return tuple(finding[3:]) if finding and finding[:3] == state else None


def _look_at(name: str) -> tuple[float, int, str]:
    found = audio.info(Path(name))
    return found.duration, found.sample_rate, found.sha256


def recordings_of(clips: pd.DataFrame) -> pd.Series:
    """The path of each clip's recording: its own, or that of the file that it is a part of."""
    return clips["recording"] if "recording" in clips else clips["path"]


def describe_files(clips: pd.DataFrame) -> str:
    """Describe sample rates and formats of a corpus's readable files.

    Args:
        clips: the table of a corpus; ``sample_rate`` and ``path``, or that of the ``recording``, are read.

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
    formats = sorted({suffix[1:].upper() or "unnamed" for _, suffix in map(os.path.splitext, recordings_of(readable))})
    return f"{rate} {' and '.join(formats)}"
