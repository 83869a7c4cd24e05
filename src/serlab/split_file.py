"""Splits as files: a CSV with columns ``clip`` and ``side``, read, written, and made so that nothing leaks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.files import sha256_json, writing
from serlab.progress import say
from serlab.protocols import Fold, Split, disjoint, hold_out, split

SIDES = ("train", "dev", "test")


def find_split(corpus: Corpus, protocol: str) -> Split:
    """Split a corpus by the name of a protocol, or by a file whose name ends in ``.csv``.

    Raises:
        UserError: there is no such protocol or file, or it does not fit the corpus.
    """
    return read_split(corpus, Path(protocol)) if protocol.endswith(".csv") else split(corpus, protocol)


def read_split(corpus: Corpus, path: Path) -> Split:
    """Read a split of one fold; clips that the file does not name stand on no side.

    Args:
        corpus: the corpus that it splits.
        path: CSV with columns ``clip`` (a clip's id, its path, or its file's stem where only one clip has it) and
            ``side`` (``train``, ``dev`` or ``test``).

    Raises:
        UserError: the file cannot be read, names an unknown or ambiguous clip, an unknown side, or a clip twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"there is no split file {path}.") from error
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"cannot read the split {path}: {why}; expected CSV with columns clip and side.") from error
    missing = [name for name in ("clip", "side") if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise UserError(f"the split {path} has no column {missing[0]} (it has: {there}).")
    wrong = table.loc[~table["side"].isin(SIDES), "side"]
    if len(wrong):
        raise UserError(f"the split {path} has a side {wrong.iloc[0]!r}; a side is train, dev or test.")
    clips = _resolved(corpus, table["clip"], path)
    twice = pd.DataFrame({"clip": clips, "side": table["side"]}).duplicated()
    if twice.any():
        raise UserError(f"the split {path} names the clip {clips[int(twice.argmax())]} twice; each may stand once.")
    members = {side: tuple(sorted(c for c, s in zip(clips, table["side"], strict=True) if s == side)) for side in SIDES}
    left = len(corpus.clips) - len(set(clips))
    if left:
        count = f"{left:,} of the {len(corpus.clips):,} clips of {corpus.name}"
        say(f"{count} are not in {path.name}; they stand on no side.")
    # Another split under the same file name must not pass for the one that results were made with.
    name = f"{path.stem}-{sha256_json(members)[:6]}"
    return _one_fold(corpus, name, f"The user's own split {path.name}.", Fold(1, *(members[side] for side in SIDES)))


def write_split(path: Path, fold: Fold) -> None:
    """Write a fold as CSV with columns ``clip`` and ``side``, atomically."""
    rows = [(clip, side) for side in SIDES for clip in getattr(fold, side)]
    table = pd.DataFrame(rows, columns=["clip", "side"]).sort_values(["clip", "side"])
    with writing(path) as temporary:
        table.to_csv(temporary, index=False)


def sound_split(corpus: Corpus, pairs: Iterable[tuple[str, str]]) -> Split:
    """Share clips out to 60 % training, 20 % development and 20 % test so that nothing leaks.

    Speakers stay whole (clips, where speakers are unknown), all copies of a recording stay together, and labels are
    balanced as well as may be.

    Args:
        corpus: the corpus.
        pairs: pairs of clips that are the same recording.

    Raises:
        UserError: there are not three groups to share out.
    """
    clips = corpus.clips
    unit = clips["speaker"] if corpus.speakers_known else clips["clip"]
    group = _joined(dict(zip(clips["clip"], unit.astype(str), strict=True)), pairs)
    units = clips["clip"].map(group)
    counts = pd.crosstab(units, clips["label"])
    if len(counts) < len(SIDES):
        kind = "speakers" if corpus.speakers_known else "clips"
        raise UserError(
            f"{corpus.name} has {len(counts)} groups of {kind} that must stay together; three sides need three."
        )
    test = hold_out(counts, 5)
    dev = hold_out(counts.drop(index=test), 4)
    ids = [
        tuple(sorted(clips.loc[chosen, "clip"]))
        for chosen in (~units.isin([*dev, *test]), units.isin(dev), units.isin(test))
    ]
    return _one_fold(corpus, "sound", "60 / 20 / 20 % of the speakers, copies of a recording together.", Fold(1, *ids))


def _one_fold(corpus: Corpus, name: str, definition: str, fold: Fold) -> Split:
    speakers = corpus.clips["speaker"] if corpus.speakers_known else None
    sentences = corpus.clips["sentence"] if corpus.sentences_known else None
    return Split(name, definition, disjoint(corpus, [fold], speakers), disjoint(corpus, [fold], sentences), (fold,))


def _resolved(corpus: Corpus, names: Sequence[str], path: Path) -> list[str]:
    clips = corpus.clips
    by_id = {clip: clip for clip in clips["clip"]}
    by_path = dict(zip(clips["path"], clips["clip"], strict=True))
    by_stem: dict[str, list[str]] = {}
    for clip, file in zip(clips["clip"], clips["path"], strict=True):
        for stem in {clip.rsplit("/", 1)[-1], Path(file).stem}:
            by_stem.setdefault(stem, []).append(clip)
    found = []
    for name in names:
        beside = os.path.normpath(path.parent.absolute() / name)
        clip = by_id.get(name) or by_path.get(beside) or by_id.get(Path(name).with_suffix("").as_posix())
        if clip is None:
            owners = by_stem.get(name) or by_stem.get(Path(name).stem) or []
            if len(owners) > 1:
                raise UserError(
                    f"the split {path} names {name!r}, and {len(owners)} clips are called so (first {owners[0]} and "
                    f"{owners[1]}); write their ids or paths."
                )
            if not owners:
                raise UserError(f"the split {path} names the clip {name!r}, which is not in {corpus.name}.")
            clip = owners[0]
        found.append(clip)
    return found


def _joined(unit_of: dict[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each clip: its unit, joined with those that share a recording with it."""
    leader = {unit: unit for unit in unit_of.values()}

    def lead(unit: str) -> str:
        while leader[unit] != unit:
            unit = leader[unit]
        return unit

    for one, other in pairs:
        first, second = sorted((lead(unit_of[one]), lead(unit_of[other])))
        leader[second] = first
    return {clip: lead(unit) for clip, unit in unit_of.items()}
