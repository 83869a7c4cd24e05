"""A corpus without files, and its view, for the tests of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from serlab.corpora.base import Corpus
from serlab.report import exploring as views
from serlab.report import exploring_sections as sections
from serlab.report.exploring_space import Explained, Space
from serlab.report.exploring_words import suggestions


def corpus_of(rows: Sequence[tuple[str, str]], **how: object) -> Corpus:
    """A corpus with a clip per (speaker, label)."""
    clips = pd.DataFrame(rows, columns=["speaker", "label"])
    clips.insert(0, "clip", [f"clip{place:05}" for place in range(len(rows))])
    clips["path"] = [f"/sounds/{clip}.wav" for clip in clips["clip"]]
    random = np.random.default_rng(0)
    clips["duration"] = random.uniform(1, 3, len(rows))
    clips["sample_rate"] = 16000
    known = {"licence": "free", "citation": "Nobody 2026", "fingerprint": "f" * 64, "copy": "a test", **how}
    return Corpus("mine", clips, tuple(sorted(clips["label"].unique())), **known)


def table_of(corpus: Corpus) -> pd.DataFrame:
    """Its clips with made-up measures; a label's and a speaker's clips are near each other."""
    table = corpus.clips.drop(columns="path").assign(fault="")
    random = np.random.default_rng(1)
    for column, middle in {"rms": -30.0, "floor": -60.0, "snr": 25.0, "silence": 10.0}.items():
        table[column] = middle + random.normal(size=len(table))
    table["x"] = pd.factorize(table["label"])[0] + random.normal(size=len(table))
    table["y"] = pd.factorize(table["speaker"])[0] + random.normal(size=len(table))
    table["distance"] = random.uniform(1, 2, len(table))
    return table


def space_of(corpus: Corpus, speaker: float = 0.3, label: float = 0.1) -> Space:
    """What features show, with these shares of the variance."""
    explained = [Explained("label", "label", len(corpus.labels), label, label, 0.5, 0.2)]
    if corpus.speakers_known:
        explained.append(Explained("speaker", "speaker", 9, speaker, speaker, 0.9, 0.1))
    return Space("MFCC statistics", 220, len(corpus.clips), (0.3, 0.1), tuple(explained), 0.4, 0.2, 100)


PROTOCOLS = (views.ProtocolView("speaker-5", "five folds", True, True, ((80, 10, 10), (78, 11, 11)), (2, 3)),)


def view_of(
    corpus: Corpus,
    table: pd.DataFrame,
    *,
    space: Space | None = None,
    findings: Sequence[dict[str, object]] = (),
    duplicates: Sequence[tuple[str, str]] = (),
    excluded: Sequence[dict[str, str]] = (),
    protocols: Sequence[views.ProtocolView] = PROTOCOLS,
) -> views.Exploring:
    """The view of a corpus."""
    about, counts, grid = sections.about(corpus, table), sections.counts(corpus, table), sections.grid(corpus, table)
    return views.Exploring(
        about=about,
        verdict="The leak audit found no errors and no warnings.",
        findings=tuple(findings),
        split=protocols[0].name if protocols else "",
        suggestions=suggestions(about, counts, grid, space, protocols, duplicates, excluded),
        counts=counts,
        measures=sections.measures(corpus, table),
        grid=grid,
        space=space,
        no_space="" if space else "3 usable clips are too few; it needs 5.",
        outliers=sections.outliers(table),
        duplicates=tuple(duplicates),
        excluded=tuple(excluded),
        protocols=tuple(protocols),
        serlab="0.1.0",
    )


def crossed(
    speakers: int, labels: int, takes: int = 1, without: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Each speaker with each label, except for some pairs."""
    pairs = [(f"s{s:04}", f"label{k:02}") for s in range(speakers) for k in range(labels) for _ in range(takes)]
    return [pair for pair in pairs if pair not in set(without)]
