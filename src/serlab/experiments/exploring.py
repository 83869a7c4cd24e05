"""Look at a corpus before any training: measures, audit and features of its clips, as a page and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab import __version__
from serlab.audio.measures import LOWEST_DB
from serlab.core import Exclusion, UserError, argument
from serlab.core.files import check_writable
from serlab.core.progress import bar
from serlab.core.randomness import keyed
from serlab.corpora import Folders, load_any
from serlab.corpora.base import Corpus
from serlab.corpora.measures import ClipMeasures, measure
from serlab.evaluation import space as spaces
from serlab.experiments.exploring_features import Chosen, choose, vectors
from serlab.leaks import audit, left_out
from serlab.leaks.findings import Finding, verdict
from serlab.protocols import Split, default_protocol, fitting_split, protocol_names, split
from serlab.recordings.duplicates import find_duplicates
from serlab.report import exploring as views
from serlab.report import exploring_pages, exploring_sections
from serlab.report.exploring_space import Explained, Space
from serlab.report.exploring_words import suggestions
from serlab.report.render import Audio
from serlab.training import processes

FOLDER = "explore"
"""Folder of the page below ``<out>/<corpus>``."""
FEWEST_CLIPS = 5
"""Usable clips below which features are not looked at."""

_MOST_COMPARED = 10_000
_DIGITAL_SILENCE_DB = -100.0
_SPEAKER = "speaker"


# Tables have no truth value, so explorations are compared by identity.
@dataclass(frozen=True, eq=False)
class Exploration:
    """The result of a look at a corpus.

    Attributes:
        page: path of the page.
        clips: one row per clip, in the corpus's order: ``clip``, ``label``, ``speaker``, what else
            the corpus knows (``sex``, ``level``, ...), ``duration`` (s), ``sample_rate`` (Hz),
            ``rms``, ``floor`` and ``snr`` (dB), ``silence`` and ``clipped`` (%), ``leading`` and
            ``trailing`` silence (s), ``fault``, and the place among the features: ``x``, ``y`` and
            ``distance`` from the mean of its label. NaN if unknown.
        speakers: number of clips of each speaker (rows) and label (columns); empty if speakers are
            unknown.
        explained: share of the features' variance that each column explains.
        outliers: the clips to listen to.
        findings: of the leak audit, most severe first.
        exclusions: clips and entries that cannot be used.
        suggestions: what the data suggest, as sentences.
    """

    page: Path
    clips: pd.DataFrame
    speakers: pd.DataFrame
    explained: pd.DataFrame
    outliers: pd.DataFrame
    findings: tuple[Finding, ...]
    exclusions: tuple[Exclusion, ...]
    suggestions: tuple[str, ...]


@processes.led
def explore(
    corpus: str | Corpus,
    *,
    data: Folders = None,
    features: str = "mfcc",
    out: Path | str = "runs",
    audio: Audio = "link",
    cache: bool = True,
) -> Exploration:
    """Describe a corpus before any training, and write a page about it.

    Args:
        corpus: name of a known corpus, path of a folder, table or description, or a loaded corpus.
        data: folder of a known corpus, or folders by name.
        features: ``mfcc``, ``egemaps``, or a recipe with a pretrained encoder, whose middle layer is
            used, frozen.
        out: results folder; the page is ``<out>/<corpus>/explore/index.html``.
        audio: how the page plays its clips: ``link``, ``embed`` or ``none``.
        cache: keep features on disk.

    Returns:
        Path of the page, and its content as tables.

    Raises:
        UserError: a name does not exist, or the features do not fit the clips.
        MachineError: weights, an extra or the disk fail.

    Example:
        ``serlab.explore("crema-d").explained``
    """
    if audio not in ("link", "embed", "none"):
        raise UserError(f"{argument('audio', audio)} is not one of link, embed, none.")
    chosen = choose(features)
    check_writable(Path(out))
    found = corpus if isinstance(corpus, Corpus) else load_any(corpus, data=data)
    measured = measure(found)
    applied = fitting_split(found)
    findings = audit(found, applied)
    exclusions = tuple(left_out(found))
    table = table_of(found, measured.tolist())
    space, reason = _space(found, table, chosen, cache=cache)
    view = _view(found, table, space, reason, findings, exclusions, applied)
    folder = Path(out) / found.name / FOLDER
    page = exploring_pages.write(view, table, folder, _paths(found), audio)
    crossed = pd.crosstab(table[_SPEAKER], table["label"]) if found.speakers_known else pd.DataFrame()
    kinds = [(kind.key, each) for kind in view.outliers for each in kind.first]
    return Exploration(
        page=page,
        clips=table,
        speakers=crossed,
        explained=pd.DataFrame(
            view.space.explained if view.space else (), columns=[each.name for each in fields(Explained)]
        ),
        outliers=pd.DataFrame([{"measure": key, **vars(each)} for key, each in kinds]),
        findings=findings,
        exclusions=exclusions,
        suggestions=tuple(each.text for each in view.suggestions),
    )


def table_of(corpus: Corpus, measured: Sequence[ClipMeasures]) -> pd.DataFrame:
    """One row per clip with its measures; those of unusable clips are NaN.

    Args:
        corpus: the corpus.
        measured: measures of its clips, in its order.
    """
    known = [column for column in exploring_sections.COLUMNS if column in corpus.clips and column != "label"]
    table = corpus.clips[["clip", "label", _SPEAKER, *known, "duration"]].copy()
    if not corpus.speakers_known:
        table[_SPEAKER] = ""
    table["fault"] = [each.fault for each in measured]
    usable = table["fault"].to_numpy() == ""
    for name, values in {
        "rms": [each.level for each in measured],
        "floor": [each.floor for each in measured],
        "snr": [snr(each.level, each.floor) for each in measured],
        "silence": [100 * each.silent for each in measured],
        "clipped": [100 * each.clipped for each in measured],
        "leading": [each.leading for each in measured],
        "trailing": [each.trailing for each in measured],
    }.items():
        table[name] = np.where(usable, np.asarray(values, np.float64), np.nan)
    return table


def snr(level: float, floor: float) -> float:
    """SNR estimate in dB: power above that of the quietest frames, over the latter.

    Args:
        level: of the whole clip, in dB of full scale.
        floor: of its quietest 5 % of frames, in dB of full scale.

    Returns:
        NaN if the quietest frames are digital silence, so that the noise is unknown.

    >>> round(snr(-20.0, -60.0), 2), snr(-20.0, -120.0)
    (40.0, nan)
    """
    if floor <= max(LOWEST_DB, _DIGITAL_SILENCE_DB):
        return float("nan")
    return float(10 * np.log10(max(10 ** ((level - floor) / 10) - 1, 1e-3)))


def _space(corpus: Corpus, table: pd.DataFrame, chosen: Chosen, *, cache: bool) -> tuple[Space | None, str]:
    """What the features show, and the columns ``x``, ``y`` and ``distance`` of the table; or why there is nothing."""
    usable = (table["fault"] == "").to_numpy()
    for column in ("x", "y", "distance"):
        table[column] = np.nan
    if usable.sum() < FEWEST_CLIPS:
        return None, f"{int(usable.sum())} usable clips are too few; it needs {FEWEST_CLIPS}."
    rows = table[usable]
    raw = vectors(chosen, corpus.clips[usable], cache=cache)
    values = spaces.standardised(raw)
    picture = spaces.plane(values)
    labels = np.asarray(pd.factorize(rows["label"])[0], np.int64)
    table.loc[usable, ["x", "y"]] = picture.points
    table.loc[usable, "distance"] = spaces.distances(values, labels)
    explained, across, compared = _explained(corpus, rows, values)
    return (
        Space(
            features=chosen.title,
            size=raw.shape[1],
            clips=len(rows),
            axes=(float(picture.shares[0]), float(picture.shares[1])),
            explained=explained,
            across=None if across is None else across.share,
            across_chance=None if across is None else across.chance,
            compared=compared,
        ),
        "",
    )


def _explained(
    corpus: Corpus, rows: pd.DataFrame, values: spaces.Floats
) -> tuple[tuple[Explained, ...], spaces.Neighbours | None, int]:
    titles = {_SPEAKER: _SPEAKER} if corpus.speakers_known else {}
    titles = {"label": "label", **titles, **exploring_sections.COLUMNS}
    codes = {column: _codes(rows, column) for column in titles if column in rows}
    some = np.arange(len(rows))
    if len(some) > _MOST_COMPARED:
        some = np.sort(keyed("explore", corpus.fingerprint).choice(len(rows), _MOST_COMPARED, replace=False))
    found = []
    across = None
    with bar("neighbours", 3) as progress:
        for column, groups in codes.items():
            known = groups >= 0
            if not known.any():
                continue
            share = spaces.share_of(values if known.all() else spaces.centred(values[known]), groups[known])
            if share is None:
                continue
            near = spaces.neighbours(values[some], groups[some]) if column in ("label", _SPEAKER) else None
            found.append(
                Explained(
                    column,
                    titles[column],
                    int(groups.max()) + 1,
                    share.raw,
                    share.adjusted,
                    None if near is None else near.share,
                    None if near is None else near.chance,
                )
            )
            progress.advance(int(near is not None))
        if corpus.speakers_known and rows["label"].nunique() > 1:
            across = spaces.neighbours(values[some], codes["label"][some], codes[_SPEAKER][some])
            progress.advance()
    return tuple(found), across, len(some)


def _codes(rows: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """The index of each clip's value from 0, -1 if it is unknown, shape (clips,)."""
    values = rows[column]
    known = values.notna() & (values.astype(str) != "")
    if column == "sample_rate":
        known &= values > 0
    return np.asarray(pd.factorize(values.astype(str).where(known))[0], np.int64)


