"""A side of a fold however large: its features are held by half a gigabyte, or pass by once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from serlab.frontends.base import Features
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.model.classifier import Classifier

HELD_BYTES = 2**29

Chunk = tuple[list[int], list[Features]]


class SideScorer:
    """Scores the clips of one side, once or epoch after epoch; what fits is read once.

    Args:
        store: where features come from.
        files: the clips.
        title: what the progress bar calls this.
    """

    def __init__(self, store: FeatureStore, files: Sequence[ClipFile], title: str) -> None:
        self.store, self.files, self.title = store, files, title
        self.held: Chunk | None = None

    def hold(self) -> None:
        """Read the features ahead, so that scoring need not where they fit, and finds them in the cache otherwise."""
        for _ in self._chunks():
            pass

    def logits(self, classifier: Classifier) -> NDArray[np.float32]:
        """Logits of shape (clips, labels), in the order of the files."""
        scores = np.empty((len(self.files), len(classifier.labels)), np.float32)
        for places, features in self._chunks():
            scores[places] = classifier.logits(features)
        return scores

    def _chunks(self) -> Iterator[Chunk]:
        """Places and features of clips; those of like length come together, and so fill the network's batches."""
        if self.held is not None:
            yield self.held
            return
        order = sorted(range(len(self.files)), key=lambda place: self.files[place].duration)
        chunk: Chunk = ([], [])
        size = 0
        with closing(self.store.walk([self.files[place] for place in order], self.title)) as features:
            for place, values in zip(order, features, strict=True):
                chunk[0].append(place)
                chunk[1].append(values)
                size += values.nbytes
                if size >= HELD_BYTES:
                    yield chunk
                    chunk, size = ([], []), 0
        if len(chunk[0]) == len(self.files):
            self.held = chunk
        if chunk[0]:
            yield chunk


def moments(features: Iterable[Features]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over all frames of all clips, clip by clip.

    Merged as in Chan, Golub, LeVeque (1983), The American Statistician 37, equation 1.5, which loses no digits.

    Args:
        features: at least one clip, each of shape (frames, bands).

    Returns:
        Two arrays of shape (bands,).
    """
    count, mean, squares = 0, np.float64(0), np.float64(0)
    for frames in features:
        own = frames.mean(axis=0, dtype=np.float64)
        apart, total = own - mean, count + len(frames)
        squares = squares + np.square(frames - own).sum(axis=0) + np.square(apart) * (count * len(frames) / total)
        mean = mean + apart * (len(frames) / total)
        count = total
    return np.asarray(mean), np.sqrt(squares / count)
