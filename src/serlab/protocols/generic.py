"""Protocols: named ways to split a corpus into training, development and test sides.

A protocol is computed from the corpus's full official clip list, so that it never depends on which files are at hand:
exclusions come after it and move no other clip. Clips that a published protocol itself leaves out stand on no side.
Everything here is deterministic. A label that no test clip of a fold has is allowed (scores are taken over the full
label list); a label that no training clip of a fold has is an error, since nothing can learn it.

Sources: EMO-SUPERB (arXiv:2402.13018), TensorFlow Datasets' ``crema_d``, usc-sail/trust-ser, nttcslab/eval-audio-repr.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, unknown
from serlab.corpora.base import Corpus
from serlab.recordings.units import Units, units_of

_CREMA_D = "crema-d"
_CREMA_D_CLIPS = 7442
_ACTOR_BLOCK_ENDS = (18, 36, 54, 72)
_CLIP_BLOCK_ENDS = (1463, 2933, 4409, 5885)
_SAME_RECORDING = frozenset(("1040_ITH_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"))
_SILENT = "1076_MTI_SAD_XX"
# fmt: off
_EVAR_TEST = (
    "1001", "1004", "1017", "1019", "1020", "1025", "1026", "1029", "1033", "1035",
    "1042", "1044", "1050", "1053", "1056", "1058", "1060", "1069", "1083",
)
_EVAR_DEV = ("1009", "1011", "1022", "1034", "1039", "1047", "1066", "1070", "1082")
# fmt: on
_SPEAKER_K = re.compile(r"speaker-(\d+)")
_LISTED_K = (2, 3, 5, 10)


@dataclass(frozen=True)
class Fold:
    """One way to share out the clips; clip ids, sorted.

    Attributes:
        number: from 1.
        train: clips to learn from.
        dev: clips to choose epochs and settings by.
        test: clips to judge by, read once.
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
        speaker_disjoint: whether no speaker is on two sides of any fold; None where speakers are unknown.
        sentence_disjoint: the same of sentences; None where sentences are unknown.
        folds: in order of their number.
        version: ``"2-"`` and a hash where copies of recordings tie speakers (or clips) together, which are then kept on
            one side; ``"1"`` where none do. It is part of a run's identity.
    """

    name: str
    definition: str
    speaker_disjoint: bool | None
    sentence_disjoint: bool | None
    folds: tuple[Fold, ...]
    version: str = "1"


def split(corpus: Corpus, name: str) -> Split:
    """Split a corpus by the protocol called ``name``.

    Args:
        corpus: its full clip list counts, missing files included.
        name: one of :func:`protocol_names`, with any ``k`` from 2 in ``speaker-<k>``.

    Returns:
        The split; its disjointness is computed from the folds.

    Raises:
        UserError: the protocol is unknown, does not fit the corpus, or leaves a label without a training clip.
    """
    try:
        return _split(corpus, name)
    except _MisfitError as misfit:
        fitting = protocol_names(corpus)
        advice = f"these fit: {', '.join(fitting)}" if fitting else "none fits; it needs more speakers or clips"
        raise UserError(f"protocol {name!r} does not fit corpus {corpus.name!r}: {misfit}; {advice}.") from misfit


def protocol_names(corpus: Corpus | None = None) -> tuple[str, ...]:
    """Names of all protocols, or of those that fit a corpus.

    Args:
        corpus: if given, ``speaker-<k>`` is spelled out for 2, 3, 5 and 10 folds, where they fit.
    """
    if corpus is None:
        return tuple(PROTOCOLS)
    names = [*_CREMA_D_FOLDS, *(f"speaker-{k}" for k in _LISTED_K), "holdout"]
    return tuple(name for name in names if _fits(corpus, name))


def default_protocol(corpus: Corpus) -> str:
    """The protocol that is used where none is named."""
    return {_CREMA_D: "emo-superb-5", "synthetic": "speaker-3"}.get(corpus.name, "speaker-5")


class _MisfitError(Exception):
    """Why a protocol does not fit a corpus, as a phrase."""


def _fits(corpus: Corpus, name: str) -> bool:
    try:
        _split(corpus, name)
    except _MisfitError:
        return False
    return True


def _split(corpus: Corpus, name: str) -> Split:
    folds = _folds(corpus, name)
    for fold in folds:
        _check_training_labels(corpus, fold)
    key = name if name in PROTOCOLS else "speaker-<k>"
    speakers = corpus.clips["speaker"] if corpus.speakers_known else None
    sentences = corpus.clips["sentence"] if corpus.sentences_known else None
    version = "1" if name in _CREMA_D_FOLDS else _units(corpus).version
    definition = PROTOCOLS[key] if corpus.speakers_known else _SPEAKERS_UNKNOWN[key]
    return Split(
        name=name,
        definition=definition if version == "1" else f"{definition} {_COPIES_TOGETHER}",
        speaker_disjoint=disjoint(corpus, folds, speakers),
        sentence_disjoint=disjoint(corpus, folds, sentences),
        folds=folds,
        version=version,
    )


def _folds(corpus: Corpus, name: str) -> tuple[Fold, ...]:
    if name in _CREMA_D_FOLDS:
        if corpus.name != _CREMA_D:
            raise _MisfitError("it is defined for crema-d alone")
        if len(corpus.clips) != _CREMA_D_CLIPS:
            raise _MisfitError(f"it needs the full list of {_CREMA_D_CLIPS} clips and this has {len(corpus.clips)}")
        return _CREMA_D_FOLDS[name](corpus.clips)
    if name == "holdout":
        return _holdout(corpus)
    match = _SPEAKER_K.fullmatch(name)
    if match is None:
        raise unknown("protocol", name, protocol_names())
    return _speaker_k(corpus, int(match[1]))


def _check_training_labels(corpus: Corpus, fold: Fold) -> None:
    clips = corpus.clips
    missing = sorted(set(corpus.labels) - set(clips.loc[clips["clip"].isin(fold.train), "label"]))
    if missing:
        raise _MisfitError(f"no training clip of fold {fold.number} is labelled {missing[0]!r}, so none could learn it")


def disjoint(corpus: Corpus, folds: Iterable[Fold], values: pd.Series | None) -> bool | None:
    """Whether no value (a speaker, a sentence) stands on two sides of a fold; None where they are unknown.

    Args:
        corpus: the corpus that is split.
        folds: the folds.
        values: the value of each of the corpus's clips, in its order.
    """
    if values is None:
        return None
    value_of = dict(zip(corpus.clips["clip"], values, strict=True))
    sides = [[{value_of[clip] for clip in side} for side in (fold.train, fold.dev, fold.test)] for fold in folds]
    return all(one.isdisjoint(other) for three in sides for one, other in combinations(three, 2))


# --- CREMA-D's own -------------------------------------------------------------------------------------------------


def _by_unit(
    clips: pd.DataFrame, units: pd.Series, held_out: Iterable[tuple[Collection[str], ...]]
) -> tuple[Fold, ...]:
    """Folds from each one's (dev, test) units; all other clips are for training."""
    folds = []
    for number, (dev, test) in enumerate(held_out, start=1):
        in_dev, in_test = units.isin(dev), units.isin(test)
        folds.append(Fold(number, _ids(clips, ~in_dev & ~in_test), _ids(clips, in_dev), _ids(clips, in_test)))
    return tuple(folds)


