"""What features show of a corpus, and its unusual clips, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from serlab.report.words import percent


@dataclass(frozen=True)
class Explained:
    """How much a column explains of the variance of the features.

    Attributes:
        column: the column.
        title: its name.
        groups: number of its known values.
        raw: share of the variance between the groups, R².
        adjusted: for the number of groups.
        nearest: share of clips whose nearest other clip has the same value.
        chance: of that for a random other clip.
    """

    column: str
    title: str
    groups: int
    raw: float
    adjusted: float | None
    nearest: float | None
    chance: float | None


@dataclass(frozen=True)
class Space:
    """What features show.

    Attributes:
        features: what they are.
        size: numbers per clip.
        clips: number of clips.
        axes: share of the variance along the picture's two axes.
        explained: by columns, label and speaker first.
        across: share of clips whose nearest clip by another speaker has the same label.
        across_chance: of that for a random clip by another speaker.
        compared: number of clips whose neighbours were looked for.
    """

    features: str
    size: int
    clips: int
    axes: tuple[float, float]
    explained: tuple[Explained, ...]
    across: float | None
    across_chance: float | None
    compared: int

    def of(self, column: str) -> Explained | None:
        """What a column explains."""
        return next((each for each in self.explained if each.column == column), None)

    @property
    def across_text(self) -> str:
        """Whether labels are alike across speakers, in a sentence; empty if it is unknown."""
        if self.across is None:
            return ""
        return (
            f"The nearest clip by another speaker has the same label for {percent(self.across)} % of the clips "
            f"(by chance {percent(self.across_chance)} %)."
        )


@dataclass(frozen=True)
class Outlier:
    """A clip to listen to.

    Attributes:
        clip: its id.
        label, speaker: its own.
        value: its measure, with the unit.
        usual: the median that it is compared with.
        z: modified z-score; None if the limit is a fixed value.
    """

    clip: str
    label: str
    speaker: str
    value: str
    usual: str
    z: float | None


@dataclass(frozen=True)
class Outliers:
    """Clips that are unusual in one way.

    Attributes:
        key: of the measure.
        title: in what way.
        how: what they are compared with.
        count: how many there are.
        first: the most unusual ones.
    """

    key: str
    title: str
    how: str
    count: int
    first: tuple[Outlier, ...]
