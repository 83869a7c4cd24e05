"""Confusion counts by speaker of cross-corpus runs, as a table: every score can be computed from it again.

The table has no clip, so it can be shared where a corpus's licence allows no more. A row counts the
clips of one speaker and label that were given one answer:

    recipe, source, normalised, target, what, seed, fold, speaker, label, predicted, clips

``what`` is ``tested`` (the cross-corpus test), ``within`` (runs within the target, on the clips and
seeds that both have), ``paired`` (the cross-corpus test on these, if they are not all), or ``inside``
(runs within a target that the model cannot be tested on). ``source`` is empty for a finished model.
Rows of zero clips are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlab.core.files import writing
from serlab.evaluation.counts import SpeakerCounts

KEYS = ["recipe", "source", "normalised", "target"]
COLUMNS = [*KEYS, "what", "seed", "fold", "speaker", "label", "predicted", "clips"]
Counted = tuple[dict[str, Any], SpeakerCounts]


def table_of(counted: Sequence[Counted]) -> pd.DataFrame:
    """The counts as a table.

    Args:
        counted: each with the values of ``KEYS`` and ``what``.
    """
    rows = [{**about, **row} for about, counts in counted for row in _rows(counts)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(counts: SpeakerCounts) -> Iterator[dict[str, Any]]:
    for seed, cell, label, predicted in zip(*np.nonzero(counts.matrices), strict=True):
        yield {
            "seed": counts.seeds[seed],
            "fold": counts.folds[counts.fold[cell]],
            "speaker": counts.speakers[counts.speaker[cell]],
            "label": counts.labels[label],
            "predicted": counts.labels[predicted],
            "clips": int(counts.matrices[seed, cell, label, predicted]),
        }


def counts_of(rows: pd.DataFrame, labels: Sequence[str]) -> SpeakerCounts:
    """The counts from rows of the table.

    Args:
        rows: of one test.
        labels: the full label list.
    """
    seed, seeds = pd.factorize(rows["seed"], sort=True)
    speaker, speakers = pd.factorize(rows["speaker"], sort=True)
    fold, folds = pd.factorize(rows["fold"], sort=True)
    cell, cells = pd.factorize(speaker * len(folds) + fold, sort=True)
    place = {label: number for number, label in enumerate(labels)}
    matrices = np.zeros((len(seeds), len(cells), len(labels), len(labels)), np.int64)
    np.add.at(matrices, (seed, cell, rows["label"].map(place), rows["predicted"].map(place)), rows["clips"])
    return SpeakerCounts(
        labels=tuple(labels),
        speakers=tuple(map(str, speakers)),
        folds=tuple(map(int, folds)),
        seeds=tuple(map(int, seeds)),
        matrices=matrices,
        speaker=np.asarray(cells, np.int64) // len(folds),
        fold=np.asarray(cells, np.int64) % len(folds),
    )


def write(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV.

    Raises:
        MachineError: the disk is full or not writable.
    """
    with writing(path) as temporary:
        table.to_csv(temporary, index=False)


def read(path: Path) -> pd.DataFrame:
    """Read the table; speakers, labels and names are texts, empty where there is none."""
    texts = dict.fromkeys(("recipe", "source", "target", "what", "speaker", "label", "predicted"), str)
    return pd.read_csv(path, dtype=texts, keep_default_na=False)
