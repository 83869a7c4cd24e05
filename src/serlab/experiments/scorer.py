"""Scores of clips by one model of a teacher, computed once and then cached with the features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serlab.audio.augment import View
from serlab.checkpoints.weights import settings_identity
from serlab.core import FindingsError, UserError
from serlab.core.files import sha256_json
from serlab.core.precision import PRECISIONS
from serlab.corpora.spelling import plain
from serlab.experiments.context import RunContext
from serlab.experiments.records import TeacherModel
from serlab.frontends.cache import FeatureCache
from serlab.frontends.store import ClipFile, FeatureStore, entry_key
from serlab.model.folder import load
from serlab.training.scoring import SubsetScorer

Scores = NDArray[np.float32]


class Scorer:
    """Scores clips by one model of a teacher, or finds its scores in the cache.

    Args:
        folder: the model folder.
        model: what its signature says.
        context: what runs share.
        title: label of progress bars.
    """

    def __init__(self, folder: Path, model: TeacherModel, context: RunContext, title: str) -> None:
        self.folder, self.model, self.title = folder, model, title
        self.labels = context.corpus.labels
        self.stores = context.stores
        config = {
            "frontend": "teacher",
            "weights": model.sha256,
            "settings": settings_identity(folder),
            "labels": list(self.labels),
            "precision": model.precision,
        }
        self.cache = FeatureCache(config) if context.stores.cached else None

    def scores(self, files: Sequence[ClipFile], view: View, seed: int) -> tuple[Scores, float]:
        """Logits of one view of clips, shape (clips, labels), and the seconds that it took to compute them.

        Scores depend on their batch in the last digits, so either all come from the cache or none:
        a resumed run has the same scores as an uninterrupted one.
        """
        keys = [entry_key(file, view, seed) for file in files]
        took = f"seconds {sha256_json(keys)}"
        cache = self.cache if all(file.sha256 for file in files) else None
        found = [cache.get(key) for key in [*keys, took]] if cache else [None]
        ready = [each for each in found if each is not None]
        if len(ready) == len(keys) + 1:
            return np.stack(ready[:-1]), float(ready[-1][0])
        start = time.perf_counter()
        scores = self._compute(files, view, seed)
        seconds = time.perf_counter() - start
        if cache:
            for key, row in zip(keys, scores, strict=True):
                cache.put(key, row)
            cache.put(took, np.array([seconds], np.float32))
            cache.flush()
        return scores, seconds

    def _compute(self, files: Sequence[ClipFile], view: View, seed: int) -> Scores:
        # A classical model has a single precision, which cannot be chosen.
        fitted = load(self.folder, self.model.precision if self.model.precision in PRECISIONS else "auto")
        place = {plain(label).casefold(): number for number, label in enumerate(fitted.labels)}
        lacking = [label for label in self.labels if plain(label).casefold() not in place]
        if lacking:
            raise UserError(
                f"the teacher {self.folder} does not have the label {lacking[0]} of the corpus; it has "
                f"{', '.join(fitted.labels)}."
            )
        store: FeatureStore = self.stores.of(fitted.frontend)
        scores = SubsetScorer(store, files, self.title, view=view, seed=seed).logits(fitted)
        if not np.isfinite(scores).all():
            raise FindingsError(f"the scores of the teacher {self.folder} are not finite; it cannot teach.")
        return scores[:, [place[plain(label).casefold()] for label in self.labels]]
