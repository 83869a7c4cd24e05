"""Features of a corpus's clips: from the cache on disk, from memory, or computed.

A front end is a pure function, so its features can be reused by the next epoch, fold, seed or
recipe with the same front end. The features are the same with or without the cache.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, product
from operator import itemgetter
from typing import Any

from serlab.audio import Audio
from serlab.audio.augment import VERSION, View, apply
from serlab.core.progress import bar
from serlab.core.randomness import keyed, keyed_seed
from serlab.frontends.base import Features, FrontEnd, Samples
from serlab.frontends.cache import FeatureCache

BUDGET_BYTES = 4 * 2**30
_READERS = 2
_AHEAD = 16
_PLAIN = View()


@dataclass(frozen=True)
class ClipFile:
    """A clip to read: its id, its file, its length in seconds, the SHA-256 of the file's bytes."""

    clip: str
    path: str
    duration: float
    sha256: str = ""


class FeatureStore:
    """Computes and caches features.

    Args:
        frontend: the front end.
        cached: whether to use the cache on disk.
        budget: bytes of features to keep in memory if the disk cache does not accept them.
    """

    def __init__(self, frontend: FrontEnd, *, cached: bool = True, budget: int = BUDGET_BYTES) -> None:
        self.frontend = frontend
        self.cache = FeatureCache(frontend.config) if cached else None
        self.left = budget
        self.kept: dict[str, Features] = {}

    def get(self, clip: ClipFile, view: View = _PLAIN, seed: int = 0) -> Features:
        """Features of one view of one clip.

        Args:
            clip: the clip.
            view: the waveform augmentation; the clip as it is by default.
            seed: the run's seed, which keys the view's noise and mask.
        """
        key = entry_key(clip, view, seed)
        [(ready, values)] = self._prepare(clip, [view], [key], seed)
        return values if ready else self._compute(clip, key, values)

    def many(self, clips: Sequence[ClipFile], title: str) -> list[Features]:
        """Features of many clips without augmentation, with a progress bar; reading overlaps with computing."""
        return list(self.walk(clips, title))

    def walk(
        self, clips: Sequence[ClipFile], title: str, view: View = _PLAIN, seed: int = 0
    ) -> Generator[Features, None, None]:
        """Like :meth:`many`, but clip by clip to save memory, and of any view; close the generator to stop early."""
        return self._walk([(clip, view) for clip in clips], seed, title)

    def fill(self, clips: Sequence[ClipFile], views: Sequence[View], seed: int, title: str) -> None:
        """Compute the missing features of all views of all clips, with a progress bar."""
        # Processes that fill one cache begin at different clips, so each finds what others have
        # computed.
        start = keyed_seed("fill", os.getpid()) % max(1, len(clips))
        rotated = [*clips[start:], *clips[:start]]
        pairs = [(clip, view) for clip, view in product(rotated, views) if not self.has(clip, view, seed)]
        deque(self._walk(pairs, seed, title), maxlen=0)

    def _walk(self, pairs: Sequence[tuple[ClipFile, View]], seed: int, title: str) -> Generator[Features, None, None]:
        """Features of clips and views in order: files are read ahead in threads, the front end runs here."""
        waiting: deque[tuple[ClipFile, list[str], Future[list[tuple[bool, Features]]]]] = deque()
        with bar(title, len(pairs)) as progress, ThreadPoolExecutor(_READERS) as pool:
            rest = groupby(pairs, key=itemgetter(0))
            try:
                while True:
                    while sum(len(keys) for _, keys, _ in waiting) < _AHEAD and (following := next(rest, None)):
                        clip, views = following[0], [view for _, view in following[1]]
                        keys = [entry_key(clip, view, seed) for view in views]
                        waiting.append((clip, keys, pool.submit(self._prepare, clip, views, keys, seed)))
                    if not waiting:
                        break
                    clip, keys, future = waiting.popleft()
                    for key, (ready, values) in zip(keys, future.result(), strict=True):
                        yield values if ready else self._compute(clip, key, values)
                        progress.advance()
            finally:
                pool.shutdown(cancel_futures=True)
                if self.cache:
                    self.cache.flush()

    def _prepare(
        self, clip: ClipFile, views: Sequence[View], keys: Sequence[str], seed: int
    ) -> list[tuple[bool, Features]]:
        """For each view of a clip, its features (True) or the samples that they are computed from (False)."""
        # Decoded once for all views, and only if one is missing.
        decoded: list[Samples] = []
        prepared = []
        for view, key in zip(views, keys, strict=True):
            found = self._find(clip, key)
            if found is None:
                decoded = decoded or [Audio.from_file(clip.path).samples]
            prepared.append((True, found) if found is not None else (False, _seen(decoded[0], clip, view, seed)))
        return prepared

    def _find(self, clip: ClipFile, key: str) -> Features | None:
        found = self.kept.get(key)
        if found is None and self.cache and clip.sha256:
            found = self.cache.get(key)
        return found

    def has(self, clip: ClipFile, view: View = _PLAIN, seed: int = 0) -> bool:
        """Whether the features of a view of a clip are there, on disk or in memory."""
        key = entry_key(clip, view, seed)
        return key in self.kept or bool(self.cache and clip.sha256 and key in self.cache)

    def _compute(self, clip: ClipFile, key: str, samples: Samples) -> Features:
        features = self.frontend(samples)
        on_disk = self.cache is not None and clip.sha256 and self.cache.put(key, features)
        if not on_disk and features.nbytes <= self.left:
            self.left -= features.nbytes
            self.kept[key] = features
        return features


class FeatureStores:
    """The feature store of the current front end; a store of another front end replaces it.

    Args:
        cached: whether features are kept on disk.
    """

    def __init__(self, *, cached: bool = True) -> None:
        self.cached = cached
        self.store: FeatureStore | None = None

    def of(self, frontend: FrontEnd) -> FeatureStore:
        """The store of a front end: the current one if its configuration is equal."""
        if self.store is None or self.store.frontend.config != frontend.config:
            self.store = FeatureStore(frontend, cached=self.cached)
        return self.store

    def __reduce__(self) -> Any:
        """Pickle without features: another process has its own, which last from run to run."""
        return _own_stores, (self.cached,)


@functools.cache
def _own_stores(cached: bool) -> FeatureStores:
    return FeatureStores(cached=cached)


def entry_key(clip: ClipFile, view: View, seed: int) -> str:
    """Name of an entry: the recording and, unless plain, the view; a view that draws is keyed by clip and seed."""
    recording = clip.sha256 or f"clip {clip.clip}"
    if view == _PLAIN:
        return recording
    drawn = f" {clip.clip} {seed}" if view.noise or view.time_mask else ""
    return f"{recording} {VERSION} {view}{drawn}"


def _seen(samples: Samples, clip: ClipFile, view: View, seed: int) -> Samples:
    return samples if view == _PLAIN else apply(samples, view, keyed(seed, clip.clip, repr(view)))
