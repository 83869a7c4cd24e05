"""Cross-corpus runs as plain data: scores of each source and target, and the sentences about them.

Page, Markdown, JSON and terminal show this one judgement. Intervals resample the speakers of the target
alone: they are about the trained models at hand, and about other speakers of the same corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serlab.corpora import descriptions
from serlab.evaluation.bootstrap import Difference
from serlab.evaluation.resampling import Interval
from serlab.recipes import preset_names
from serlab.report.words import counted, interval_text, percent, points
from serlab.tables.predictions import Run

Collapse = Literal["shown", "here", ""]


@dataclass(frozen=True)
class CellRuns:
    """The runs of one source, target and recipe, to be judged.

    Attributes:
        source: names of the corpora that the model was trained on; empty for a finished model.
        target: name of the corpus that it was tested on.
        recipe: folder name of the recipe.
        title: the recipe's title.
        runs: one per seed; none if ``reason`` is given.
        within: runs of the same recipe within the target, under its default protocol.
        protocol: name of that protocol.
        emotions: emotion of each label of the target, for ``within``.
        reason: why the model cannot be tested there.
        normalised: whether features are normalised per corpus.
    """

    source: str
    target: str
    recipe: str
    title: str
    runs: tuple[Run, ...] = ()
    within: tuple[Run, ...] = ()
    protocol: str = ""
    emotions: Mapping[str, str | None] | None = None
    reason: str = ""
    normalised: bool = False


@dataclass(frozen=True)
class Recall:
    """How one emotion is recognised.

    Attributes:
        label: the emotion.
        recall: with its interval.
        clips: number of clips.
        taken_for: the emotion that its clips are most often taken for, itself included.
        collapsed: ``shown`` if the interval lies below chance, ``here`` if only the value does.
    """

    label: str
    recall: Interval
    clips: int
    taken_for: str
    collapsed: Collapse


@dataclass(frozen=True)
class CalibrationError:
    """Calibration at one temperature.

    Attributes:
        temperature: 1 as trained; else fitted on the dev speakers of the source.
        ece: expected calibration error.
        nll: negative log-likelihood in nats.
        overconfidence: mean confidence less accuracy.
    """

    temperature: float
    ece: float
    nll: float
    overconfidence: Interval


@dataclass(frozen=True)
class Within:
    """The same recipe trained and tested within the target, on the same clips and emotions.

    Attributes:
        protocol: how the target was split.
        uar: UAR within.
        cross: UAR of the cross-corpus runs on the same clips and seeds.
        drop: cross less within, paired.
        clips, seeds: of the comparison.
    """

    protocol: str
    uar: Interval
    cross: Interval
    drop: Difference
    clips: int
    seeds: list[int]


@dataclass(frozen=True)
class Cell:
    """One source, target and recipe.

    Attributes:
        source, target, recipe, title: as in :class:`CellRuns`.
        reason: why there is no score; empty if there is one.
        labels: the emotions that both sides have.
        clips, speakers, seeds: of the test; speakers are None if unknown.
        uar: with its interval over the target's speakers.
        chance: UAR of guessing.
        by_speaker: UAR of each speaker, if there is no interval.
        recalls: by emotion.
        calibration: as trained, and after temperature scaling if there are dev speakers.
        within: the comparison with runs within the target; None if there are none.
        inside: UAR within the target, where the model is trained on it and so cannot be tested.
        inside_protocol: how the target was split for it.
        dropped: number of the target's clips of each label that is not tested.
        source_dropped: the same of each source.
        excluded: number of clips that could not be used.
        caution: what is not known about a finished model, or what it has seen of the target; empty
            if nothing.
        balanced: whether clips of smaller sources were repeated.
        normalised: whether features were normalised per corpus, those of the target without labels.
        hash, fingerprint: of recipe and target.
    """

    source: str
    target: str
    recipe: str
    title: str
    reason: str = ""
    labels: tuple[str, ...] = ()
    clips: int = 0
    speakers: int | None = None
    seeds: tuple[int, ...] = ()
    uar: Interval | None = None
    chance: float = 0.0
    by_speaker: Mapping[str, float] | None = None
    recalls: tuple[Recall, ...] = ()
    calibration: tuple[CalibrationError, ...] = ()
    within: Within | None = None
    inside: Interval | None = None
    inside_protocol: str = ""
    dropped: Mapping[str, int] | None = None
    source_dropped: Mapping[str, Mapping[str, int]] | None = None
    excluded: int = 0
    caution: str = ""
    balanced: bool = False
    normalised: bool = False
    hash: str = ""
    fingerprint: str = ""

    @property
    def trained_on(self) -> str:
        """The source in a sentence, which names a row of the matrix.

        >>> Cell("a+b", "c", "r", "R", normalised=True).trained_on
        'a + b, normalised'
        """
        name = self.source.replace("+", " + ") if self.source else "as it is"
        return f"{name}, normalised" if self.normalised else name

    @property
    def has_names(self) -> bool:
        """Whether the names of target and recipe are enough to train the recipe within the target.

        They are not for a user's corpus, a part of a corpus, and a recipe that is a file or was changed. With
        two speakers, training, dev and test cannot be divided.

        >>> Cell("tess", "emovo", "mfcc-svm", "SVM", speakers=6).has_names
        True
        >>> Cell("tess", "emovo-limit2", "mfcc-svm", "SVM", speakers=6).has_names
        False
        """
        return self.target in descriptions() and self.recipe in preset_names() and (self.speakers or 0) > 2

    @property
    def collapsed(self) -> list[Recall]:
        """Emotions with a recall below chance."""
        return [each for each in self.recalls if each.collapsed]

    @property
    def no_interval(self) -> str:
        """Why there is no interval; empty if there is one."""
        if self.uar is None or self.uar.low is not None:
            return ""
        if self.speakers is None:
            return "speakers unknown: no interval"
        few = self.uar.reason.startswith("fewer than")
        return f"{counted(self.speakers, 'speaker')}: no interval" if few else f"no interval: {self.uar.reason}"

    @property
    def score_text(self) -> str:
        """UAR with its interval.

        >>> uar = Interval(0.345, None, None, "fewer than 10 speakers (6)")
        >>> Cell("a", "b", "r", "R", speakers=6, uar=uar).score_text
        '34.5 % (6 speakers: no interval)'
        """
        if self.uar is None:
            return "–"
        value, low, high = self.uar.value, self.uar.low, self.uar.high
        return f"{percent(value)} % ({self.no_interval or f'{percent(low)} to {percent(high)}'})"

    @property
    def inside_text(self) -> str:
        """UAR within the target, in a sentence; empty if it is unknown."""
        if self.inside is None:
            return ""
        ends = "no interval" if self.inside.low is None else interval_text(self.inside)
        return f"Within {self.target} ({self.inside_protocol}): UAR {percent(self.inside.value)} % ({ends})."

    @property
    def drop_text(self) -> str:
        """The difference from within, in a sentence; it says no more than its interval allows."""
        if self.within is None:
            return ""
        drop, clips = self.within.drop, self.within.clips
        seen = f"{points(drop.value)} points against {percent(self.within.uar.value)} % within {self.target}"
        how = f"{self.within.protocol}, the same {clips:,} clips"
        if drop.low is None or drop.high is None:
            return f"{seen} ({how}; {self.no_interval or 'no interval'})."
        ends = f"{points(drop.low)} to {points(drop.high)}"
        not_shown = "" if drop.low > 0 or drop.high < 0 else ": a difference is not shown"
        return f"{seen} ({ends}; {how}){not_shown}."

    @property
    def collapse_text(self) -> str:
        """Which emotions collapse, in a sentence; empty if none does."""
        shown = [each.label for each in self.recalls if each.collapsed == "shown"]
        here = [each.label for each in self.recalls if each.collapsed == "here"]
        parts = [f"Recall is below chance ({percent(self.chance)} %) for {', '.join(shown)}"] if shown else []
        parts += (
            [
                f"{'and ' if shown else 'Recall is '}below chance here, not shown beyond these speakers, for "
                f"{', '.join(here)}"
            ]
            if here
            else []
        )
        return ", ".join(parts) + "." if parts else ""

    @property
    def calibration_text(self) -> str:
        """Calibration before and after, in a sentence."""
        if not self.calibration:
            return ""
        first, *rest = self.calibration
        text = f"ECE {percent(first.ece)} % as trained"
        for each in rest:
            how = f"after temperature scaling on the source's dev speakers (T {each.temperature:.2f})"
            text += f", {percent(each.ece)} % {how}"
        return f"{text}."

    @property
    def line(self) -> str:
        """The cell in one line of the terminal."""
        where = f"{self.title}, {self.trained_on} to {self.target}"
        if self.reason:
            return f"{where}: not tested: {self.reason}. {self.inside_text}".strip()
        more = [self.drop_text, self.collapse_text, self.caution]
        return " ".join([f"{where}: UAR {self.score_text}, chance {percent(self.chance)} %.", *filter(None, more)])


@dataclass(frozen=True)
class Matrix:
    """The cells of one recipe.

    Attributes:
        recipe, title: the recipe.
        rows: what models were trained on, as :attr:`Cell.trained_on` says it.
        targets: the columns.
        cells: in order of row and target.
    """

    recipe: str
    title: str
    rows: tuple[str, ...]
    targets: tuple[str, ...]
    cells: tuple[Cell, ...]

    def at(self, row: str, target: str) -> Cell | None:
        """A cell; None if it was not asked for."""
        return next((each for each in self.cells if (each.trained_on, each.target) == (row, target)), None)


@dataclass(frozen=True)
class Crossing:
    """A cross-corpus report.

    Attributes:
        labels: how labels were mapped.
        matrices: one per recipe.
        tests: number of entries in the ledger for these targets and sources.
        smoke: whether the runs only check that everything runs.
    """

    labels: str
    matrices: tuple[Matrix, ...]
    tests: int
    smoke: bool = False

    @property
    def normalised(self) -> bool:
        """Whether a row has features that are normalised per corpus."""
        return any(cell.normalised for cell in self.cells)

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [cell for matrix in self.matrices for cell in matrix.cells]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with the sentences that page and Markdown show."""
        texts = ("score_text", "drop_text", "inside_text", "collapse_text", "calibration_text", "no_interval")
        cells = [{**asdict(cell), **{name: getattr(cell, name) for name in texts}} for cell in self.cells]
        return {"labels": self.labels, "tests": self.tests, "smoke": self.smoke, "cells": cells}
