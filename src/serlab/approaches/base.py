"""The interface of an approach: its settings, the settings that affect it, and how it is fitted, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.history import History
from serlab.core import UserError

if TYPE_CHECKING:
    import pandas as pd

    from serlab.approaches.network import FittedNetwork, Network
    from serlab.corpora.base import Corpus
    from serlab.frontends.base import FeaturePrecision, Features, FrontEnd
    from serlab.frontends.store import ClipFile, FeatureStores


REGULARISERS = frozenset(
    {
        "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout", "hidden_dropout",
        "layerdrop", "mask_feature_prob", "mask_time_prob",
    }
)  # fmt: skip
"""Fields of an encoder's configuration that affect training alone, not what a trained encoder computes."""


class Settings(Protocol):
    """A recipe's model section: a frozen dataclass whose ``kind`` names the approach."""

    @property
    def kind(self) -> str:
        """Name of the approach."""


@dataclass(frozen=True)
class Supports:
    """The abilities of an approach, and the settings beside its own that affect it.

    Attributes:
        int8: whether a fitted model can predict in int8.
        dev: whether it needs a dev subset, or choices that were made on one.
        epochs: whether it is a network that is trained epoch by epoch.
        used: dotted names of the only settings beside ``model`` that have an effect; None if all
            have.
        ignored: dotted names of settings beside ``model`` that have no effect.
    """

    int8: bool = False
    dev: bool = False
    epochs: bool = False
    used: frozenset[str] | None = None
    ignored: frozenset[str] = frozenset()

    def uses(self, setting: str) -> bool:
        """Whether a setting beside ``model``, e.g. ``training.epochs``, has an effect."""
        return setting not in self.ignored and (self.used is None or setting in self.used)


@dataclass(frozen=True)
class Identity:
    """The identity of a recipe beside its settings.

    Attributes:
        weights_sha256: SHA-256 of the pretrained weights, None without any.
        fixed: anything else that affects the result but is not a setting.
    """

    weights_sha256: str | None = None
    fixed: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, checkpoint: str) -> Identity:
        """The identity of pretrained weights; an empty name means none.

        Raises:
            UserError, MachineError: the weights cannot be found.
        """
        from serlab.checkpoints.weights import find, identity

        return cls(identity(find(checkpoint)) if checkpoint else None)


@dataclass(frozen=True)
class Subset:
    """The train, dev or test subset of a fold, without excluded clips.

    Attributes:
        clips: rows of the corpus's table.
        files: the same clips as files.
        targets: index of each clip's label, shape (clips,).
    """

    clips: pd.DataFrame
    files: tuple[ClipFile, ...]
    targets: NDArray[np.intp]

    @classmethod
    def of(cls, corpus: Corpus, names: Sequence[str], excluded: frozenset[str] = frozenset()) -> Subset:
        """Gather the clips ``names`` of a corpus, in their order, without the ``excluded`` ones."""
        from serlab.frontends.store import ClipFile

        kept = [name for name in names if name not in excluded]
        clips = corpus.clips.set_index("clip").loc[kept].reset_index()
        files = tuple(map(ClipFile, clips["clip"], clips["path"], clips["duration"].astype(float), clips["sha256"]))
        index = {label: number for number, label in enumerate(corpus.labels)}
        return cls(clips, files, np.asarray(clips["label"].map(index), np.intp))

    def check_labels(self, labels: Sequence[str], *, at_least: int) -> None:
        """Refuse a train subset with too few clips of a label.

        Raises:
            UserError: a label has fewer than ``at_least`` clips.
        """
        for label, count in zip(labels, np.bincount(self.targets, minlength=len(labels)), strict=True):
            if count < at_least:
                raise UserError(
                    f"the number of training clips of the label {label!r} is {count}, and the recipe needs at least "
                    f"{at_least}; choose another protocol, or leave the label out."
                )


@dataclass(frozen=True)
class Fixed:
    """Choices made on the dev subsets of other runs, for fitting without a dev subset.

    Attributes:
        epoch: a network's last epoch; None trains it as long as its recipe says.
        layer, penalty: of a probe.
    """

    epoch: int | None = None
    layer: int | None = None
    penalty: float | None = None


