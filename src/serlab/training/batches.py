"""Training batches: every clip of a batch has the same length, in every epoch the same number of batches.

Clips are sorted by length, cut into batches of neighbours and cropped to the shortest of their batch: on CREMA-D,
whose lengths repeat, almost nothing is cropped. Networks with a fixed window get random batches of random windows.
Everything random is keyed by (seed, epoch, clip), so a resumed training sees what an undisturbed one sees.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from serlab.augment import View, mix, spec_augment
from serlab.frontends.base import Features
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.randomness import keyed
from serlab.recipes import Augmentation

_AHEAD = 3
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Item:
    index: int
    view: View


class TrainingBatches:
    """An epoch's batches, as ``{"features": (batch, time, ...), "targets": (batch, labels)}``.

    Args:
        store: features of the training clips.
        clips: the training clips.
        targets: index of each clip's label.
        n_labels: number of labels.
        augmentation: the recipe's.
        batch_size: clips a batch.
        window: the network's window, or None for any length.
        fill: feature value of silence.
        max_seconds: longest stretch of a clip to train on.
        seed: the run's seed.
    """

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[ClipFile],
        targets: NDArray[np.intp],
        n_labels: int,
        *,
        augmentation: Augmentation,
        batch_size: int,
        window: int | None,
        fill: float,
        max_seconds: float,
        seed: int,
    ) -> None:
        self.store, self.clips = store, clips
        self.one_hot = np.eye(n_labels, dtype=np.float32)[targets]
        self.augmentation, self.batch_size = augmentation, batch_size
        self.window, self.fill, self.max_seconds = window, fill, max_seconds
        self.seed, self.epoch = seed, 0
        self.views = augmentation.views or (View(),)

    def __len__(self) -> int:
        items = len(self.clips) * (len(self.views) if self.augmentation.use == "all" else 1)
        return -(-items // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0; the Trainer calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches, made a few ahead by a thread of their own."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
        stopped = threading.Event()
        epoch = self.epoch

        def put(item: Batch | BaseException | None) -> None:
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.2)
                except queue.Full:
                    continue
                return

        def work() -> None:
            try:
                for members in self._plan(epoch):
                    if stopped.is_set():
                        return
                    put(self._batch(members, epoch))
                put(None)
            except BaseException as error:  # handed to the consumer, which raises it
                put(error)

        worker = threading.Thread(target=work, daemon=True)
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
        sizes = [self.batch_size] * count
        sizes[int(random.integers(count))] -= count * self.batch_size - len(items)
        edges = np.concatenate([[0], np.cumsum(sizes)])
        batches = [items[low:high] for low, high in pairwise(edges)]
        return [batches[i] for i in random.permutation(count)]

    def _drawn_view(self, index: int, epoch: int) -> View:
        if len(self.views) == 1:
            return self.views[0]
        return self.views[int(keyed(self.seed, epoch, self.clips[index].clip, "view").integers(len(self.views)))]

    def _batch(self, members: Sequence[_Item], epoch: int) -> Batch:
        features = [self.store.get(self.clips[item.index], item.view, self.seed) for item in members]
        length = self.window or min(map(self._longest, members, features))
        pieces = [self._piece(item, f, length, epoch) for item, f in zip(members, features, strict=True)]
        values, targets = np.stack(pieces), self.one_hot[[item.index for item in members]]
        if self.augmentation.mixup:
            random = keyed(self.seed, epoch, *(self.clips[item.index].clip for item in members), "mixup")
            weights, partner = mix(random, len(members), self.augmentation.mixup)
            shares = weights.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
            values = shares * values + (1 - shares) * values[partner]
            targets = shares.reshape(-1, 1) * targets + (1 - shares.reshape(-1, 1)) * targets[partner]
        return {"features": torch.from_numpy(values), "targets": torch.from_numpy(targets)}

    def _longest(self, item: _Item, features: Features) -> int:
        seconds = self.clips[item.index].duration / item.view.speed
        return max(1, int(len(features) * min(1.0, self.max_seconds / seconds)))

    def _piece(self, item: _Item, features: Features, length: int, epoch: int) -> Features:
        """Crop to ``length`` at a random place, or set into silence at a random place, then mask."""
        a = self.augmentation
        random = keyed(self.seed, epoch, self.clips[item.index].clip, repr(item.view), "crop")
        spare = len(features) - length
        start = int(random.integers(abs(spare) + 1))
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
