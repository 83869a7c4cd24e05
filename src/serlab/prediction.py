"""Predictions for files: read, front end, network; a file that cannot be read is listed, never guessed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serlab.audio import AudioError, find_audio, read
from serlab.core import Exclusion
from serlab.frontends.base import Features
from serlab.models.classifier import Classifier
from serlab.models.folder import load
from serlab.progress import bar

_AT_ONCE = 128


@dataclass(frozen=True)
class FilePrediction:
    """What a model says about one file.

    Attributes:
        path: as given or found.
        label: the most probable label.
        probabilities: of each label, in the model's order.
    """

    path: str
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Predictions:
    """What a model says about files.

    Attributes:
        model: the model folder.
        predictions: in the order of the files.
        excluded: files that could not be used, with the reason.
    """

    model: str
    predictions: tuple[FilePrediction, ...]
    excluded: tuple[Exclusion, ...]


def predict(model: Path | str, paths: Iterable[Path | str] | Path | str, *, precision: str = "auto") -> Predictions:
    """Predict the emotion in audio files.

    Args:
        model: a folder of serlab's, or of a plain transformers audio-classification checkpoint.
        paths: files and folders (searched with their subfolders).
        precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        A prediction a file, and the files that were left out.

    Raises:
        UserError: the model cannot be loaded, a path does not exist, or a folder holds no audio.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files = find_audio(Path(path) for path in given)
    classifier = load(Path(model), precision)
    predictions: list[FilePrediction] = []
    excluded: list[Exclusion] = []
    with bar("predicting", len(files)) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), _AT_ONCE):
            chunk = files[start : start + _AT_ONCE]
            features: list[Features] = []
            usable: list[Path] = []
            for file, found in zip(chunk, pool.map(lambda file: _features(classifier, file), chunk), strict=True):
                if isinstance(found, AudioError):
                    excluded.append(Exclusion(str(file), str(file), found.reason))
                else:
                    usable.append(file)
                    features.append(found)
            predictions += _score(classifier, usable, features)
            progress.advance(len(chunk))
    return Predictions(str(model), tuple(predictions), tuple(excluded))


def _features(classifier: Classifier, file: Path) -> Features | AudioError:
    try:
        return classifier.frontend(read(file))
    except AudioError as error:
        return error


def _score(classifier: Classifier, files: Sequence[Path], features: Sequence[Features]) -> list[FilePrediction]:
    if not files:
        return []
    logits = classifier.logits(features).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return [
        FilePrediction(
            str(file),
            classifier.labels[int(row.argmax())],
            dict(zip(classifier.labels, map(float, row), strict=True)),
        )
        for file, row in zip(files, shares, strict=True)
    ]