@dataclass(frozen=True)
class Scored:
    """What one pass over clips gives.

    Attributes:
        logits: natural-log scores, shape (clips, labels).
        embeddings: the pooled features that the classifier reads, shape (clips, dims); None if the
            approach has none.
    """

    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None


class Fitted(Protocol):
    """A fitted model.

    Attributes:
        labels: names of the classes, in the order of the logits.
        parameters: number of parameters, and how many of them were trained.
        needs_serlab: whether plain transformers cannot use the saved folder.
        history: how it was fitted; None for a loaded one.
    """

    labels: tuple[str, ...]
    parameters: tuple[int, int]
    needs_serlab: bool
    history: History | None

    @property
    def precision(self) -> str:
        """Precision of the matrix products."""

    @property
    def frontend(self) -> FrontEnd:
        """The front end, which computes the input of :meth:`logits`."""

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Natural-log scores, shape (clips, labels)."""

    def scored(self, features: Sequence[Features]) -> Scored:
        """Logits and the embeddings below them, in one pass."""

    def save(self, folder: Path) -> None:
        """Write weights and configuration into an existing folder."""


@dataclass(frozen=True)
class FitContext:
    """The context of a fit.

    Attributes:
        recipe: name of the recipe, for errors.
        title: label of progress bars.
        labels: names of the classes.
        seed: the run's seed.
        precision: of the matrix products, from :meth:`Approach.precision`.
        features: precision that the front end's output is rounded to.
        stores: features computed so far.
        fixed: choices made on the dev subsets of other runs.
        train: trains a network on a train subset, epoch by epoch, and scores it on a dev subset.
    """

    recipe: str
    title: str
    labels: tuple[str, ...]
    seed: int
    precision: str
    features: FeaturePrecision
    stores: FeatureStores
    fixed: Fixed
    train: Callable[[Network, Subset, Subset | None], FittedNetwork]


@dataclass(frozen=True)
class Saved:
    """A model folder, and the content of its ``serlab.json``.

    Attributes:
        folder: the folder.
        labels: names of the classes.
        precision: of the matrix products: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        features: precision that the front end's output is rounded to.
        weights_sha256: SHA-256 of the weights that training started from, or empty.
    """

    folder: Path
    labels: tuple[str, ...]
    precision: str
    features: FeaturePrecision
    weights_sha256: str


S = TypeVar("S", bound=Settings)


class Approach(Protocol[S]):
    """A method that turns clips into logits.

    Attributes:
        settings: the class of its settings, the recipe's model section.
        titles: its name in errors, in singular (with article) and plural.
        supports: its abilities, and the settings that affect it.
    """

    settings: type[S]
    titles: tuple[str, str]
    supports: Supports

    def identity(self, settings: S) -> Identity:
        """The identity of a recipe beside its settings.

        Raises:
            UserError, MachineError: pretrained weights cannot be found.
        """

    def precision(self, asked: str) -> str:
        """The precision that ``auto``, ``fp32``, ``bf16`` or ``int8`` means on this machine.

        Raises:
            MachineError: this machine does not support it.
        """

    def fit(self, settings: S, train: Subset, dev: Subset | None, context: FitContext) -> Fitted:
        """Fit on a train subset; choices are made on the dev subset, or within the train subset.

        Raises:
            UserError: the settings do not fit the data, or there is neither a dev subset nor a
                fixed choice.
            FindingsError: training diverged.
        """

    def load(self, settings: S, saved: Saved) -> Fitted:
        """Load a folder that :meth:`Fitted.save` wrote.

        Raises:
            UserError: (inside :func:`serlab.checkpoints.weights.loading`) the folder is damaged.
        """


class Pretrained:
    """Base of approaches with networks, from a checkpoint or from scratch."""

    def identity(self, settings: Any) -> Identity:
        """The identity of the weights of ``settings.checkpoint``, if any."""
        return Identity.of(settings.checkpoint)

    def precision(self, asked: str) -> str:
        """The precision that this machine computes in."""
        from serlab.core.precision import resolve

        return resolve(asked)
