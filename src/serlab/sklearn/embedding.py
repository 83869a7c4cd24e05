"""A scikit-learn transformer from clips to one vector each: functionals, or a frozen encoder's states."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from serlab.checkpoints.weights import find, identity, settings_identity
from serlab.core import UserError, argument
from serlab.core.precision import Precision, resolve
from serlab.frontends.functionals import Egemaps, MfccStatistics
from serlab.sklearn.inputs import as_files, clips_of

if TYPE_CHECKING:
    from serlab.approaches.probe.states import PooledStates

FUNCTIONALS: dict[str, type[MfccStatistics | Egemaps]] = {"mfcc": MfccStatistics, "egemaps": Egemaps}
"""Sources that are not encoders."""

# An encoder computes on all cores, and torch's cache of parametrised weights belongs to the process.
_COMPUTING = threading.Lock()


class SpeechEmbedding(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn each clip into a vector of fixed length.

    X is as for :class:`serlab.sklearn.SpeechEmotionClassifier`. Nothing is learned from it. A
    pickle contains the name of the source, not its weights.

    Args:
        source: ``mfcc`` (220 statistics of MFCCs), ``egemaps`` (88 functionals of openSMILE; extra
            ``opensmile``), or the hub name or folder of a speech encoder, whose hidden states are
            averaged over time.
        layer: of an encoder: 0 for the input of the first layer, 1 for the output of the first
            layer, and so on; -1 for the last. The last one if None; the middle ones often tell
            more about emotion.
        sample_rate: of arrays, in Hz.
        precision: of an encoder: ``auto``, ``fp32`` or ``bf16``.
        cache: keep features of all layers on disk, so that a grid search computes them once.

    >>> noise = np.random.default_rng(0).normal(scale=0.1, size=(3, 8000))
    >>> SpeechEmbedding("mfcc", sample_rate=16000).fit_transform(noise).shape
    (3, 220)
    """

    def __init__(
        self,
        source: str = "mfcc",
        *,
        layer: int | None = None,
        sample_rate: int | None = None,
        precision: str = "auto",
        cache: bool = True,
    ) -> None:
        self.source = source
        self.layer = layer
        self.sample_rate = sample_rate
        self.precision = precision
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check parameters and X; nothing is learned.

        Args:
            X: the clips.
            y: ignored.

        Raises:
            SerlabError: a parameter or X cannot be used, or the encoder is not on this machine and
                the hub cannot be reached.
        """
        clips_of(X, self.sample_rate)
        self._checked()
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The vectors, shape (clips, features); of an encoder mean, then standard deviation over time.

        Args:
            X: the clips, 0.1 to 60 s each.

        Raises:
            SerlabError: as for :meth:`fit`, or a clip cannot be used, e.g. because it is silent.
        """
        from serlab.frontends.store import FeatureStore

        frontend, layer = self._checked()
        with as_files(X, self.sample_rate) as clips, _COMPUTING:
            walk = FeatureStore(frontend, cached=self.cache).walk(clips.files, "embedding")
            return np.stack([features if layer is None else features[layer] for features in walk])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Name of each feature, shape (features,).

        Args:
            input_features: ignored.
        """
        frontend, layer = self._checked()
        if isinstance(frontend, (MfccStatistics, Egemaps)):
            names = list(frontend.feature_names)
        else:
            units = range(frontend.encoder.hf.config.hidden_size)
            names = [f"layer{layer}_{what}{unit}" for what in ("mean", "std") for unit in units]
        return np.array(names, dtype=object)

    def _checked(self) -> tuple[MfccStatistics | Egemaps | PooledStates, int | None]:
        """The front end, and the layer of an encoder."""
        if self.source in FUNCTIONALS:
            if self.layer is not None:
                raise UserError(f"{argument('layer', self.layer)} is for encoders; {self.source} has no layers.")
            return FUNCTIONALS[self.source](), None
        if not isinstance(self.source, str) or not self.source:
            raise UserError(f"{argument('source', self.source)} is not mfcc, egemaps, or the name of an encoder.")
        folder = find(self.source)
        encoder = _encoder(self.source, identity(folder), settings_identity(folder), resolve(self.precision))
        last = len(encoder.encoder.layers)
        layer = -1 if self.layer is None else self.layer
        if layer not in range(-last - 1, last + 1):
            raise UserError(f"{argument('layer', layer)} is not between {-last - 1} and {last}, as {self.source} has.")
        return encoder, layer % (last + 1)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may give to it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.string = True
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags


@lru_cache(maxsize=1)
def _encoder(source: str, weights_sha256: str, _settings: str, precision: Precision) -> PooledStates:
    from serlab.approaches import encoder
    from serlab.approaches.encoder.network import from_checkpoint
    from serlab.approaches.probe.states import PooledStates

    # The head is not used, but an encoder for classification needs labels.
    network = from_checkpoint(encoder.Settings(checkpoint=source), ("a", "b"), precision)
    return PooledStates(network, weights_sha256=weights_sha256, precision=precision)
