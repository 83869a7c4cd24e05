"""Clips that are parts of recordings: cut once, kept in the cache folder.

In serlab, a clip is a whole file. If a table gives the start and end of its clips, each part is
written as a WAV file at 16 kHz, mono, 24 bits, and that file is the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, AudioError, blocks
from serlab.core.files import cache_folder, sha256_json, writing
from serlab.core.progress import bar

_FOLDER = "parts"
# Part of the name of a cut file; changes with the way of cutting.
_VERSION = 1


def cut(paths: Sequence[str], seconds: NDArray[np.float64], sha256: Sequence[str], title: str) -> list[str]:
    """Cut parts of recordings, unless that was done before.

    Args:
        paths: the recording of each part; a recording is read once for all its parts.
        seconds: start and end of each part, shape ``(parts, 2)``; NaN for a whole recording.
        sha256: of each recording's bytes; empty if it cannot be read.
        title: of the progress bar.

    Returns:
        The file of each part; the recording itself if it is whole or cannot be read.

    Raises:
        MachineError: the cache folder cannot be written to, or the disk is full.
    """
    home = cache_folder() / _FOLDER
    files = list(paths)
    wanted: dict[str, list[int]] = {}
    for place, (path, (start, _), content) in enumerate(zip(paths, seconds, sha256, strict=True)):
        if content and not np.isnan(start):
            name = sha256_json([_VERSION, content, *(f"{value:.4f}" for value in seconds[place])])[:32]
            files[place] = str(home / name[:2] / f"{name}.wav")
            if not Path(files[place]).exists():
                wanted.setdefault(path, []).append(place)
    if wanted:
        with bar(title, sum(map(len, wanted.values()))) as progress:
            for path, places in wanted.items():
                if not _cut_one(path, [(files[place], seconds[place]) for place in places]):
                    for place in places:
                        files[place] = path
                progress.advance(len(places))
    return files


def _cut_one(path: str, parts: Sequence[tuple[str, NDArray[np.float64]]]) -> bool:
    """Write the parts of one recording; False if it cannot be read."""
    import soundfile

    try:
        samples = np.concatenate([np.zeros(0, np.float32), *blocks(path)])
    except AudioError:
        return False
    for file, (start, end) in parts:
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        with writing(Path(file)) as temporary:
            soundfile.write(temporary, samples[first:last], SAMPLE_RATE, subtype="PCM_24", format="WAV")
    return True
