"""Score subsets of any size: up to half a gigabyte of features stays in memory, the rest is read each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fitted, Scored, Subset
from serlab.audio.augment import View
from serlab.core import FindingsError, setting
from serlab.evaluation.metrics import confusion, uar
from serlab.frontends.base import Features
from serlab.frontends.store import ClipFile, FeatureStore

HELD_BYTES = 2**29
_PLAIN = View()

Chunk = tuple[list[int], list[Features]]


class SubsetScorer:
    """Scores the clips of one subset, once or in every epoch; features that fit in memory are read once.

    Args:
        store: the source of features.
        files: the clips.
        title: label of the progress bar.
        view: the waveform augmentation of every clip; the clip as it is by default.
        seed: the run's seed, which keys the view's noise and mask.
    """

    def __init__(
        self, store: FeatureStore, files: Sequence[ClipFile], title: str, *, view: View = _PLAIN, seed: int = 0
    ) -> None:
        self.store, self.files, self.title, self.view, self.seed = store, files, title, view, seed
        self.held: Chunk | None = None

    def hold(self) -> None:
        """Read the features now, into memory if they fit, otherwise into the cache."""
        for _ in self._chunks():
            pass

    def logits(self, fitted: Fitted) -> NDArray[np.float32]:
        """Logits of shape (clips, labels), in the order of the files."""
        scores = np.empty((len(self.files), len(fitted.labels)), np.float32)
        for places, features in self._chunks():
            scores[places] = fitted.logits(features)
        return scores

    def scored(self, fitted: Fitted, wanted: NDArray[np.intp]) -> Scored:
        """Logits of all clips, and the embeddings of some.

        Args:
            fitted: the model.
            wanted: positions of clips.

        Returns:
            Logits of shape (clips, labels) and embeddings of shape (wanted, dims), in the order of
            the files.
        """
        logits = np.empty((len(self.files), len(fitted.labels)), np.float32)
        rows: dict[int, NDArray[np.float32]] = {}
        kept = set(wanted.tolist())
        for places, features in self._chunks():
            found = fitted.scored(features)
            logits[places] = found.logits
            if found.embeddings is not None:
                rows.update((place, row) for place, row in zip(places, found.embeddings, strict=True) if place in kept)
        return Scored(logits, np.stack([rows[place] for place in sorted(rows)]) if rows else None)

    def _chunks(self) -> Iterator[Chunk]:
        """Positions and features of clips, sorted by length to fill the network's batches."""
        if not self.files:
            return  # There are fewer clips than processes.
        if self.held is not None:
            yield self.held
            return
        order = sorted(range(len(self.files)), key=lambda place: self.files[place].duration)
        chunk: Chunk = ([], [])
        size = 0
        files = [self.files[place] for place in order]
        with closing(self.store.walk(files, self.title, self.view, self.seed)) as features:
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


def training_scores(
    fitted: Fitted, store: FeatureStore, train: Subset, title: str, wanted: NDArray[np.intp]
) -> tuple[float, NDArray[np.float32] | None]:
    """UAR of a model on the clips that it was trained on, and the embeddings of ``wanted`` ones.

    Raises:
        FindingsError: its scores are not finite.
    """
    found = SubsetScorer(store, train.files, f"{title}: train subset").scored(fitted, wanted)
    if not np.isfinite(found.logits).all():
        raise FindingsError(
            f"{title}: the trained model's scores are not finite; lower {setting('training.learning_rate')}."
        )
    score = uar(confusion(train.targets, found.logits.argmax(axis=1), len(fitted.labels)))
    return float(score), found.embeddings