def _ids(clips: pd.DataFrame, chosen: pd.Series) -> tuple[str, ...]:
    return tuple(sorted(clips.loc[chosen, "clip"]))


def _cyclic(blocks: Sequence[list[str]]) -> list[tuple[list[str], list[str]]]:
    """Fold k tests block k and develops on the next, the last on the first."""
    return [(blocks[(k + 1) % len(blocks)], block) for k, block in enumerate(blocks)]


def _blocks(values: Sequence[str], ends: Sequence[int]) -> list[list[str]]:
    return [list(values[start:end]) for start, end in zip([0, *ends], [*ends, len(values)], strict=True)]


def _actors(clips: pd.DataFrame) -> list[str]:
    return sorted(clips["speaker"].unique())


def _shuffled(values: Iterable[str]) -> list[str]:
    order = sorted(values)
    np.random.RandomState(0).shuffle(order)
    return order


def _emo_superb(clips: pd.DataFrame) -> tuple[Fold, ...]:
    return _by_unit(clips, clips["speaker"], _cyclic(_blocks(_actors(clips), _ACTOR_BLOCK_ENDS)))


def _tfds(clips: pd.DataFrame) -> tuple[Fold, ...]:
    actors = _shuffled(_actors(clips))
    first, second = int(0.7 * len(actors)), int(0.8 * len(actors))
    kept = clips[~clips["clip"].isin(_SAME_RECORDING)]
    return _by_unit(kept, kept["speaker"], [(actors[first:second], actors[second:])])


