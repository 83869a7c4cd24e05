"""Features normalised per corpus, without labels: each corpus has mean 0 and deviation 1 in every dimension.

Recordings of different corpora differ in microphone, room, level and language; this removes the part
of it that moves all clips of a corpus alike (Schuller et al., "Cross-Corpus Acoustic Emotion
Recognition: Variances and Strategies", IEEE Trans. Affective Computing 1(2), 2010). Statistics of a
source are from its training clips, those of a target from all tested clips: the model has then seen
the target's audio, though not its labels (it is transductive), and cannot predict a single clip.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab import approaches
from serlab.audio.augment import View
from serlab.core import UserError
from serlab.frontends.base import Features, FrontEnd
from serlab.frontends.store import ClipFile, FeatureStore, FeatureStores
from serlab.recipes import Recipe

Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]
CAUTION = (
    "Transductive: the mean and deviation of each feature were taken from all clips of the target, without their "
    "labels."
)
_PLAIN = View()


def can_normalise(recipe: Recipe) -> bool:
    """Whether a recipe's features are vectors of one length, as those of SVMs and probes, not a network's input."""
    return not approaches.get(recipe.model.kind).supports.epochs


class NormalisedStore(FeatureStore):
    """A feature store whose features are normalised.

    Args:
        inner: the features as they are.
        groups: clips that statistics are taken from, by corpus.
        corpus_of: corpus of each clip, by its id.
    """

    def __init__(
        self, inner: FeatureStore, groups: Mapping[str, Sequence[ClipFile]], corpus_of: Mapping[str, str]
    ) -> None:
        self.inner, self.groups, self.corpus_of = inner, groups, corpus_of
        self.frontend, self.cache, self.kept, self.left = inner.frontend, inner.cache, inner.kept, inner.left
        self.statistics: dict[str, Statistics] = {}

    def get(self, clip: ClipFile, view: View = _PLAIN, seed: int = 0) -> Features:
        """Features of one view of one clip, normalised."""
        return self._normalised(clip, self.inner.get(clip, view, seed))

    def walk(
        self, clips: Sequence[ClipFile], title: str, view: View = _PLAIN, seed: int = 0
    ) -> Generator[Features, None, None]:
        """Features of many clips, normalised."""
        with closing(self.inner.walk(clips, title, view, seed)) as features:
            for clip, values in zip(clips, features, strict=True):
                yield self._normalised(clip, values)

    def _normalised(self, clip: ClipFile, values: Features) -> Features:
        mean, scale = self._of(self.corpus_of[clip.clip])
        return ((values - mean) / scale).astype(values.dtype)

    def _of(self, corpus: str) -> Statistics:
        if corpus not in self.statistics:
            files = self.groups[corpus]
            with closing(self.inner.walk(files, f"mean and deviation of {corpus}")) as features:
                self.statistics[corpus] = statistics_of(features)
        return self.statistics[corpus]


def statistics_of(features: Generator[Features, None, None]) -> Statistics:
    """Mean and standard deviation of each dimension (1 instead of 0), in one pass (Welford 1962).

    Raises:
        UserError: the features are not of one shape.
    """
    mean: Any = None
    for number, values in enumerate(features, 1):
        if mean is None:
            mean, squares = np.zeros(values.shape), np.zeros(values.shape)
        elif values.shape != mean.shape:
            raise UserError("features of different lengths cannot be normalised per corpus; leave the recipe out.")
        change = values - mean
        mean += change / number
        squares += change * (values - mean)
    scale = np.sqrt(squares / number)
    return mean, np.where(scale > 0, scale, 1.0)


class NormalisedStores(FeatureStores):
    """Feature stores whose features are normalised per corpus.

    Args:
        inner: the features as they are.
        groups: clips that statistics are taken from, by corpus.
        corpus_of: corpus of each clip, by its id.
    """

    def __init__(
        self, inner: FeatureStores, groups: Mapping[str, Sequence[ClipFile]], corpus_of: Mapping[str, str]
    ) -> None:
        super().__init__(cached=inner.cached)
        self.inner, self.groups, self.corpus_of = inner, groups, corpus_of

    def of(self, frontend: FrontEnd) -> FeatureStore:
        """The normalised store of a front end."""
        inner = self.inner.of(frontend)
        if not isinstance(self.store, NormalisedStore) or self.store.inner is not inner:
            self.store = NormalisedStore(inner, self.groups, self.corpus_of)
        return self.store

    def __reduce__(self) -> Any:
        """Pickle without features; another process normalises with the same clips."""
        return NormalisedStores, (self.inner, self.groups, self.corpus_of)
