"""Tables of predictions, serlab's own and others', read and completed so that they can be judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from serlab.core import UserError
from serlab.core.progress import say
from serlab.corpora.spelling import misspelt, plain
from serlab.evaluation.counts import Names, check_labels
from serlab.evaluation.heard import check_unheard, say_heard
from serlab.evaluation.reading import ReadTable, judged_sides, read_all
from serlab.evaluation.resampling import Resampling
from serlab.tables.naming import LABEL, ClipNames, alike, stem
from serlab.tables.predictions import PREDICTED, PREFIX, check_table, labels_of

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


@dataclass(frozen=True)
class PreparedTable:
    """A table that is ready to be judged.

    Attributes:
        name: its name in errors: its path, or "the table".
        rows: rows of the judged subset with speaker, label, fold and seed, clips by the corpus's
            ids.
        dev: rows of the dev subset, likewise; may be empty.
        labels: the full label list.
        speakers_known: whether speakers are named.
        exclusions: clips left out: ``clip``, ``path`` and ``reason``.
        folds: the table's names of the folds that ``rows`` numbers; None if it names none.
        seeds: likewise.
        digest: SHA-256 of the file, empty for a table made in Python.
        predicted: clips that the table predicts in any subset, by the corpus's ids.
    """

    name: str
    rows: pd.DataFrame
    dev: pd.DataFrame
    labels: tuple[str, ...]
    speakers_known: bool
    exclusions: list[dict[str, str]]
    folds: Names = field(default_factory=dict)
    seeds: Names = field(default_factory=dict)
    digest: str = ""
    predicted: frozenset[str] = frozenset()

    @property
    def resampling(self) -> Resampling:
        """How the table's speakers are resampled."""
        return Resampling(known=self.speakers_known)


def prepare(
    table: Path | str | pd.DataFrame | PreparedTable, corpus: Corpus | None, labels: Sequence[str] | None, side: str
) -> PreparedTable:
    """Read a table and complete it from the corpus; arguments and errors as of :func:`evaluate`."""
    return prepare_all([table], corpus, labels, side)[0]


def prepare_all(
    tables: Sequence[Path | str | pd.DataFrame | PreparedTable],
    corpus: Corpus | None,
    labels: Sequence[str] | None,
    side: str,
    named: Mapping[str, str] | None = None,
    elsewhere: Collection[str] = (),
) -> list[PreparedTable]:
    """Read tables that are compared with each other: clips get the same names, and labels one list.

    If a table names no speakers, they come from the other tables, if these know the speakers of all
    its clips. Without a corpus, the first table that has a clip names it. Labels and speakers that
    look the same (another Unicode form, ``1.0`` for ``1``) are spelt as in the corpus, or else as
    in the first table.

    Args:
        tables: as for :func:`serlab.evaluation.judge.evaluate`, all prepared already or none.
        corpus: likewise.
        labels: likewise.
        side: likewise.
        named: names of the columns ``path`` (of clips), ``label`` and ``speaker``, if not the usual ones.
        elsewhere: which of these the corpus's table has, so that the tables may lack them.

    Raises:
        UserError: as :func:`serlab.evaluation.judge.evaluate`; no table has a column that is named.
    """
    if all(isinstance(table, PreparedTable) for table in tables):
        return [table for table in tables if isinstance(table, PreparedTable)]
    given = [table for table in tables if not isinstance(table, PreparedTable)]
    side = side.lower()  # as those of tables are read
    reads = read_all(given, named or {}, elsewhere, side)
    clips = ClipNames(corpus.clips) if corpus else None
    reads = [_named(read, clips) for read in reads] if clips else _named_alike(reads)
    reads = _spelt_alike(reads, corpus, labels or ())
    scored = next((labels_of(read.table) for read in reads if labels_of(read.table)), None)
    known = tuple(labels or (corpus.labels if corpus else scored or _said(reads, side)))
    prepared = _with_speakers([_prepared(read, corpus, clips, known, side) for read in reads])
    for table, each in zip(given, prepared, strict=True):
        if not isinstance(table, pd.DataFrame):
            check_unheard(Path(table), each.rows if each.speakers_known else None, side)
            if corpus is not None and each.speakers_known:
                say_heard(Path(table), each.rows, corpus)
    return prepared


