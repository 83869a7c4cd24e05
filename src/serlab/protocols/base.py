"""The result of a protocol: folds, and whether they separate speakers and sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from serlab.corpora.base import Corpus

if TYPE_CHECKING:
    import pandas as pd


class MisfitError(Exception):
    """Why a protocol does not fit a corpus, as a phrase."""


@dataclass(frozen=True)
class Fold:
    """One train, dev and test split; clip ids, sorted.

    Attributes:
        number: from 1.
        train: training clips.
        dev: clips that select epochs and settings.
        test: clips for the final evaluation, read once.
    """

    number: int
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """A protocol applied to a corpus.

    Attributes:
        name: the protocol's name.
        definition: what it does, one sentence.
        speaker_disjoint: whether no speaker is in two subsets of any fold; None if speakers are
            unknown.
        sentence_disjoint: the same for sentences; None if sentences are unknown.
        folds: in order of their number.
        version: ``"2-"`` and a hash if duplicates connect speakers (or clips), which then stay in
            one subset; ``"1"`` otherwise. It is part of a run's identity.
    """

    name: str
    definition: str
    speaker_disjoint: bool | None
    sentence_disjoint: bool | None
    folds: tuple[Fold, ...]
    version: str = "1"


def disjoint(corpus: Corpus, folds: Iterable[Fold], values: pd.Series | None) -> bool | None:
    """Whether no value (a speaker, a sentence) is in two subsets of a fold; None if the values are unknown.

    Args:
        corpus: the corpus that is split.
        folds: the folds.
        values: the value of each clip of the corpus, in its order.
    """
    if values is None:
        return None
    value_of = dict(zip(corpus.clips["clip"], values, strict=True))
    subsets = [[{value_of[clip] for clip in part} for part in (fold.train, fold.dev, fold.test)] for fold in folds]
    return all(one.isdisjoint(other) for three in subsets for one, other in combinations(three, 2))


def by_unit(
    clips: pd.DataFrame, units: pd.Series, held_out: Iterable[tuple[Collection[str], Collection[str]]]
) -> tuple[Fold, ...]:
    """Build folds from the units (speakers, or clips) in dev and test; all other clips are for training.

    Args:
        clips: the clips to divide.
        units: the unit of each of them.
        held_out: (dev, test) units of each fold.
    """
    folds = []
    for number, (dev, test) in enumerate(held_out, start=1):
        in_dev, in_test = units.isin(dev), units.isin(test)
        chosen = (~in_dev & ~in_test, in_dev, in_test)
        folds.append(Fold(number, *(tuple(sorted(clips.loc[part, "clip"])) for part in chosen)))
    return tuple(folds)
