"""Check labels and other values of files that may be damaged, and show them in errors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE
from serlab.core import UserError

_UNPRINTABLE = ("Cc", "Cs")


def check_labels(where: str, labels: Iterable[Any]) -> None:
    """Refuse labels that are not at least two different names.

    Args:
        where: the file and field, for errors.
        labels: the labels.
    """
    names = list(labels)
    for name in names:
        if not isinstance(name, str) or not name.strip() or any(category(mark) in _UNPRINTABLE for mark in name):
            raise UserError(f"{where} has the label {shown(name)}; expected a printable name.")
        if names.count(name) > 1:
            raise UserError(f"{where} has the label {name!r} twice; each label needs its own name.")
    if len(names) < 2:
        raise UserError(f"{where} has {len(names)} labels; expected at least 2.")


def shown(value: Any) -> str:
    """A value of a damaged file, shortened for an error."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def trial_sound() -> NDArray[np.float32]:
    """One second of a buzz with a little noise, for testing a model."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    voiced = sum(np.sin(2 * np.pi * 140 * harmonic * time) / harmonic for harmonic in range(1, 20))
    sound: NDArray[np.float32] = (0.1 * voiced + 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(
        np.float32
    )
    return sound


def check_scores(folder: Path, scores: NDArray[np.float32], count: int) -> None:
    """Refuse a model that does not return a finite score for each label of one clip.

    Args:
        folder: its folder, for errors.
        scores: its output, shape (1, labels).
        count: number of labels.
    """
    if scores.shape != (1, count):
        given = " x ".join(map(str, scores.shape[1:]))
        raise UserError(f"{folder} gives {given} scores for {count} labels; it is damaged.")
    if not np.isfinite(scores).all():
        raise UserError(f"the scores of {folder} are not finite; its weights or its configuration are damaged.")