def _named(read: ReadTable, clips: ClipNames) -> ReadTable:
    """The table with the corpus's ids for the clips that it has; others stay as they are called."""
    found = {name: clips.find(name, read.home, read.name) for name in read.table["clip"].unique()}
    return replace(read, table=read.table.assign(clip=[found[name] or name for name in read.table["clip"]]))


def _named_alike(reads: Sequence[ReadTable]) -> list[ReadTable]:
    """Tables whose clips are called as the tables before call them, by path, end of a path or stem."""
    done = [reads[0]]
    for read in reads[1:]:
        there = [(name, str(each.home.absolute() / name)) for each in done for name in each.table["clip"].unique()]
        clips = pd.DataFrame(there, columns=["clip", "path"]).drop_duplicates("clip")
        named = _named(read, ClipNames(clips))
        shared = named.table["clip"].isin(clips["clip"]).any()
        done.append(named if shared else _named_by_file(named, clips["clip"].tolist()))
    return done


def _named_by_file(read: ReadTable, known: Sequence[str]) -> ReadTable:
    """The table with the names of another that has none of its clips, if file names are unique in both."""
    own = list(read.table["clip"].unique())
    ours, theirs = ({stem(name): name for name in names} for names in (own, known))
    shared = [name for name in own if stem(name) in theirs]
    if not shared or len(ours) < len(own) or len(theirs) < len(known):
        return read
    say(
        f"{read.name}: clips are taken for those of the same file name in the other table, which calls "
        f"{shared[0]!r} {theirs[stem(shared[0])]!r}."
    )
    return replace(read, table=read.table.assign(clip=[theirs.get(stem(name), name) for name in read.table["clip"]]))


def _spelt_alike(reads: Sequence[ReadTable], corpus: Corpus | None, labels: Sequence[str]) -> list[ReadTable]:
    """Labels and speakers spelt in one way where they look the same."""
    said = (
        label
        for read in reads
        for label in (*labels_of(read.table), *_cells(read.table, "label"), *_cells(read.table, PREDICTED))
    )
    speakers = (speaker for read in reads for speaker in _cells(read.table, "speaker"))
    label_of = _first_spellings([*labels, *(corpus.labels if corpus else ()), *said])
    speaker_of = _first_spellings([*(corpus.clips["speaker"].unique() if corpus else ()), *speakers])
    return [_spelt(read, label_of, speaker_of) for read in reads]


def _with_speakers(judged: Sequence[PreparedTable]) -> list[PreparedTable]:
    """Tables without speakers with those that the other tables give all their clips."""
    sides = [side for each in judged if each.speakers_known for side in (each.rows, each.dev)]
    if not sides or all(each.speakers_known for each in judged):
        return list(judged)
    named = pd.concat([side[["clip", "speaker"]] for side in sides]).drop_duplicates().query("speaker != ''")
    speaker = named.drop_duplicates("clip", keep=False).set_index("clip")["speaker"].to_dict()

    def completed(each: PreparedTable) -> PreparedTable:
        both = (each.rows, each.dev)
        if each.speakers_known or not all(rows["clip"].isin(speaker).all() for rows in both):
            return each
        rows, dev = (rows.assign(speaker=rows["clip"].map(speaker)) for rows in both)
        return replace(each, rows=rows, dev=dev, speakers_known=True)

    return [completed(each) for each in judged]


def _cells(table: pd.DataFrame, key: str) -> list[str]:
    return list(table[key].dropna().unique()) if key in table else []


def _first_spellings(names: Iterable[str]) -> dict[str, str]:
    """Name -> the first that looks the same."""
    first: dict[str, str] = {}
    return {name: first.setdefault(plain(name), name) for name in names}


def _spelt(read: ReadTable, label_of: Mapping[str, str], speaker_of: Mapping[str, str]) -> ReadTable:
    table, labels = read.table, labels_of(read.table)
    spelt = [label_of[label] for label in labels]
    if twice := next((label for label in spelt if spelt.count(label) > 1), None):
        raise UserError(f"{read.name} has two columns for the scores of {twice!r}; each label needs one.")
    table = table.rename(columns={PREFIX + label: PREFIX + one for label, one in zip(labels, spelt, strict=True)})
    for key, one in (("label", label_of), (PREDICTED, label_of), ("speaker", speaker_of)):
        if key in table:
            table = table.assign(**{key: table[key].map(lambda name, one=one: one.get(name, name))})
    return replace(read, table=table)