def _usc(clips: pd.DataFrame) -> tuple[Fold, ...]:
    actors = _actors(clips)
    tests = [block.tolist() for block in np.array_split(actors, 5)]
    devs = [[actor for actor in actors if actor not in test][-15:] for test in tests]
    kept = clips[clips["clip"] != _SILENT]
    return _by_unit(kept, kept["speaker"], zip(devs, tests, strict=True))


def _evar(clips: pd.DataFrame) -> tuple[Fold, ...]:
    kept = clips[~clips["clip"].isin(_SAME_RECORDING)]
    return _by_unit(kept, kept["speaker"], [(_EVAR_DEV, _EVAR_TEST)])


def _seed_random(clips: pd.DataFrame) -> tuple[Fold, ...]:
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(sorted(clips["clip"]), test_size=0.2, random_state=42)
    _, dev = train_test_split(rest, test_size=0.1, random_state=42)
    return _by_unit(clips, clips["clip"], [(dev, test)])


def _clip_random(clips: pd.DataFrame) -> tuple[Fold, ...]:
    return _by_unit(clips, clips["clip"], _cyclic(_blocks(_shuffled(clips["clip"]), _CLIP_BLOCK_ENDS)))


def _actor_sentence(clips: pd.DataFrame) -> tuple[Fold, ...]:
    blocks = _blocks(_actors(clips), _ACTOR_BLOCK_ENDS)
    block_of = {actor: number for number, block in enumerate(blocks) for actor in block}
    group_of = {sentence: number % 5 for number, sentence in enumerate(sorted(clips["sentence"].unique()))}
    block, group = clips["speaker"].map(block_of), clips["sentence"].map(group_of)
    folds = []
    for test in range(5):
        dev = (test + 1) % 5
        train = ~block.isin((test, dev)) & ~group.isin((test, dev))
        sides = (train, (block == dev) & (group == dev), (block == test) & (group == test))
        folds.append(Fold(test + 1, *(_ids(clips, side) for side in sides)))
    return tuple(folds)


_CREMA_D_FOLDS: dict[str, Callable[[pd.DataFrame], tuple[Fold, ...]]] = {
    "emo-superb-5": _emo_superb,
    "tfds": _tfds,
    "usc-5": _usc,
    "evar": _evar,
    "seed-random": _seed_random,
    "clip-random-5": _clip_random,
    "actor-sentence-5": _actor_sentence,
}

PROTOCOLS: dict[str, str] = {
    "emo-superb-5": "CREMA-D: five blocks of actors in order; fold k tests block k, develops on the next, trains on the"
    " other three.",
    "tfds": "CREMA-D: TensorFlow Datasets' 63 training, 9 development and 19 test actors, without four doubtful clips.",
    "usc-5": "CREMA-D: five folds over the sorted actors as in trust-ser; the last 15 training actors are for"
    " development; without the silent clip.",
    "evar": "CREMA-D: EVAR's 63 training, 9 development and 19 test actors, without four doubtful clips.",
    "seed-random": "CREMA-D: a random fifth of the clips is the test side and a tenth of the rest for development, so"
    " that every actor is on every side (leaks actors; shown only beside the seed's figures).",
    "clip-random-5": "CREMA-D: the leaky twin of emo-superb-5, with shuffled clips in five blocks of the same sizes"
    " (leaks actors; shows what the leak is worth).",
    "actor-sentence-5": "CREMA-D: as emo-superb-5, and no side shares a sentence with another; tests about a fifth of"
    " the corpus.",
    "speaker-<k>": "Any corpus: k folds of speakers, balanced by label where possible; a fifth of the other speakers is"
    " for development.",
    "holdout": "Any corpus: 60 % of the speakers for training, 20 % for development, 20 % for the test.",
}
"""Every protocol and what it does, in one sentence."""

