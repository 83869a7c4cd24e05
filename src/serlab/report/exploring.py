"""A corpus before any training, as plain data: the page, Markdown, JSON and terminal show this one view.

Nothing here speaks of models: every sentence is about the clips at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serlab.core.progress import clock
from serlab.core.settings import plain
from serlab.evaluation.metrics import Format
from serlab.report.exploring_space import Outliers, Space
from serlab.report.words import counted, percent, written

Severity = str

_EVEN = 1.5


@dataclass(frozen=True)
class About:
    """What the corpus is.

    Attributes:
        name: its short name.
        title: its name in a sentence.
        people: what its speakers are called, in the plural.
        facts: what is known about it, name -> text, in order.
        clips: number of clips in the list.
        usable: number of clips that can be used.
        seconds: duration of the usable clips.
        speakers: number of speakers; None if they are unknown.
        labels: every label.
        fingerprint: of the corpus.
    """

    name: str
    title: str
    people: str
    facts: Mapping[str, str]
    clips: int
    usable: int
    seconds: float
    speakers: int | None
    labels: tuple[str, ...]
    fingerprint: str

    @property
    def headline(self) -> str:
        """Its size in a phrase."""
        who = "unknown speakers" if self.speakers is None else counted(self.speakers, self.people[:-1], self.people)
        return f"{counted(self.clips, 'clip')} of {who} with {counted(len(self.labels), 'label')}, " + clock(
            self.seconds
        ).replace(" ", "\u00a0")


@dataclass(frozen=True)
class Count:
    """The clips with one value of a column.

    Attributes:
        value: the value.
        clips: number of clips.
        share: of all clips.
        speakers: number of their speakers; None if speakers are unknown.
        seconds: their duration.
    """

    value: str
    clips: int
    share: float
    speakers: int | None
    seconds: float


@dataclass(frozen=True)
class Counts:
    """The clips by one column.

    Attributes:
        column: the column.
        title: its name in a heading.
        values: how many values there are.
        rows: the most frequent ones.
    """

    column: str
    title: str
    values: int
    rows: tuple[Count, ...]

    @property
    def more(self) -> int:
        """How many values are not in the rows."""
        return self.values - len(self.rows)


@dataclass(frozen=True)
class Spread:
    """How a measure is spread over clips.

    Attributes:
        name: of the clips, a label or ``all``.
        clips: with a value.
        quantiles: 5, 25, 50, 75 and 95 %; None if no clip has a value.
    """

    name: str
    clips: int
    quantiles: tuple[float, ...] | None


@dataclass(frozen=True)
class Measure:
    """One measure of the clips.

    Attributes:
        key: the column of ``clips.csv``.
        title: its name.
        unit: of its values.
        digits: after the point.
        how: how it is measured.
        whole: over all clips.
        labels: over those of each label.
        unknown: number of usable clips without a value.
    """

    key: str
    title: str
    unit: str
    digits: int
    how: str
    whole: Spread
    labels: tuple[Spread, ...]
    unknown: int = 0

    def written(self, value: float | None) -> str:
        """A value without its unit."""
        return "–" if value is None else written(value, Format(1, self.digits, "", ""))

    def quantile(self, spread: Spread, place: int) -> str:
        """One of the five quantiles of a spread, written."""
        return self.written(spread.quantiles[place] if spread.quantiles else None)


@dataclass(frozen=True)
class SpeakerRow:
    """The clips of one speaker.

    Attributes:
        speaker: the name.
        sex: if it is known; otherwise empty.
        clips: number of clips.
        counts: number of clips of each label.
        most: the most frequent label.
        most_share: share of the speaker's clips with it.
        rms: median level in dB.
        snr: median SNR estimate in dB.
    """

    speaker: str
    sex: str
    clips: int
    counts: Mapping[str, int]
    most: str
    most_share: float
    rms: float | None
    snr: float | None

    @property
    def balance(self) -> str:
        """The most frequent label with its share; ``even`` if it has less than 1.5 times the clips of any other."""
        if max(self.counts.values()) < _EVEN * min(self.counts.values()):
            return "even"
        return f"{self.most} {percent(self.most_share, 0)} %"


@dataclass(frozen=True)
class Grid:
    """Clips by speaker and label.

    Attributes:
        labels: the columns.
        rows: the speakers shown.
        speakers: number of speakers.
        holes: label -> speakers without a clip of it; labels without holes are left out.
        largest: highest number of clips in a cell.
        single: whether every speaker has clips of a single label.
    """

    labels: tuple[str, ...]
    rows: tuple[SpeakerRow, ...]
    speakers: int
    holes: Mapping[str, tuple[str, ...]]
    largest: int
    single: bool

    @property
    def empty(self) -> int:
        """Number of cells without a clip."""
        return sum(map(len, self.holes.values()))

    @property
    def text(self) -> str:
        """How many cells are empty, in a sentence."""
        cells = self.speakers * len(self.labels)
        if not self.empty:
            return f"Every speaker has clips of every label: none of the {cells:,} cells is empty."
        return f"{self.empty:,} of {cells:,} cells have no clip."

    def shade(self, count: int) -> int:
        """How dark a cell is, 0 (no clip) to 8."""
        return 0 if not count else 1 + round(7 * count / self.largest)


@dataclass(frozen=True)
class ProtocolView:
    """A protocol that fits.

    Attributes:
        name: its name.
        definition: what it does.
        default: whether it is used by default.
        disjoint: whether speakers are in one subset each; None if they are unknown.
        folds: clips in train, dev and test, per fold.
        speakers: number of test speakers per fold; empty if they are unknown.
    """

    name: str
    definition: str
    default: bool
    disjoint: bool | None
    folds: tuple[tuple[int, int, int], ...]
    speakers: tuple[int, ...]

    @property
    def disjoint_text(self) -> str:
        """Whether speakers are kept apart."""
        return {True: "apart", False: "LEAKS SPEAKERS", None: "speakers unknown"}[self.disjoint]

    def sizes(self, subset: int) -> str:
        """Clips in train (0), dev (1) or test (2), from the smallest to the largest fold."""
        return _range([fold[subset] for fold in self.folds])

    @property
    def speakers_text(self) -> str:
        """Speakers in a test subset."""
        return _range(self.speakers) if self.speakers else "–"


@dataclass(frozen=True)
class Suggestion:
    """What the data suggest.

    Attributes:
        severity: ``warning`` or ``note``.
        text: a sentence.
    """

    severity: Severity
    text: str


@dataclass(frozen=True)
class Exploring:
    """A corpus before any training.

    Attributes:
        about: what it is.
        verdict: of the leak audit.
        findings: of the leak audit, as plain data.
        split: the protocol that was audited; empty if none fits.
        suggestions: what the data suggest.
        counts: clips by label, speaker, sex and more.
        measures: duration, level, SNR estimate and silence.
        grid: clips by speaker and label; None if speakers are unknown.
        space: what the features show; None if there are too few clips.
        no_space: why not.
        outliers: clips to listen to.
        duplicates: pairs of clips that are the same recording.
        excluded: clips and entries that cannot be used, with the reason.
        protocols: those that fit.
        serlab: version.
    """

    about: About
    verdict: str
    findings: tuple[Mapping[str, Any], ...]
    split: str
    suggestions: tuple[Suggestion, ...]
    counts: tuple[Counts, ...]
    measures: tuple[Measure, ...]
    grid: Grid | None
    space: Space | None
    no_space: str
    outliers: tuple[Outliers, ...]
    duplicates: tuple[tuple[str, str], ...]
    excluded: tuple[Mapping[str, str], ...]
    protocols: tuple[ProtocolView, ...]
    serlab: str

    @property
    def gravity(self) -> Severity:
        """How severe the audit's verdict is."""
        found = {str(finding["severity"]) for finding in self.findings}
        return "danger" if "error" in found else "warning" if "warning" in found else "note"

    @property
    def signature(self) -> str:
        """What every figure is about."""
        return f"{self.about.name} {self.about.fingerprint[:8]} · {counted(self.about.usable, 'usable clip')}"

    @property
    def listed(self) -> list[str]:
        """Ids of the clips to listen to."""
        return sorted({each.clip for outliers in self.outliers for each in outliers.first})

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with the sentences that page and Markdown show."""
        found: dict[str, Any] = plain(self)
        found["about"]["headline"] = self.about.headline
        if self.grid:
            found["grid"]["text"] = self.grid.text
        if self.space:
            found["space"]["across_text"] = self.space.across_text
        return found


def _range(values: tuple[int, ...] | list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