def _said(reads: Sequence[ReadTable], side: str) -> list[str]:
    """Labels of tables without scores: those that clips have or a model says; one that is misspelt is refused."""
    true = {label for read in reads if "label" in read.table for label in read.table["label"].dropna()}
    for read in reads:
        for label in sorted(set(_on_side(read.table, side, read.name)[PREDICTED]) - true - {""}):
            meant = [other for other in sorted(true) if misspelt(label, other)]
            if meant:
                raise UserError(
                    f"{read.name} predicts {label!r}, which is not the label of any clip; did you mean "
                    f"{meant[0]!r}? Write each label in one way."
                )
            true.add(label)
    return sorted(true)


def _prepared(
    read: ReadTable, corpus: Corpus | None, clips: ClipNames | None, known: tuple[str, ...], side: str
) -> PreparedTable:
    name, whole = read.name, read.table
    rows = _on_side(whole, side, name)
    if read.digest:
        _say_other_sides(whole, side, name)
    if corpus is not None:
        rows = _join(rows, corpus, name)
    elif "label" not in rows:
        raise UserError(
            f"{name} has no column label; add one, or name the corpus that knows the clips' labels"
            f"{alike(read.columns, LABEL, 'label_column')}."
        )
    exclusions = _unusable(rows, corpus, clips)
    rows = rows[~rows["clip"].isin([exclusion["clip"] for exclusion in exclusions])]
    if rows.empty:
        raise UserError(f"{name} has no clip that can be judged: {_first_reason(exclusions)}.")
    check_labels(rows, known, name)
    speakers_known = _speakers_known(rows, name)
    folds, seeds = _calls(whole)
    rows = _completed(rows, folds, speakers_known)
    check_table(rows.assign(side=side), name)
    in_folds = rows.groupby(["clip", "seed"])["fold"].nunique()
    if (in_folds > 1).any():
        clip = in_folds.index[in_folds > 1][0][0]
        raise UserError(f"{name} has clip {clip} in two folds of one seed; each clip is judged once.")
    dev = rows.iloc[:0]
    if side == "test" and "side" in whole and (whole["side"] == "dev").any():
        dev = whole[whole["side"] == "dev"]
        dev = dev if corpus is None else _join(dev, corpus, f"the dev rows of {name}")
        left_out = _unusable(dev, corpus, clips)
        exclusions += left_out
        dev = dev[~dev["clip"].isin([exclusion["clip"] for exclusion in left_out])]
        check_labels(dev, known, f"the dev rows of {name}")
        dev = _completed(dev, folds, speakers_known and _speakers_known(dev, f"the dev rows of {name}"))
        check_table(dev, name)
        # What no judged model has predicted calibrates none.
        dev = dev.merge(rows[["fold", "seed"]].drop_duplicates())
    predicted = frozenset(whole.loc[_has_prediction(whole), "clip"])
    return PreparedTable(name, rows, dev, known, speakers_known, exclusions, folds, seeds, read.digest, predicted)


def _calls(whole: pd.DataFrame) -> tuple[Names, Names]:
    """What each fold's and seed's number in the judged rows is called; folds with names are numbered from 1."""
    folds: dict[int, int | str | None] = {0: None}
    if "fold" in whole:
        named = sorted(whole["fold"].unique())
        numbers = pd.api.types.is_integer_dtype(whole["fold"])
        folds = {int(f): int(f) for f in named} if numbers else {place: str(f) for place, f in enumerate(named, 1)}
    seeds: dict[int, int | str | None] = {0: None}
    if "seed" in whole:
        seeds = {int(seed): int(seed) for seed in whole["seed"].unique()}
    return folds, seeds


def _speakers_known(rows: pd.DataFrame, name: str) -> bool:
    """Whether the rows name their speakers; a table that names some of them only is refused."""
    if "speaker" not in rows:
        return False
    unnamed = rows["speaker"].isna() | (rows["speaker"] == "")
    if unnamed.any() and not unnamed.all():
        clip = rows.loc[unnamed, "clip"].iloc[0]
        raise UserError(
            f"{name} has no speaker for {unnamed.sum():,} of {len(rows):,} clips, first for {clip}; name them all, or "
            "remove the column and do without intervals."
        )
    return not unnamed.any()


