"""One run: fit a recipe on a fold's training side, choose by its dev side, then read the test side once."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from serlab.approaches import encoder
from serlab.approaches.network import Network, score
from serlab.approaches.probe import Probe
from serlab.approaches.resnet import ResNet
from serlab.approaches.weights import find, identity
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core import FindingsError, SerlabError, UserError, lacks_memory
from serlab.core.precision import Precision, device, resolve
from serlab.core.progress import say
from serlab.core.randomness import keyed_seed
from serlab.corpora.base import Corpus
from serlab.evaluation.metrics import confusion, uar
from serlab.evaluation.reliance import Reliance
from serlab.frontends.base import rounded
from serlab.frontends.logmel import LogMel
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.model.classifier import Classifier, NetworkClassifier, PooledStates, ProbeClassifier, SvmClassifier
from serlab.model.folder import functionals, support_vectors
from serlab.protocols import Fold
from serlab.recipes import EncoderModel, ProbeModel, Recipe, ResNetModel, SvmModel
from serlab.tables.predictions import logits_of, make_table
from serlab.training import processes
from serlab.training.batches import TrainingBatches
from serlab.training.loop import fit, own_randomness
from serlab.training.memory import PeakMemory
from serlab.training.scoring import SideScorer, moments
from serlab.training.targets import targets_of

_TIMED_CLIPS = 24


@dataclass(frozen=True)
class Side:
    """One side of a fold, without excluded clips.

    Attributes:
        clips: rows of the corpus's table.
        files: the same clips as files.
        targets: index of each clip's label.
    """

    clips: pd.DataFrame
    files: tuple[ClipFile, ...]
    targets: NDArray[np.intp]

    @classmethod
    def of(cls, corpus: Corpus, names: Sequence[str], excluded: frozenset[str]) -> Side:
        """Gather the clips ``names`` of a corpus, in their order, leaving out ``excluded`` ones."""
        kept = [name for name in names if name not in excluded]
        clips = corpus.clips.set_index("clip").loc[kept].reset_index()
        files = tuple(map(ClipFile, clips["clip"], clips["path"], clips["duration"].astype(float), clips["sha256"]))
        index = {label: number for number, label in enumerate(corpus.labels)}
        return cls(clips, files, clips["label"].map(index).to_numpy(np.intp))


class Stores:
    """The feature store of the front end in use; another front end's features make room for it.

    Args:
        cached: whether features are kept on disk.
    """

    def __init__(self, *, cached: bool = True) -> None:
        self.cached = cached
        self.store: FeatureStore | None = None

    def of(self, frontend: Any) -> FeatureStore:
        """The store of a front end: the one at hand if its configuration is equal."""
        if self.store is None or self.store.frontend.config != frontend.config:
            self.store = FeatureStore(frontend, cached=self.cached)
        return self.store

    def __reduce__(self) -> Any:
        """Another process uses stores of its own, which last from run to run."""
        return _own_stores, (self.cached,)


@functools.cache
def _own_stores(cached: bool) -> Stores:
    return Stores(cached=cached)


@dataclass(frozen=True)
class Outcome:
    """What a run gives.

    Attributes:
        classifier: the trained model.
        table: the prediction table.
        training: history, selection and training UAR, as in the signature.
        cost: parameters, times and memory, as in the signature.
    """

    classifier: Classifier
    table: pd.DataFrame
    training: dict[str, Any]
    cost: dict[str, Any]


def identify(recipe: Recipe) -> tuple[str, str | None]:
    """The recipe's hash, and the SHA-256 of its pretrained weights (None where it has none).

    Raises:
        UserError, MachineError: the weights cannot be found.
    """
    if isinstance(recipe.model, SvmModel):
        # The grids were no settings once; here they keep the identity that they gave.
        grids = {"C": list(recipe.model.C), "gamma": list(recipe.model.gamma)}
        fixed = {"frontend": functionals(recipe.model).config, **grids}
        return recipe.hash(None, fixed), None
    checkpoint = recipe.model.checkpoint
    weights = identity(find(checkpoint)) if checkpoint else None
    return recipe.hash(weights), weights


def precision_of(recipe: Recipe) -> str:
    """The precision that the recipe runs in on this machine."""
    return "fp64" if isinstance(recipe.model, SvmModel) else resolve(recipe.training.precision)


def run(
    recipe: Recipe,
    corpus: Corpus,
    fold: Fold,
    *,
    excluded: frozenset[str],
    seed: int,
    stores: Stores,
    workspace: Path,
    before_test: Callable[[], None] | None,
    title: str,
) -> Outcome:
    """Train on a fold and predict its dev side and, unless developing, its test side.

    Args:
        recipe: what to train.
        corpus: the corpus.
        fold: its training, dev and test clips.
        excluded: clips to leave out.
        seed: the run's seed.
        stores: features computed so far.
        workspace: private folder for checkpoints.
        before_test: called right before the test side is read; None means that it is not read at all.
        title: what progress bars call this run.

    Raises:
        UserError: a side is empty, or a label has no training clip.
    """
    names = {"training": fold.train, "dev": fold.dev} | ({} if before_test is None else {"test": fold.test})
    sides = {name: Side.of(corpus, clips, excluded) for name, clips in names.items()}
    _check(sides, corpus, fold)
    train, dev = sides["training"], sides["dev"]
    memory = PeakMemory()
    start = time.perf_counter()
    with own_randomness(keyed_seed(seed, "initial weights")):
        classifier, history, store = fit_on(recipe, corpus, train, dev, seed, stores, workspace, title)
    trained = time.perf_counter()
    history["train_uar"] = training_uar(classifier, store, train, title)
    tables = [_predict(classifier, store, dev, "dev", fold.number, seed, title)]
    history["reliance"] = asdict(Reliance.fit(logits_of(tables[0]), dev.targets))
    if before_test is not None:
        before_test()
        tables.append(_predict(classifier, store, sides["test"], "test", fold.number, seed, title))
    predicted = time.perf_counter()
    total, trainable = classifier.parameters
    cost = {
        "parameters": total,
        "trained_parameters": trainable,
        "train_seconds": round(trained - start + history.pop("earlier_seconds", 0.0), 2),
        "predict_seconds": round(predicted - trained, 2),
        "audio_seconds": round(float(train.clips["duration"].sum()), 1),
        "real_time_factor": _real_time_factor(classifier, dev),
        "peak_memory_mb": memory.megabytes(),
    }
    return Outcome(classifier, pd.concat(tables, ignore_index=True), history, cost)


def fit_on(
    recipe: Recipe,
    corpus: Corpus,
    train: Side,
    dev: Side | None,
    seed: int,
    stores: Stores,
    workspace: Path,
    title: str,
    last_epoch: int | None = None,
) -> tuple[Classifier, dict[str, Any], FeatureStore]:
    """Fit a recipe; without a dev side, a network is trained to ``last_epoch``, and a probe cannot be fitted."""
    model = recipe.model
    if isinstance(model, SvmModel):
        store = stores.of(functionals(model))
        inputs = np.stack(store.many(train.files, f"{title}: features"))
        say(f"{title}: choosing C and gamma on training speakers")
        machine = support_vectors(model).fit(
            inputs,
            train.targets,
            train.clips["speaker"].tolist(),
            n_labels=len(corpus.labels),
            seed=seed,
            penalties=model.C,
            gammas=model.gamma,
        )
        return SvmClassifier(machine, store.frontend, corpus.labels), _classical(machine.chosen), store
    precision = resolve(recipe.training.precision)
    if isinstance(model, ProbeModel):
        assert dev is not None
        return _fit_probe(model, corpus, train, dev, stores, precision, title)
    return processes.everywhere(
        _fit_network, recipe, model, corpus, train, dev, seed, stores, precision, workspace, title, last_epoch
    )


def _fit_network(
    recipe: Recipe,
    model: EncoderModel | ResNetModel,
    corpus: Corpus,
    train: Side,
    dev: Side | None,
    seed: int,
    stores: Stores,
    precision: Precision,
    workspace: Path,
    title: str,
    last_epoch: int | None,
) -> tuple[Classifier, dict[str, Any], FeatureStore]:
    """Fit a network; where there are several processes, this runs in each of them."""
    rank, world = processes.share()
    with own_randomness(keyed_seed(seed, "initial weights")):
        network, store = _network(recipe, model, corpus, train, stores, precision, title)
        masks = recipe.augmentation.time_masks or recipe.augmentation.band_masks
        if masks and network.frontend.config.get("frontend") == "waveform":
            raise UserError(
                f"augmentation.time_masks and augmentation.band_masks hide parts of a spectrogram, but {recipe.name} "
                "reads the waveform; leave them out for it."
            )
        batches = TrainingBatches(
            store,
            train.files,
            targets_of(train.clips, corpus.labels, recipe.training.targets),
            augmentation=recipe.augmentation,
            batch_size=recipe.training.batch_size,
            batch_seconds=recipe.training.batch_seconds,
            window=network.window,
            fill=network.fill,
            max_seconds=min(recipe.training.max_seconds, network.longest),
            seed=seed,
            share=(rank, world),
        )
        classifier = NetworkClassifier(network.to(device()), corpus.labels, precision)
        every_view = recipe.training.epochs >= len(batches.views)
        kept = "cached" if every_view else "possible"
        say(f"{title}: {batches.describe()}; {len(batches.views)} {kept} views a clip")
        if every_view:
            # All will be wanted, so that the time left of the training itself can be told from its first steps.
            store.fill(train.files[rank::world], batches.views, seed, f"{title}: features")
            processes.exchange(None)
        history = fit(
            network,
            batches,
            None if dev is None else _dev_uar(classifier, store, dev, title),
            training=recipe.training,
            precision=precision,
            seed=seed,
            folder=workspace,
            title=title,
            last_epoch=last_epoch,
        )
        return classifier, asdict(history), store


def _dev_uar(classifier: Classifier, store: FeatureStore, dev: Side, title: str) -> Callable[[], float]:
    """What scores the dev side, each process its share of the clips."""
    rank, world = processes.share()
    scorer = SideScorer(store, dev.files[rank::world], f"{title}: dev features")
    scorer.hold()

    def score() -> float:
        mine = scorer.logits(classifier).argmax(axis=1)
        predicted = np.empty(len(dev.files), np.intp)
        for number, part in enumerate(processes.exchange(mine)):
            predicted[number::world] = part
        return float(uar(confusion(dev.targets, predicted, len(classifier.labels))))

    return score


def _fit_probe(
    model: ProbeModel, corpus: Corpus, train: Side, dev: Side, stores: Stores, precision: Precision, title: str
) -> tuple[Classifier, dict[str, Any], FeatureStore]:
    weights = identity(find(model.checkpoint))
    frozen = encoder.from_checkpoint(EncoderModel(checkpoint=model.checkpoint), corpus.labels, precision)
    store = stores.of(PooledStates(frozen, weights_sha256=weights, precision=precision))
    frontend = store.frontend
    assert isinstance(frontend, PooledStates)
    inputs = np.stack(store.many(train.files, f"{title}: features"))
    dev_inputs = np.stack(store.many(dev.files, f"{title}: dev features"))
    probe = Probe.fit(inputs, train.targets, dev_inputs, dev.targets, n_labels=len(corpus.labels), penalties=model.C)
    return ProbeClassifier(probe, frontend, corpus.labels), _classical(probe.chosen), store


def _network(
    recipe: Recipe,
    model: EncoderModel | ResNetModel,
    corpus: Corpus,
    train: Side,
    stores: Stores,
    precision: Precision,
    title: str,
) -> tuple[Network, FeatureStore]:
    half = recipe.training.features
    if isinstance(model, EncoderModel):
        with _as_configured(recipe, model):
            if model.checkpoint:
                network: Network = encoder.from_checkpoint(model, corpus.labels, precision)
            else:
                network = encoder.from_scratch(model, corpus.labels)
            # What cannot hear a second of silence should say so now, and not in the middle of a batch.
            score(network, [network.frontend(np.zeros(SAMPLE_RATE, np.float32))], "fp32")
        network.frontend = rounded(network.frontend, half)
        return network, stores.of(network.frontend)
    store = stores.of(rounded(LogMel(model.logmel), half))
    mean, std = map(torch.from_numpy, moments(store.walk(train.files, f"{title}: log-mel")))
    resnet = ResNet(model, corpus.labels, mean, std)
    resnet.frontend = store.frontend
    if model.checkpoint:
        resnet.load_image_weights(find(model.checkpoint))
    return resnet, store


@contextmanager
def _as_configured(recipe: Recipe, model: EncoderModel) -> Iterator[None]:
    """Name the settings where transformers fails on fields that the recipe has set; it raises errors of every kind."""
    try:
        yield
    except SerlabError:
        raise
    except Exception as error:
        if not model.config or lacks_memory(error):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200].rstrip(".")
        fields = ", ".join(map(str, model.config))
        raise UserError(f"recipe {recipe.name}: model.config ({fields}) gives no network that works: {why}.") from error


def _classical(chosen: dict[str, Any]) -> dict[str, Any]:
    return {"epochs": [], "best_epoch": None, "selection": "search", "chosen": chosen}


def _predict(
    classifier: Classifier, store: FeatureStore, side: Side, name: str, fold: int, seed: int, title: str
) -> pd.DataFrame:
    logits = SideScorer(store, side.files, f"{title}: predicting {name}").logits(classifier)
    return make_table(side.clips, logits, classifier.labels, side=name, fold=fold, seed=seed)


def training_uar(classifier: Classifier, store: FeatureStore, side: Side, title: str) -> float:
    """UAR of a model on the clips that it was trained on.

    Raises:
        FindingsError: its scores are not finite.
    """
    logits = SideScorer(store, side.files, f"{title}: training side").logits(classifier)
    if not np.isfinite(logits).all():
        raise FindingsError(f"{title}: the trained model's scores are not finite; lower --set training.learning_rate.")
    return float(uar(confusion(side.targets, logits.argmax(axis=1), len(classifier.labels))))


def _real_time_factor(classifier: Classifier, side: Side) -> float:
    """Seconds of computing a second of audio: reading, front end and network, one clip at a time."""
    files = side.files[:: max(1, len(side.files) // _TIMED_CLIPS)][:_TIMED_CLIPS]
    classifier.logits([classifier.frontend(Audio.from_file(files[0].path).samples)])
    start = time.perf_counter()
    for file in files:
        classifier.logits([classifier.frontend(Audio.from_file(file.path).samples)])
    return (time.perf_counter() - start) / sum(file.duration for file in files)


def _check(sides: Mapping[str, Side], corpus: Corpus, fold: Fold) -> None:
    for name, side in sides.items():
        if not len(side.clips):
            instead = "choose another protocol" + ", or --dev-only" * (name == "test")
            raise UserError(
                f"the {name} side of fold {fold.number} of {corpus.name} has no clip that can be used; {instead}."
            )
    absent = sorted(set(corpus.labels) - set(sides["training"].clips["label"]))
    if absent:
        raise UserError(
            f"the label {absent[0]} has no training clip in fold {fold.number} of {corpus.name}: a model cannot learn "
            "it; choose another protocol or add clips."
        )
