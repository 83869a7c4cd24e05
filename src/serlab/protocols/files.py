"""Splits as files: a CSV with columns ``clip`` and ``side``, read, written, or made without leaks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from serlab.core import UserError, argument
from serlab.core.files import absent, is_stream, sha256_json, write_text
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.protocols import Fold, Split, disjoint, protocol_names, split
from serlab.recordings.units import units_of
from serlab.tables.cells import text_of
from serlab.tables.naming import CLIP, ClipNames, alike, column
from serlab.tables.reading import read_table

SIDES = ("train", "dev", "test")
_MOST_NAMED = 8
_SHARES = (0.6, 0.2, 0.2)


def find_split(corpus: Corpus, protocol: str) -> Split:
    """Split a corpus by a protocol's name, or by a file (a name with a suffix or folder).

    Raises:
        UserError: there is no such protocol or file, or it does not fit the corpus.
    """
    path = Path(protocol)
    if path.suffix or os.sep in protocol:
        if not path.exists():
            raise absent("split", protocol)
        return read_split(corpus, path)
    if path.is_file() and protocol not in protocol_names():
        raise UserError(f"the split {protocol} is a file without a suffix; rename it {protocol}.csv.")
    return split(corpus, protocol)


def read_split(corpus: Corpus, path: Path) -> Split:
    """Read a split of one fold; clips that are not in the file are not in any subset.

    Args:
        corpus: the corpus that it splits.
        path: CSV with a column of clip names, in any form that :mod:`serlab.tables.naming` accepts,
            and ``side`` (``train``, ``dev`` or ``test``).

    Raises:
        UserError: the file cannot be read, or names an unknown or ambiguous clip, an unknown
            subset, or a clip twice.
    """
    names, given = _columns(path)
    sides = given.str.lower()
    for what, cells, wrong in (("clip", names, names == ""), ("side", given, ~sides.isin(SIDES))):
        if wrong.any():
            place = int(wrong.to_numpy().argmax())
            said = f"the {what} {cells.iloc[place]!r}" if cells.iloc[place] else f"no {what}"
            raise UserError(
                f"the split {path} has {said} in row {cells.index[place] + 1} (not counting the header); expected a "
                "clip and a side: train, dev (for validation) or test."
            )
    clips = _resolved(corpus, names.tolist(), path)
    twice = pd.DataFrame({"clip": clips, "side": sides}).duplicated()
    if twice.any():
        raise UserError(f"the split {path} names the clip {clips[int(twice.argmax())]} twice; expected each clip once.")
    members = {side: tuple(sorted(c for c, s in zip(clips, sides, strict=True) if s == side)) for side in SIDES}
    left = len(corpus.clips) - len(set(clips))
    if left:
        count = f"{left:,} of the {len(corpus.clips):,} clips of {corpus.name}"
        say(f"{count} are not in {path.name}; they are not used.")
    # A different split with the same file name must not be confused with that of earlier results.
    name = f"{path.stem}-{sha256_json(members)[:6]}"
    return _one_fold(corpus, name, f"The user's own split {path.name}.", Fold(1, *(members[side] for side in SIDES)))


def _columns(path: Path) -> tuple[pd.Series, pd.Series]:
    """The clips and subsets as text."""
    table = read_table(path, "split")
    found, taken = [], []
    for role in (CLIP, ("side",)):
        name = column(table.columns, role, str(path))
        if name is None:
            there = ", ".join(map(str, table.columns))
            near = alike(table.columns, role)
            raise UserError(f"the split {path} has no column {role[0]} (it has: {there}){near}.")
        taken.append(name)
        found.append(text_of(table[name], f"the split {path}"))
    if spare := [name for name in table.columns if name not in taken]:
        more = f" and {len(spare) - _MOST_NAMED:,} more" if len(spare) > _MOST_NAMED else ""
        say(f"{path}: columns not used: {', '.join(spare[:_MOST_NAMED])}{more}.")
    return found[0], found[1]


def write_split(path: Path, fold: Fold) -> None:
    """Write a fold as CSV with columns ``clip`` and ``side``, atomically, or into a pipe or device.

    Raises:
        UserError: there is another file with that name.
    """
    rows = [(clip, side) for side in SIDES for clip in getattr(fold, side)]
    table = pd.DataFrame(rows, columns=["clip", "side"]).sort_values(["clip", "side"])
    text = table.to_csv(index=False)
    if is_stream(path):
        write_text(path, text)
        return
    if path.is_dir() or (path.exists() and path.read_text(encoding="utf-8", errors="replace") != text):
        raise UserError(f"{path} exists and is another split; move it, or choose another file with {argument('out')}.")
    write_text(path, text)


def sound_split(corpus: Corpus, pairs: Iterable[tuple[str, str]]) -> Split:
    """Divide the clips into 60 % train, 20 % dev and 20 % test without leaks.

    All clips of a speaker stay together, and so do all duplicates of a recording. Labels are
    balanced as far as possible; groups that are too large for a fifth are for training.

    Args:
        corpus: the corpus.
        pairs: pairs of clips that are the same recording.

    Raises:
        UserError: there are fewer than three groups.
    """
    clips = corpus.clips
    units = units_of(corpus, pairs)
    counts = units.counts
    if len(counts) < len(SIDES):
        kind = "speakers" if corpus.speakers_known else "clips"
        raise UserError(
            f"{corpus.name} has {len(counts)} groups of {kind} that must stay together; expected at least 3."
        )
    ids = [tuple(sorted(clips.loc[units.of.isin(side), "clip"])) for side in _divided(counts)]
    return _one_fold(corpus, "sound", "60 / 20 / 20 % of the clips, speakers and copies together.", Fold(1, *ids))


def _divided(counts: pd.DataFrame) -> list[list[str]]:
    """Groups for train, dev and test; no subset is empty.

    Groups go from the largest to the smallest, each to the subset that lacks most clips of
    its labels; rare labels weigh more (iterative stratification: Sechidis, Tsoumakas and Vlahavas,
    ECML PKDD 2011).

    Args:
        counts: clips per group (rows, at least three) and label (columns).
    """
    clips = counts.to_numpy(np.float64)
    wanted = np.outer(_SHARES, clips.sum(axis=0))
    held = np.zeros_like(wanted)
    sides: list[list[str]] = [[] for _ in SIDES]
    order = sorted(range(len(counts)), key=lambda group: (-clips[group].sum(), group))
    for place, group in enumerate(order):
        lacking = ((wanted - held) / wanted) @ (clips[group] / clips.sum(axis=0))
        empty = np.array([not side for side in sides])
        if empty.sum() >= len(order) - place:
            lacking[~empty] = -np.inf
        # Rounded, so that ties are the same on every machine; training wins ties.
        side = int(lacking.round(9).argmax())
        sides[side].append(counts.index[group])
        held[side] += clips[group]
    return sides


def _one_fold(corpus: Corpus, name: str, definition: str, fold: Fold) -> Split:
    speakers = corpus.clips["speaker"] if corpus.speakers_known else None
    sentences = corpus.clips["sentence"] if corpus.sentences_known else None
    return Split(name, definition, disjoint(corpus, [fold], speakers), disjoint(corpus, [fold], sentences), (fold,))


def _resolved(corpus: Corpus, names: Sequence[str], path: Path) -> list[str]:
    clips = ClipNames(corpus.clips)
    found = []
    for name in names:
        clip = clips.find(name, path.parent, f"the split {path}")
        if clip is None:
            near = clips.near(name)
            hint = f"; did you mean {near!r}?" if near else "."
            raise UserError(f"the split {path} names the clip {name!r}, which is not in {corpus.name}{hint}")
        found.append(clip)
    return found