def _completed(rows: pd.DataFrame, folds: Names, speakers_known: bool) -> pd.DataFrame:
    """Rows with a speaker, a label, and the numbers of a fold and a seed."""
    speaker = rows["speaker"].astype(str) if speakers_known else ""
    rows = rows.assign(speaker=speaker).astype({"label": str})
    number = {called: number for number, called in folds.items()}
    fold = rows["fold"].map(number) if "fold" in rows else 0
    return rows.assign(fold=fold, seed=rows.get("seed", 0)).astype({"fold": "int64", "seed": "int64"})


def _on_side(rows: pd.DataFrame, side: str, name: str) -> pd.DataFrame:
    if "side" not in rows:
        return rows
    chosen = rows[rows["side"] == side]
    if chosen.empty:
        there = ", ".join(sorted(text or "empty cells" for text in rows["side"].unique()))
        raise UserError(f"{name} has no rows of the side {side!r}; it has {there}.")
    return chosen


def _say_other_sides(whole: pd.DataFrame, side: str, name: str) -> None:
    """Say which rows are not judged; those of dev are what calibration is fitted on."""
    if "side" not in whole:
        return
    others = whole.loc[~whole["side"].isin(judged_sides(side)), "side"]
    if others.empty:
        return
    counts = others.value_counts(sort=False)
    listed = ", ".join(f"{count:,} of {text or 'no subset'}" for text, count in counts.items())
    say(f"{name}: rows of the side {side} are judged; not used: {listed}.")


def _join(rows: pd.DataFrame, corpus: Corpus, name: str) -> pd.DataFrame:
    """Add speaker and label by clip; where both know them, they must agree."""
    # A corpus that does not know who speaks leaves it to a table that does.
    keys = ["speaker", "label"] if corpus.speakers_known or "speaker" not in rows else ["label"]
    known = corpus.clips[["clip", *keys]]
    if not rows["clip"].isin(known["clip"]).any():
        raise UserError(
            f"no clip of {name} is in the corpus {corpus.name}: the table names {rows['clip'].iloc[0]!r}, "
            f"the corpus {known['clip'].iloc[0]!r}; write the clips as the corpus does."
        )
    joined = rows.drop(columns=keys, errors="ignore").merge(known, on="clip", how="left")
    for key in keys:
        if key not in rows:
            continue
        own = rows[key].reset_index(drop=True).astype(object)
        differs = joined[key].notna() & own.notna() & (own != "") & (own.astype(str) != joined[key])
        if differs.any():
            first = joined[differs].iloc[0]
            raise UserError(
                f"{name} gives clip {first['clip']} the {key} {own[differs].iloc[0]!r}, the corpus {corpus.name} "
                f"{first[key]!r}; remove the column or the corpus."
            )
    return joined


def _unusable(rows: pd.DataFrame, corpus: Corpus | None, clips: ClipNames | None) -> list[dict[str, str]]:
    """Clips that cannot be judged, each once, with the reason, as exclusions."""
    found = {}
    for clip in rows.loc[rows["label"].isna(), "clip"].unique():
        near = clips.near(clip) if clips else None
        reason = "no label" if corpus is None else f"not in the corpus {corpus.name}"
        found[clip] = f"{reason}; did you mean {near}?" if near else reason
    for clip in rows.loc[~_has_prediction(rows), "clip"].unique():
        found.setdefault(clip, "no prediction")
    return [{"clip": str(clip), "path": "", "reason": reason} for clip, reason in found.items()]


def _has_prediction(rows: pd.DataFrame) -> pd.Series:
    """Which rows have scores, or a predicted label if the table has no scores."""
    labels = labels_of(rows)
    return rows[PREFIX + labels[0]].notna() if labels else rows[PREDICTED] != ""


def _first_reason(exclusions: list[dict[str, str]]) -> str:
    return f"the first, {exclusions[0]['clip']}, has {exclusions[0]['reason']}" if exclusions else "it is empty"