def _view(
    corpus: Corpus,
    table: pd.DataFrame,
    space: Space | None,
    reason: str,
    findings: Sequence[Finding],
    exclusions: Sequence[Exclusion],
    applied: Split | None,
) -> views.Exploring:
    about = exploring_sections.about(corpus, table)
    counts = exploring_sections.counts(corpus, table)
    grid = exploring_sections.grid(corpus, table)
    protocols = _protocols(corpus, applied)
    pairs = find_duplicates(corpus, measure(corpus))
    # The page may be shared, so it contains the name of a file and not its path.
    excluded = [{"clip": each.clip, "reason": each.reason} for each in exclusions]
    data = [finding.data() for finding in findings]
    return views.Exploring(
        about=about,
        verdict=re.sub(r": do not trust these scores\.$", ".", verdict(data)),
        findings=tuple(data),
        split=applied.name if applied else "",
        suggestions=suggestions(about, counts, grid, space, protocols, pairs, excluded),
        counts=counts,
        measures=exploring_sections.measures(corpus, table),
        grid=grid,
        space=space,
        no_space=reason,
        outliers=exploring_sections.outliers(table),
        duplicates=tuple(pairs),
        excluded=tuple(excluded),
        protocols=protocols,
        serlab=__version__,
    )


def _protocols(corpus: Corpus, applied: Split | None) -> tuple[views.ProtocolView, ...]:
    """The protocols that fit; a default such as speaker-6 is not among the usual names."""
    speaker_of = dict(zip(corpus.clips["clip"], corpus.clips[_SPEAKER], strict=True))
    found = []
    for name in dict.fromkeys([*([applied.name] if applied else ()), *protocol_names(corpus)]):
        chosen = applied if applied is not None and name == applied.name else split(corpus, name)
        speakers = [len({speaker_of[clip] for clip in fold.test}) for fold in chosen.folds]
        found.append(
            views.ProtocolView(
                name,
                chosen.definition,
                name == default_protocol(corpus),
                chosen.speaker_disjoint,
                tuple((len(fold.train), len(fold.dev), len(fold.test)) for fold in chosen.folds),
                tuple(speakers) if corpus.speakers_known else (),
            )
        )
    return tuple(found)


def _paths(corpus: Corpus) -> dict[str, str]:
    return dict(zip(corpus.clips["clip"], corpus.clips["path"], strict=True))
