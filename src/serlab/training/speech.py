"""Speech in memory for pretraining: decoded once, cut into parts, played at several speeds, in batches of one length.

Samples are kept in half precision, 115 MB per hour and speed. Order, speeds and crops are keyed by
(seed, epoch, part), so a resumed pretraining equals an uninterrupted one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, Audio, AudioError, Limits
from serlab.checkpoints.weights import public_name
from serlab.core import Exclusion, UserError
from serlab.core.randomness import keyed
from serlab.corpora.scan import in_threads
from serlab.corpora.unlabelled import Speech

_LIMITS = Limits(max_seconds=7200.0)
_BUDGET_BYTES = 4 * 2**30
_MOST_THREADS = 8
_AHEAD = 4

Samples = NDArray[np.float32]
_Half = NDArray[np.float16]


@dataclass(frozen=True)
class Heard:
    """Speech that was decoded, and what had to be left out.

    Attributes:
        sources: the speech, without recordings that cannot be used.
        excluded: those recordings, with the reason.
        parts: the sound in parts, in the order of the SHA-256 of their files.
    """

    sources: tuple[Speech, ...]
    excluded: tuple[Exclusion, ...]
    parts: tuple[_Half, ...]

    @property
    def hours(self) -> float:
        """Length of the sound."""
        return sum(map(len, self.parts)) / SAMPLE_RATE / 3600


def listen(sources: Sequence[Speech], max_seconds: float, title: str) -> Heard:
    """Decode speech into memory.

    Args:
        sources: the speech; a recording that occurs twice is heard once.
        max_seconds: longer recordings are cut into equal parts of at most this length.
        title: label of the progress bar.

    Raises:
        UserError: nothing can be used.
    """
    files: dict[str, tuple[str, str]] = {}
    for source in sources:
        for clip, path, sha256 in zip(source.clips["clip"], source.clips["path"], source.clips["sha256"], strict=True):
            files.setdefault(str(sha256), (str(clip), str(path)))
    order = sorted(files)
    found = in_threads(lambda sha256: _decode(files[sha256][1]), order, title)
    lost = {sha256: sound for sha256, sound in zip(order, found, strict=True) if isinstance(sound, str)}
    parts = [part for sound in found if not isinstance(sound, str) for part in _cut(sound, max_seconds)]
    if not parts:
        why = f" (first: {files[order[0]][0]}: {lost[order[0]]})" if order else ""
        raise UserError(f"there is no speech to pretrain on{why}; give a folder of recordings.")
    kept = [replace(source, clips=source.clips[~source.clips["sha256"].isin(lost)]) for source in sources]
    excluded = [Exclusion(files[sha256][0], files[sha256][1], str(why)) for sha256, why in lost.items()]
    return Heard(tuple(kept), tuple(excluded), tuple(parts))


def _decode(path: str) -> _Half | str:
    """Samples of a file, or why it cannot be used."""
    try:
        return Audio.from_file(path, limits=_LIMITS).samples.astype(np.float16)
    except AudioError as error:
        return error.reason


def _cut(sound: _Half, max_seconds: float) -> list[_Half]:
    return np.array_split(sound, max(1, -(-len(sound) // int(max_seconds * SAMPLE_RATE))))


class SpeechBatches:
    """Batches of samples (clips, samples) in half precision, each of one length.

    Parts of similar length share a batch and are cropped to the shortest of them.

    Args:
        parts: the sound.
        batch_size: parts per batch.
        speeds: playing speeds; one is drawn per part and epoch.
        max_seconds: longest sound in a batch.
        seed: of order, speeds and crops.
    """

    def __init__(
        self, parts: Sequence[_Half], *, batch_size: int, speeds: Sequence[float], max_seconds: float, seed: int
    ) -> None:
        self.parts, self.batch_size, self.speeds, self.seed = parts, batch_size, tuple(speeds), seed
        self.most = int(max_seconds * SAMPLE_RATE)
        self._played: dict[tuple[int, float], _Half] = {}
        self._left = _BUDGET_BYTES

    def __len__(self) -> int:
        return -(-len(self.parts) // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Generator[_Half, None, None]:
        """The batches of an epoch (from 0), from one of them on; threads prepare a few ahead.

        Close the generator to stop early.
        """
        waiting: deque[Future[_Half]] = deque()
        pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
        try:
            plan = iter([*enumerate(self._plan(number))][start:])
            while True:
                for place, members in plan:
                    waiting.append(pool.submit(self._batch, members, number, place))
                    if len(waiting) >= _AHEAD:
                        break
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _plan(self, epoch: int) -> list[list[tuple[int, float]]]:
        random = keyed(self.seed, epoch, "order")
        order = random.permutation(len(self.parts))
        drawn = random.integers(len(self.speeds), size=len(self.parts))
        members = [(int(part), self.speeds[drawn[part]]) for part in order]
        # A stable sort: parts of one length stay in random order.
        members.sort(key=lambda member: round(len(self.parts[member[0]]) / member[1]))
        batches = [members[low : low + self.batch_size] for low in range(0, len(members), self.batch_size)]
        return [batches[place] for place in random.permutation(len(batches))]

    def _batch(self, members: Sequence[tuple[int, float]], epoch: int, place: int) -> _Half:
        sounds = [self._at(*member) for member in members]
        length = min(self.most, *map(len, sounds))
        random = keyed(self.seed, epoch, place, "crop")
        starts = [int(random.integers(len(sound) - length + 1)) for sound in sounds]
        return np.stack([sound[start : start + length] for sound, start in zip(sounds, starts, strict=True)])

    def _at(self, part: int, speed: float) -> _Half:
        """A part at a speed, from memory if there is room for it."""
        if speed == 1:
            return self.parts[part]
        found = self._played.get((part, speed))
        if found is None:
            sound = self.parts[part].astype(np.float32)
            found = soxr.resample(sound, SAMPLE_RATE * speed, SAMPLE_RATE, quality="HQ").astype(np.float16)
            if found.nbytes <= self._left:
                self._left -= found.nbytes
                self._played[part, speed] = found
        return found


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings of pretraining for shared results: names of checkpoints and folders, never paths."""
    names = [public_name(name) for name in settings["unlabelled"]]
    return {**settings, "checkpoint": public_name(settings["checkpoint"]), "unlabelled": names}
