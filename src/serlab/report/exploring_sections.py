"""From the table of a corpus's clips to the views of :mod:`serlab.report.exploring`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core.progress import clock
from serlab.corpora.base import Corpus
from serlab.corpora.description import NOT_STATED
from serlab.evaluation.metrics import Format
from serlab.evaluation.outliers import LIMIT, modified_z, modified_z_within
from serlab.report.exploring import (
    About,
    Count,
    Counts,
    Grid,
    Measure,
    SpeakerRow,
    Spread,
)
from serlab.report.exploring_space import Outlier, Outliers
from serlab.report.words import counted, written

MOST_ROWS = 12
"""Values of a column that the page lists."""
MOST_SPEAKERS = 100
"""Speakers that the grid shows."""
MOST_OUTLIERS = 6
"""Clips to listen to, per kind."""
COLUMNS = {
    "label": "label",
    "sex": "sex",
    "level": "level",
    "session": "session",
    "language": "language",
    "partition": "partition",
    "sentence": "sentence",
    "sample_rate": "sample rate",
}
"""Columns whose clips are counted, and their names."""

_UNKNOWN = "unknown"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class _Kind:
    """A measure: as in :class:`Measure`."""

    title: str
    unit: str
    digits: int
    how: str


MEASURES = {
    "duration": _Kind("Duration", "s", 2, "from the file's header"),
    "rms": _Kind("Level", "dB", 1, "root mean square in dB of full scale"),
    "snr": _Kind(
        "SNR estimate",
        "dB",
        1,
        "power of the whole clip less that of its quietest 5 % of frames of 20 ms, over the latter; only comparable "
        "within a corpus, low for clips without a pause, and unknown for clips with digital silence",
    ),
    "silence": _Kind("Silence", "%", 0, "share of frames of 20 ms more than 40 dB below the loudest one"),
}
"""Columns of the table that are measures."""


@dataclass(frozen=True)
class _Unusual:
    """One kind of outlier.

    Attributes:
        key: column of the measure.
        title: of the list.
        how: what a clip is compared with.
        side: 1 for large values, -1 for small ones, 0 for both.
        log: whether the logarithm is compared.
        within: whether a clip is compared with those of its label alone.
        above: a fixed limit of the measure, instead of one of its z-score.
        digits, unit: of the value.
    """

    key: str
    title: str
    how: str
    side: int = 0
    log: bool = False
    within: bool = False
    above: float | None = None
    digits: int = 1
    unit: str = ""


_UNUSUAL = (
    _Unusual(
        "duration", "Long or short", "the logarithm of the duration, among all clips", log=True, digits=2, unit=" s"
    ),
    _Unusual("rms", "Loud or quiet", "the level, among all clips", unit=" dB"),
    _Unusual("snr", "Noisy", "a low SNR estimate, among all clips", -1, unit=" dB"),
    _Unusual("silence", "Mostly silent", "silence in more than half of the frames", 1, above=50.0, digits=0, unit=" %"),
    _Unusual("distance", "Unlike its label", "the logarithm of the distance from its label's mean", 1, True, True),
)


def about(corpus: Corpus, table: pd.DataFrame) -> About:
    """What a corpus is.

    Args:
        corpus: the corpus.
        table: its clips, from :func:`serlab.experiments.exploring.table_of`.
    """
    usable = table[table["fault"] == ""]
    known = corpus.description
    seconds = float(usable["duration"].sum())
    rates = sorted(int(rate) for rate in usable["sample_rate"].unique())
    facts = {"Licence": corpus.licence}
    if known is not None:
        allowed = {True: "allowed by the licence", False: "not allowed by the licence", None: NOT_STATED}
        facts |= {"Commercial use": allowed[known.commercial]}
        facts |= {"Language": known.language} if known.language else {}
        facts |= {"Emotions": known.kind} if known.kind else {}
        facts |= {"Homepage": known.homepage} if known.homepage else {}
    facts["Citation"] = corpus.citation
    facts["This copy"] = corpus.copy
    if corpus.part:
        facts["Part"] = corpus.part
    facts["Sample rate"] = ", ".join(f"{rate:,} Hz" for rate in rates[:MOST_ROWS]) or "unknown"
    if known is not None and known.sample_rate and rates != [known.sample_rate]:
        facts["Sample rate"] += f" (the official files: {known.sample_rate:,} Hz)"
    facts["Usable speech"] = f"{clock(seconds)} in {counted(len(usable), 'clip')}"
    if known is not None and known.clips and known.clips != len(table):
        facts["Official clips"] = f"{known.clips:,}; this copy has {len(table):,}"
    facts["Label"] = f"{known.tracks.label if known is not None else 'as given'}: {', '.join(corpus.labels)}"
    if corpus.faults:
        facts["Known faults"] = "; ".join(f"{clip}: {fault}" for clip, fault in sorted(corpus.faults.items()))
    if known is not None and known.unchecked:
        facts["Not checked"] = "; ".join(known.unchecked)
    facts["Fingerprint"] = corpus.fingerprint
    return About(
        name=corpus.name,
        title=(known.title if known is not None else "") or corpus.name,
        people=known.people if known is not None else "speakers",
        facts=facts,
        clips=len(table),
        usable=len(usable),
        seconds=seconds,
        speakers=int(table["speaker"].nunique()) if corpus.speakers_known else None,
        labels=corpus.labels,
        fingerprint=corpus.fingerprint,
    )


def counts(corpus: Corpus, table: pd.DataFrame) -> tuple[Counts, ...]:
    """The clips by each column that the corpus has."""
    return tuple(_counts(corpus, table, column, title) for column, title in COLUMNS.items() if column in table)


def _counts(corpus: Corpus, table: pd.DataFrame, column: str, title: str) -> Counts:
    values = table[column].astype(str).where(table[column].notna(), "")
    if column == "sample_rate":
        values = values.where(table[column] > 0, "")
    groups = table.groupby(values.where(values != "", _UNKNOWN).to_numpy(), sort=True)
    rows = [
        Count(
            _value_text(column, str(value)),
            len(group),
            len(group) / len(table),
            int(group["speaker"].nunique()) if corpus.speakers_known else None,
            float(group.loc[group["fault"] == "", "duration"].sum()),
        )
        for value, group in groups
    ]
    kept = rows
    if column == "label":
        rows = [row for label in corpus.labels for row in rows if row.value == label] or rows
        kept = rows
    elif len(rows) > MOST_ROWS:
        kept = sorted(rows, key=lambda row: (-row.clips, row.value))[:MOST_ROWS]
    return Counts(column, title, len(rows), tuple(kept))


def _value_text(column: str, value: str) -> str:
    return f"{int(value):,} Hz" if column == "sample_rate" and value != _UNKNOWN else value


def measures(corpus: Corpus, table: pd.DataFrame) -> tuple[Measure, ...]:
    """How duration, level, SNR estimate and silence are spread, over all usable clips and by label."""
    usable = table[table["fault"] == ""]
    found = []
    for key, kind in MEASURES.items():
        labels = [_spread(label, usable.loc[usable["label"] == label, key]) for label in corpus.labels]
        whole = _spread("all", usable[key])
        about = (key, kind.title, kind.unit, kind.digits, kind.how)
        found.append(Measure(*about, whole, tuple(labels), len(usable) - whole.clips))
    return tuple(found)


def _spread(name: str, values: pd.Series) -> Spread:
    known = values[np.isfinite(values)]
    quantiles = tuple(map(float, np.quantile(known, _QUANTILES))) if len(known) else None
    return Spread(name, len(known), quantiles)


def grid(corpus: Corpus, table: pd.DataFrame) -> Grid | None:
    """Clips by speaker and label; None if speakers are unknown."""
    if not corpus.speakers_known:
        return None
    crossed = pd.crosstab(table["speaker"], table["label"]).reindex(columns=list(corpus.labels), fill_value=0)
    empty = crossed == 0
    shown = crossed.index
    if len(shown) > MOST_SPEAKERS:
        order = pd.DataFrame({"holes": -empty.sum(axis=1), "name": crossed.index}).sort_values(["holes", "name"])
        shown = crossed.index[crossed.index.isin(order.index[:MOST_SPEAKERS])]
    holes = {str(label): tuple(map(str, crossed.index[empty[label]])) for label in crossed if empty[label].any()}
    rows = speakers(corpus, table, crossed.loc[shown])
    single = len(corpus.labels) > 1 and bool((empty.sum(axis=1) == len(corpus.labels) - 1).all())
    return Grid(corpus.labels, rows, len(crossed), holes, int(crossed.to_numpy().max()), single)


def speakers(corpus: Corpus, table: pd.DataFrame, crossed: pd.DataFrame | None = None) -> tuple[SpeakerRow, ...]:
    """One row per speaker.

    Args:
        corpus: the corpus; its speakers are known.
        table: its clips.
        crossed: clips of the wanted speakers (rows) by label (columns); all speakers if None.
    """
    if crossed is None:
        crossed = pd.crosstab(table["speaker"], table["label"]).reindex(columns=list(corpus.labels), fill_value=0)
    medians = table[table["fault"] == ""].groupby("speaker")[["rms", "snr"]].median().reindex(crossed.index)
    sexes = table.groupby("speaker")["sex"].first().fillna("") if "sex" in table else pd.Series("", crossed.index)
    columns = zip(crossed.index, crossed.to_numpy(), medians["rms"], medians["snr"], strict=True)
    found = []
    for speaker, row, rms, snr in columns:
        found.append(
            SpeakerRow(
                str(speaker),
                str(sexes[speaker]),
                int(row.sum()),
                dict(zip(corpus.labels, map(int, row), strict=True)),
                corpus.labels[int(row.argmax())],
                float(row.max() / row.sum()),
                _number(rms),
                _number(snr),
            )
        )
    return tuple(found)


def outliers(table: pd.DataFrame) -> tuple[Outliers, ...]:
    """Clips that are unusual among the usable ones, most unusual first.

    Args:
        table: the clips, with the column ``distance`` if there are features.
    """
    usable = table[table["fault"] == ""]
    return tuple(_outliers(usable, kind) for kind in _UNUSUAL if kind.key in usable and usable[kind.key].notna().any())


def _outliers(usable: pd.DataFrame, kind: _Unusual) -> Outliers:
    values = usable[kind.key].to_numpy(np.float64)
    compared = np.log(np.maximum(values, 1e-9)) if kind.log else values
    labels = np.asarray(pd.factorize(usable["label"])[0], np.int64)
    z = modified_z_within(compared, labels) if kind.within else modified_z(compared)
    away = np.abs(z) if kind.side == 0 else kind.side * z
    beyond = np.nan_to_num(away) > LIMIT if kind.above is None else np.nan_to_num(values) > kind.above
    unusual = np.flatnonzero(beyond)
    first = unusual[np.argsort(-away[unusual], kind="stable")][:MOST_OUTLIERS]
    usual = _usual(values, labels if kind.within else np.zeros(len(values), np.int64))
    clips, own, who = (usable[column].astype(str).tolist() for column in ("clip", "label", "speaker"))
    form = Format(1, kind.digits, "", "")
    return Outliers(
        kind.key,
        kind.title,
        kind.how,
        len(unusual),
        tuple(
            Outlier(
                clips[place],
                own[place],
                who[place],
                written(float(values[place]), form) + kind.unit,
                written(usual[labels[place] if kind.within else 0], form) + kind.unit,
                float(z[place]) if kind.above is None else None,
            )
            for place in first
        ),
    )


def _usual(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Sequence[float]:
    return [float(np.nanmedian(values[groups == group])) for group in range(int(groups.max(initial=0)) + 1)]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
