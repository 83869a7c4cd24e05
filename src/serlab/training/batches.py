"""Training batches: all clips of a batch have the same length, and all epochs the same number of batches.

Clips are sorted by length, cut into batches of neighbours (a number of clips, or of seconds) and
cropped to the shortest clip of their batch. CREMA-D's lengths repeat, so almost nothing is cropped
there. Networks with a fixed window get random batches of random windows.

All randomness is keyed by (seed, epoch, clip), so a resumed training equals an uninterrupted one. A
clip that is repeated draws for each of its copies.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serlab.audio.augment import View, mix, spec_augment
from serlab.core.randomness import keyed
from serlab.frontends.base import Features
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation
from serlab.training.lesson import Lesson
from serlab.training.states import StateFeed

_AHEAD = 3
Batch = dict[str, Any]


@dataclass(frozen=True)
class _Item:
    index: int
    view: View


class TrainingBatches:
    """An epoch's batches: ``features`` (batch, time, ...), ``targets`` (batch, labels), ``clips`` and ``weight``.

    With a lesson, ``taught`` (batch, labels) holds the teachers' probabilities, mixed like targets. With
    states, ``states`` (batch, frames, layers x dim) holds those of the clips' sections.

    All processes plan the same batches, and each loads its share of every batch. ``clips`` counts
    the whole batch. A process without a clip gets one of another process, with ``weight`` 0, so
    that it can take part.

    Args:
        store: features of the training clips.
        clips: the training clips.
        targets: share of every label per clip, shape (clips, labels); zeros for a clip without a
            label.
        augmentation: of the recipe.
        batch_size: clips per batch.
        batch_seconds: if above 0, maximum seconds of audio per batch, instead of ``batch_size``.
        window: the network's window in frames; None for any length.
        fill: feature value of silence.
        max_seconds: longest part of a clip to train on.
        seed: the run's seed.
        share: number of this process, and number of processes.
        lesson: the teachers' scores of the training clips, if there are teachers.
        states: the hidden states of a teacher's encoder, if they are learned.
        pinned: whether batches are put into memory that a GPU can read while it computes.
    """

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[ClipFile],
        targets: NDArray[np.float32],
        *,
        augmentation: Augmentation,
        batch_size: int,
        batch_seconds: float = 0.0,
        window: int | None,
        fill: float,
        max_seconds: float,
        seed: int,
        share: tuple[int, int] = (0, 1),
        lesson: Lesson | None = None,
        states: StateFeed | None = None,
        pinned: bool = False,
    ) -> None:
        self.store, self.clips, self.share, self.pinned = store, clips, share, pinned
        self.copies = _copies(clips)
        self.targets, self.lesson, self.states = targets, lesson, states
        self.taught = lesson.probabilities([clip.clip for clip in clips]) if lesson else None
        self.augmentation, self.batch_size, self.batch_seconds = augmentation, batch_size, batch_seconds
        self.window, self.fill, self.max_seconds = window, fill, max_seconds
        self.seed, self.epoch = seed, 0
        self.views = augmentation.views or (View(),)
        self.count = self._count(batch_seconds)
        self._running: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        return self.count

    def _count(self, batch_seconds: float) -> int:
        """Batches per epoch; the number does not depend on the drawn views."""
        repeats = len(self.views) if self.augmentation.use == "all" else 1
        if not batch_seconds:
            return -(-len(self.clips) * repeats // self.batch_size)
        slowest = min(view.speed for view in self.views)
        seconds = [min(clip.duration / slowest, self.max_seconds) for clip in self.clips]
        # A batch may exceed its equal share by one clip.
        room = batch_seconds - max(seconds)
        if room <= 0:
            return len(self.clips) * repeats
        return min(len(self.clips) * repeats, math.ceil(sum(seconds) * repeats / room))

    def describe(self) -> str:
        """How much audio is cropped, in words, from the plan of the first epoch."""
        if self.window is not None:
            return f"random windows of {self.window} frames"
        lengths = [[self._seconds(item) for item in batch] for batch in self._plan(0)]
        whole = sum(map(sum, lengths))
        cropped = sum(sum(batch) - len(batch) * min(batch) for batch in lengths)
        share = 100 * cropped / whole
        return f"{len(self)} batches per epoch, each of one length: nothing padded, {share:.1f} % cropped"

    def _seconds(self, item: _Item) -> float:
        return min(self.clips[item.index].duration / item.view.speed, self.max_seconds)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches; a thread prepares a few of them ahead."""
        self.close()
        self._running = self._ahead()
        return self._running

    def close(self) -> None:
        """End the thread, also in the middle of an epoch."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _ahead(self) -> Generator[Batch, None, None]:
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
        stopped = threading.Event()
        epoch = self.epoch

        def unwanted() -> bool:
            return stopped.is_set() or not threading.main_thread().is_alive()

        def put(item: Batch | BaseException | None) -> None:
            while not unwanted():
                try:
                    ready.put(item, timeout=0.2)
                except queue.Full:
                    continue
                return

        def work() -> None:
            try:
                for members in self._plan(epoch):
                    if unwanted():
                        return
                    put(self._batch(members, epoch))
                put(None)
            except BaseException as error:  # the consumer raises it
                put(error)

        # Not a daemon thread: one that still computes when Python exits would abort the process.
        worker = threading.Thread(target=work)
        worker.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            worker.join()

    def _plan(self, epoch: int) -> list[list[_Item]]:
        if self.augmentation.use == "all":
            items = [_Item(i, view) for i in range(len(self.clips)) for view in self.views]
        else:
            items = [_Item(i, self._drawn_view(i, epoch)) for i in range(len(self.clips))]
        random = keyed(self.seed, epoch, "order")
        items = [items[i] for i in random.permutation(len(items))]
        if self.window is None:
            items.sort(key=lambda item: round(self.clips[item.index].duration / item.view.speed, 4))
        count = len(self)
        if self.batch_seconds:
            share = np.cumsum([self._seconds(item) for item in items])
            ends = np.searchsorted(share, share[-1] * np.arange(1, count) / count, side="right")
            # Every batch gets a clip, even if one clip is longer than a share.
            before = np.arange(count - 1)
            ends = np.maximum.accumulate(np.maximum(ends, before + 1) - before) + before
            edges = np.concatenate([[0], np.minimum(ends, len(items) - before[::-1] - 1), [len(items)]])
        else:
            sizes = [self.batch_size] * count
            sizes[int(random.integers(count))] -= count * self.batch_size - len(items)
            edges = np.concatenate([[0], np.cumsum(sizes)])
        batches = [items[low:high] for low, high in pairwise(edges)]
        return [batches[i] for i in random.permutation(count)]

    def _drawn_view(self, index: int, epoch: int) -> View:
        if len(self.views) == 1:
            return self.views[0]
        return self.views[int(keyed(self.seed, epoch, *self._called(index), "view").integers(len(self.views)))]

    def _called(self, index: int) -> tuple[str, ...]:
        """Key of a clip; its first copy has that of a clip that is not repeated."""
        copy = self.copies[index]
        return (self.clips[index].clip, f"copy {copy}") if copy else (self.clips[index].clip,)

    def _batch(self, members: Sequence[_Item], epoch: int) -> Batch:
        rank, world = self.share
        own = np.arange(rank, len(members), world)
        shown = own if len(own) else np.zeros(1, np.intp)
        meant = {"targets": self.targets[[item.index for item in members]]}
        if self.lesson and self.taught is not None:
            meant["taught"] = np.stack([self.taught[self.lesson.row(item.view), item.index] for item in members])
        if self.augmentation.mixup:
            names = [part for item in members for part in self._called(item.index)]
            random = keyed(self.seed, epoch, *names, "mixup")
            weights, partner = mix(random, len(members), self.augmentation.mixup)
            weights, partner = weights[shown].astype(np.float32), partner[shown]
            pieces = self._pieces(members, [*shown, *partner], epoch)
            shares = weights.reshape(-1, *[1] * (pieces.ndim - 1))
            values = shares * pieces[: len(shown)] + (1 - shares) * pieces[len(shown) :]
            targets = {
                name: weights[:, None] * each[shown] + (1 - weights[:, None]) * each[partner]
                for name, each in meant.items()
            }
        else:
            values, targets = self._pieces(members, shown, epoch), {name: each[shown] for name, each in meant.items()}
            if self.states:
                targets["states"] = self._states(members, shown, epoch)
        tensors = {name: torch.from_numpy(each) for name, each in {"features": values, **targets}.items()}
        if self.pinned:
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        return {**tensors, "clips": len(members), "weight": float(len(own) > 0)}

    def _pieces(self, members: Sequence[_Item], places: Iterable[int], epoch: int) -> Features:
        """Features of the members at ``places``, cropped to the length of the whole batch."""
        features, length = self._found(members, places)
        pieces = {place: self._piece(members[place], features[place], length, epoch) for place in {*places}}
        return np.stack([pieces[place] for place in places])

    def _found(self, members: Sequence[_Item], places: Iterable[int]) -> tuple[dict[int, Features], int]:
        """Features of the members at ``places`` (at least), and the length of the batch."""
        # The length of a window does not depend on the other clips.
        wanted = range(len(members)) if self.window is None else {*places}
        features = {place: self._features(members[place]) for place in wanted}
        return features, self.window or min(self._longest(members[place], f) for place, f in features.items())

    def _states(self, members: Sequence[_Item], places: Iterable[int], epoch: int) -> Features:
        """The teacher's states of the same sections, as many frames for each member of the batch."""
        assert self.states
        features, length = self._found(members, places)
        pieces = []
        for item, values in zip(members, features.values(), strict=True):
            start, _ = self._start(item, len(values) - length, epoch)
            states = self.states.lesson.get(self.clips[item.index], item.view, self.seed)
            pieces.append(self.states.piece(states, start, length))
        frames = min(map(len, pieces))
        return np.stack([pieces[place][:frames] for place in places])

    def _start(self, item: _Item, spare: int, epoch: int) -> tuple[int, np.random.Generator]:
        """The random place of a section with ``spare`` features around it, and the generator that drew it."""
        random = keyed(self.seed, epoch, *self._called(item.index), repr(item.view), "crop")
        start = int(random.integers(abs(spare) + 1))
        return self.states.start(start) if self.states else start, random

    def _features(self, item: _Item) -> Features:
        return self.store.get(self.clips[item.index], item.view, self.seed)

    def _longest(self, item: _Item, features: Features) -> int:
        seconds = self.clips[item.index].duration / item.view.speed
        return max(1, int(len(features) * min(1.0, self.max_seconds / seconds)))

    def _piece(self, item: _Item, features: Features, length: int, epoch: int) -> Features:
        """Crop to ``length`` or pad with silence, at a random place, then mask."""
        a = self.augmentation
        spare = len(features) - length
        start, random = self._start(item, spare, epoch)
        if spare >= 0:
            piece = features[start : start + length]
        else:
            piece = np.full((length, *features.shape[1:]), self.fill, np.float32)
            piece[start : start + len(features)] = features
        if a.time_masks or a.band_masks:
            piece = spec_augment(
                piece,
                random,
                time_masks=a.time_masks,
                time_width=a.time_width,
                band_masks=a.band_masks,
                band_width=a.band_width,
                fill=float(features.mean()),
            )
        return piece


def _copies(clips: Sequence[ClipFile]) -> list[int]:
    """Number of each clip among the clips with its id, from 0."""
    seen: Counter[str] = Counter()
    numbers = []
    for clip in clips:
        numbers.append(seen[clip.clip])
        seen[clip.clip] += 1
    return numbers
