"""Hidden states of a teacher's encoder: frame by frame, a network that is fine-tuned also learns to predict them.

This is the loss of pretraining (:mod:`serlab.approaches.encoder.matching`), added to the loss of
labels and of the teacher's scores. The states are a function of a recording and a view, so they are
cached like features.

This module holds what is known of the states; :mod:`serlab.training.projections` learns them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from serlab.audio.augment import View
from serlab.checkpoints.weights import identity, loading, settings_identity
from serlab.core import UserError
from serlab.core.files import sha256_json
from serlab.core.precision import Precision, device, resolve
from serlab.frontends.base import Features, Samples, rounded
from serlab.frontends.store import ClipFile, FeatureStore, entry_key
from serlab.model.schema import FILE, Content

if TYPE_CHECKING:
    from serlab.approaches.encoder.matching import Teacher

ASKED = "training.teacher.states"
"""The setting that names the states."""

ENCODERS = {"encoder": ".", "probe": "encoder"}
"""Kinds of models with a frame-level encoder, and its folder in theirs."""


def no_encoder(name: str, kind: str) -> UserError:
    """The error for a teacher without an encoder."""
    return UserError(
        f"{ASKED} needs a teacher with a speech encoder, and {name} is of kind {kind}; choose a teacher of kind "
        f"{' or '.join(ENCODERS)}, or omit {ASKED}."
    )


@dataclass(frozen=True)
class StateSource:
    """The encoder of one model of a teacher.

    Attributes:
        folder: the encoder's folder.
        weights: SHA-256 of its weights.
        settings: SHA-256 of its configuration.
        precision: of its matrix products.
        layers: the wanted states.
        cached: whether states are kept on disk.
    """

    folder: Path
    weights: str
    settings: str
    precision: Precision
    layers: tuple[int, ...]
    cached: bool

    @classmethod
    def of(cls, model: Path, precision: str, layers: tuple[int, ...], *, cached: bool) -> StateSource:
        """Find the encoder in a teacher's folder.

        Args:
            model: a model folder, or a checkpoint of transformers.
            precision: of its matrix products.
            layers: the wanted states.
            cached: whether states are kept on disk.

        Raises:
            UserError: the teacher has no encoder.
        """
        from serlab.approaches.encoder.network import TRAINED
        from serlab.checkpoints.building import read_config

        folder = model
        if (model / FILE).is_file():
            kind = Content.read(model).recipe.model.kind
            if kind not in ENCODERS:
                raise no_encoder(model.name, kind)
            folder = model / ENCODERS[kind]
        with loading(folder):
            read_config(folder, TRAINED, f"an encoder for {ASKED}")
        return cls(folder, identity(folder), settings_identity(folder), resolve(precision), layers, cached)

    @property
    def store(self) -> FeatureStore:
        """States that were computed so far; one store per process and encoder."""
        return _store(self)


@functools.lru_cache(maxsize=2)
def _store(source: StateSource) -> FeatureStore:
    # Rounded, the states of a corpus need half of the space.
    return FeatureStore(rounded(_encoder(source), "bf16"), cached=source.cached)


@functools.lru_cache(maxsize=2)
def _encoder(source: StateSource) -> _States:
    return _States(source)


class _States:
    """Front end: states of an encoder, side by side; (samples,) to (frames, layers x dim)."""

    def __init__(self, source: StateSource) -> None:
        self.source = source

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        source = self.source
        return {
            "frontend": "states",
            "weights": source.weights,
            "settings": source.settings,
            "layers": list(source.layers),
            "precision": source.precision,
        }

    @functools.cached_property
    def teacher(self) -> Teacher:
        """The encoder; it is loaded for the first clip that is not in the cache."""
        from serlab.approaches.encoder.matching import Teacher

        # The fresh head draws random numbers.
        with torch.random.fork_rng():
            return Teacher(str(self.source.folder), self.source.layers, self.source.precision, asked=ASKED)

    def __call__(self, samples: Samples) -> Features:
        """Compute the states of one clip."""
        states = self.teacher(torch.from_numpy(samples)[None].to(device()))
        return np.ascontiguousarray(torch.cat(states, dim=-1)[0].cpu().numpy())


@dataclass(frozen=True)
class StateLesson:
    """The states that a network learns to predict.

    Attributes:
        sources: the encoders; all of them have the same layers.
        taught: for each, the ids of the clips that it teaches.
        weight: factor on the loss.
        same_view: whether the teacher hears the view that the network hears, or the clean clip at
            its speed.
    """

    sources: tuple[StateSource, ...]
    taught: tuple[frozenset[str], ...]
    weight: float
    same_view: bool

    def heard(self, view: View) -> View:
        """The view that the teacher hears; frames can only be paired at the same speed."""
        return view if self.same_view else View(speed=view.speed)

    def get(self, clip: ClipFile, view: View, seed: int) -> Features:
        """States of one view of a clip, shape (frames, layers x dim)."""
        return self.sources[self._of(clip)].store.get(clip, self.heard(view), seed)

    def files_of(self, number: int, files: Iterable[ClipFile]) -> list[ClipFile]:
        """The clips among ``files`` that one of the encoders teaches."""
        return [file for file in files if self._of(file) == number]

    def load(self, files: Sequence[ClipFile], views: Sequence[View], seed: int) -> None:
        """Load the encoders whose states are not all there.

        Otherwise, the thread that prepares batches would load them, and draw from torch's global
        generator.
        """
        for number, source in enumerate(self.sources):
            mine = self.files_of(number, files)
            if not all(source.store.has(file, self.heard(view), seed) for file in mine for view in views):
                _encoder(source).teacher  # noqa: B018

    def _of(self, clip: ClipFile) -> int:
        """Number of the encoder of a clip; speech without labels has the first one."""
        return next((number for number, clips in enumerate(self.taught) if clip.clip in clips), 0)


@dataclass(frozen=True)
class StateFeed:
    """States that fit a network's training features.

    Attributes:
        lesson: where they come from.
        ratio: the network's features per frame.
        shift: frames by which the network's first one comes after the teacher's.
    """

    lesson: StateLesson
    ratio: int
    shift: int

    def start(self, start: int) -> int:
        """The start of a section of features, moved to the start of a frame."""
        return start // self.ratio * self.ratio

    def piece(self, states: Features, start: int, length: int) -> Features:
        """The states of a section of features, and those of the frames after it that may be needed."""
        first = start // self.ratio
        return states[first : first + -(-length // self.ratio) + abs(self.shift) + 1]


def prepare(lesson: StateLesson, files: Sequence[ClipFile], views: Sequence[View], seed: int, title: str) -> float:
    """Compute the missing states of all views of all clips.

    Args:
        lesson: the states.
        files: the training clips.
        views: the views that the network hears.
        seed: the run's seed.
        title: label of the progress bar.

    Returns:
        Seconds that it took, also where they come from the cache.
    """
    heard, seconds = list(dict.fromkeys(map(lesson.heard, views))), 0.0
    for number, source in enumerate(lesson.sources):
        store, mine = source.store, lesson.files_of(number, files)
        keys = [entry_key(file, view, seed) for file in mine for view in heard]
        cache = store.cache if all(file.sha256 for file in mine) else None
        took = f"seconds {sha256_json(keys)}"
        known = cache.get(took) if cache else None
        missing = sum(not store.has(file, view, seed) for file in mine for view in heard)
        start = time.perf_counter()
        store.fill(mine, heard, seed, title)
        spent = time.perf_counter() - start
        if known is None and missing:
            # An interrupted computation has left some of them.
            known = np.array([spent * len(keys) / missing], np.float32)
            if cache:
                cache.put(took, known)
                cache.flush()
        seconds += spent if known is None else float(known[0])
    return seconds
