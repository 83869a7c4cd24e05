"""The parts of CREMA-D that its description cannot express: votes of raters, and computed protocols.

Sources of the protocols: ``known/crema-d.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from serlab.corpora.description import Description, Parts
from serlab.corpora.joined import check_complete, damaged, find_table

_VOTES = "processedResults/tabulatedVotes.csv"
# The first digit of a row's number tells whether the rater got voice, face or both.
_RATERS = {"1": "voice", "2": "face", "3": "both"}
_ACTOR_BLOCK_ENDS = (18, 36, 54, 72)
_CLIP_BLOCK_ENDS = (1463, 2933, 4409, 5885)
_SENTENCE_GROUPS = 5


def add_columns(description: Description, clips: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add ``votes_voice_<label>``, ``votes_face_<label>`` and ``votes_both_<label>``, counts of raters.

    Args:
        description: of the corpus.
        clips: its table.
        folder: the copy's folder; without its table of votes, nothing is added.

    Raises:
        UserError: the table of votes is damaged.
    """
    path = find_table(folder, _VOTES)
    if path is None:
        return clips
    labels = list(description.labels)
    codes = {label[0].upper(): label for label in labels}
    try:
        table = pd.read_csv(path, index_col=0)
        votes = table.assign(raters=table.index.astype(str).str[0].map(_RATERS)).rename(columns=codes)
        wide = pd.DataFrame(votes.set_index(["fileName", "raters"])[labels].unstack())
    except (OSError, KeyError, ValueError) as error:
        raise damaged(description, path, str(error)) from error
    wide.columns = wide.columns.map(lambda name: f"votes_{name[1]}_{name[0]}")
    names = [f"votes_{raters}_{label}" for raters in _RATERS.values() for label in labels]
    joined = clips.join(wide.reindex(columns=names), on="clip")
    check_complete(description, path, joined, names)
    return joined.astype(dict.fromkeys(names, "int64"))


def _blocks(values: Sequence[str], ends: Sequence[int]) -> list[list[str]]:
    return [list(values[start:end]) for start, end in zip([0, *ends], [*ends, len(values)], strict=True)]


def _seed_random(clips: pd.DataFrame) -> list[Parts]:
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(sorted(clips["clip"]), test_size=0.2, random_state=42)
    train, dev = train_test_split(rest, test_size=0.1, random_state=42)
    return [(train, dev, test)]


def _clip_random(clips: pd.DataFrame) -> list[Parts]:
    order = sorted(clips["clip"])
    np.random.RandomState(0).shuffle(order)
    blocks = _blocks(order, _CLIP_BLOCK_ENDS)
    return [_cyclic(blocks, fold) for fold in range(len(blocks))]


def _cyclic(blocks: Sequence[Sequence[str]], test: int) -> Parts:
    """Test on one block, develop on the next, train on the others."""
    dev = (test + 1) % len(blocks)
    train = [clip for place, block in enumerate(blocks) for clip in block if place not in (test, dev)]
    return train, blocks[dev], blocks[test]


def _actor_sentence(clips: pd.DataFrame) -> list[Parts]:
    blocks = _blocks(sorted(clips["speaker"].unique()), _ACTOR_BLOCK_ENDS)
    block_of = {actor: number for number, block in enumerate(blocks) for actor in block}
    sentences = sorted(clips["sentence"].unique())
    group_of = {sentence: number % _SENTENCE_GROUPS for number, sentence in enumerate(sentences)}
    block, group = clips["speaker"].map(block_of), clips["sentence"].map(group_of)

    def inside(blocks: Iterable[int]) -> list[str]:
        numbers = set(blocks)
        return list(clips.loc[block.isin(numbers) & group.isin(numbers), "clip"])

    folds: list[Parts] = []
    for test in range(len(blocks)):
        dev = (test + 1) % len(blocks)
        folds.append((inside(set(range(len(blocks))) - {test, dev}), inside([dev]), inside([test])))
    return folds


PROTOCOLS = {"seed-random": _seed_random, "clip-random-5": _clip_random, "actor-sentence-5": _actor_sentence}