_SPEAKERS_UNKNOWN: dict[str, str] = {
    "speaker-<k>": "k folds of clips, since speakers are unknown, balanced by label; a fifth of the other clips is for"
    " development.",
    "holdout": "60 % of the clips for training, 20 % for development, 20 % for the test, balanced by label, since"
    " speakers are unknown.",
}
_COPIES_TOGETHER = "Copies of one recording stay on one side, and with them whoever is said to speak them."


# --- any corpus ----------------------------------------------------------------------------------------------------


def _speaker_k(corpus: Corpus, k: int) -> tuple[Fold, ...]:
    units = _units(corpus)
    counts = units.counts
    if k < 2:
        raise _MisfitError("k must be 2 or more")
    needed = 4 if k == 2 else k
    if len(counts) < needed:
        raise _MisfitError(f"it needs at least {needed} {units.word} and this has {len(counts)}")
    held_out = [(_hold_out(counts.drop(index=test), 5), test) for test in _deal(counts, k)]
    return _by_unit(corpus.clips, units.of, held_out)


def _holdout(corpus: Corpus) -> tuple[Fold, ...]:
    units = _units(corpus)
    counts = units.counts
    if len(counts) < 3:
        raise _MisfitError(f"it needs at least 3 {units.word} and this has {len(counts)}")
    test = _hold_out(counts, 5)
    return _by_unit(corpus.clips, units.of, [(_hold_out(counts.drop(index=test), 4), test)])


_known: weakref.WeakKeyDictionary[Corpus, Units] = weakref.WeakKeyDictionary()


def _units(corpus: Corpus) -> Units:
    if corpus not in _known:
        from serlab.recordings.duplicates import find_duplicates

        _known[corpus] = units_of(corpus, find_duplicates(corpus))
    return _known[corpus]


def _deal(counts: pd.DataFrame, parts: int) -> list[list[str]]:
    """Share units out to parts whose sizes differ by one at most, as evenly by label as may be.

    Units go from the largest to the smallest, like ones together; each to that part, among those with the fewest
    units, which holds the fewest clips of the unit's labels, rare labels weighing more.

    Args:
        counts: clips a unit (rows) and label (columns).
        parts: how many parts.
    """
    values = counts.to_numpy()
    shares: NDArray[np.float64] = values / np.maximum(values.sum(axis=0), 1)
    order = sorted(range(len(counts)), key=lambda unit: (-values[unit].sum(), (-values[unit]).tolist(), unit))
    held = np.zeros((parts, values.shape[1]))
    dealt: list[list[str]] = [[] for _ in range(parts)]
    for place, unit in enumerate(order):
        full = np.array([len(part) for part in dealt]) > place // parts
        # Rounded, so that parts which hold the same are a tie on every machine; the first of them is taken.
        part = int(np.where(full, np.inf, (held @ shares[unit]).round(12)).argmin())
        dealt[part].append(counts.index[unit])
        held[part] += shares[unit]
    return dealt


def _hold_out(counts: pd.DataFrame, parts: int) -> list[str]:
    """About one of ``parts`` equal parts of the units, at least one, that leaves every label a clip where possible.

    Args:
        counts: clips a unit (rows) and label (columns).
        parts: e.g. 5 for a fifth.
    """

    def cost(part: list[str]) -> tuple[int, int, float]:
        inside = counts.loc[part].sum()
        left = counts.sum() - inside
        return int((left == 0).sum()), int((inside == 0).sum()), abs(len(part) - len(counts) / parts)

    return min(_deal(counts, min(parts, len(counts))), key=cost)
