"""What the clips of a corpus suggest, in sentences that do not go beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serlab.evaluation.resampling import FEWEST_SPEAKERS
from serlab.report.exploring import About, Counts, Grid, ProtocolView, Suggestion
from serlab.report.exploring_space import Space
from serlab.report.words import counted, listed, percent

MOST_NAMED = 5
"""Names in a sentence."""

_UNEVEN = 2.0
_AUDIO_RATE = 16000


def suggestions(
    about: About,
    counts: Sequence[Counts],
    grid: Grid | None,
    space: Space | None,
    protocols: Sequence[ProtocolView],
    duplicates: Sequence[tuple[str, str]],
    excluded: Sequence[Mapping[str, Any]],
) -> tuple[Suggestion, ...]:
    """What to consider before a training, cautions first.

    Args:
        about: what the corpus is.
        counts: its clips by column.
        grid: its clips by speaker and label; None if speakers are unknown.
        space: what its features show; None if that is unknown.
        protocols: those that fit.
        duplicates: pairs of clips that are the same recording.
        excluded: clips and entries that cannot be used.
    """
    by_column = {each.column: each for each in counts}
    found = [
        *_unusable(excluded),
        *_speakers(about),
        *_labels(by_column["label"], about),
        *(_holes(grid, about) if grid else ()),
        *(_variance(space, grid) if space else ()),
        *_rates(by_column["sample_rate"]),
        *_duplicates(duplicates),
        *_protocol(about, protocols),
    ]
    return tuple(sorted(found, key=lambda each: each.severity != "warning"))


def _unusable(excluded: Sequence[Mapping[str, Any]]) -> list[Suggestion]:
    if not excluded:
        return []
    first, more = excluded[0], ", …" if len(excluded) > 1 else ""
    text = f"{counted(len(excluded), 'clip or entry', 'clips or entries')} cannot be used"
    return [Suggestion("warning", f"{text} ({first['clip']}: {first['reason']}{more}).")]


def _speakers(about: About) -> list[Suggestion]:
    if about.speakers is None:
        return [
            Suggestion(
                "warning",
                "The speakers are unknown, so the same voice may be in training and test; name them in a table with a "
                "column speaker.",
            )
        ]
    if about.speakers < FEWEST_SPEAKERS:
        who = counted(about.speakers, about.people.removesuffix("s"), about.people)
        return [
            Suggestion(
                "warning",
                f"{who} {'is' if about.speakers == 1 else 'are'} too few for an interval over speakers, which needs "
                f"{FEWEST_SPEAKERS}; the corpus can still be the test corpus of models that are trained on others.",
            )
        ]
    return []


def _labels(counts: Counts, about: About) -> list[Suggestion]:
    rows = sorted(counts.rows, key=lambda row: row.clips)
    if len(rows) < 2:
        return [Suggestion("warning", "There is a single label; a training needs two.")]
    there = {row.value for row in rows}
    lost = [label for label in about.labels if label not in there]
    if lost:
        return [Suggestion("warning", f"No clip has the label {listed(map(repr, lost))}.")]
    few, many = rows[0], rows[-1]
    if many.clips >= _UNEVEN * few.clips:
        return [
            Suggestion(
                "note",
                f"Labels are uneven: {many.value!r} has {counted(many.clips, 'clip')} and {few.value!r} {few.clips:,}; "
                f"always answering {many.value!r} would be right for {percent(many.share)} % of the clips, so judge by "
                f"UAR (there {percent(1 / len(rows))} %) and not by accuracy.",
            )
        ]
    return []


def _holes(grid: Grid, about: About) -> list[Suggestion]:
    if grid.single and grid.speakers > 1:
        return [
            Suggestion(
                "warning",
                f"All {about.people} have clips of one label only, so label and speaker cannot be separated.",
            )
        ]
    most = sorted(grid.holes.items(), key=lambda item: (-len(item[1]), item[0]))
    if len(most) > MOST_NAMED:
        label, missing = most[0]
        return [
            Suggestion(
                "note",
                f"{grid.empty:,} of {grid.speakers * len(grid.labels):,} pairs of speaker and label have no clip; most "
                f"often {label!r} is missing, for {len(missing):,} {about.people}.",
            )
        ]
    found = []
    for label, missing in most:
        who = counted(len(missing), about.people.removesuffix("s"), about.people)
        named = listed(missing) if len(missing) <= MOST_NAMED else f"{', '.join(missing[:MOST_NAMED])}, …"
        text = f"{who} {'has' if len(missing) == 1 else 'have'} no clip of {label!r}: {named}."
        found.append(Suggestion("note", text))
    return found


def _variance(space: Space, grid: Grid | None) -> list[Suggestion]:
    speaker, label = space.of("speaker"), space.of("label")
    if speaker is None or label is None or speaker.adjusted is None or label.adjusted is None:
        return []
    if grid is not None and grid.single:
        return []
    shares = f"Speakers explain {percent(speaker.adjusted)} % of the variance of the {space.features}"
    shares += f", labels {percent(label.adjusted)} %"
    if speaker.adjusted > label.adjusted:
        return [Suggestion("note", f"{shares}: clips differ more by speaker than by label, so keep speakers apart.")]
    return [Suggestion("note", f"{shares}: in these features, clips differ more by label than by speaker.")]


def _rates(counts: Counts) -> list[Suggestion]:
    rates = [row for row in counts.rows if row.value != "unknown"]
    if counts.values > 1 and len(rates) > 1:
        parts = [f"{row.value} ({counted(row.clips, 'clip')})" for row in rates[:MOST_NAMED]]
        return [
            Suggestion(
                "note",
                f"Sample rates differ: {listed(parts)}{', …' if len(rates) > MOST_NAMED else ''}; all clips are "
                f"converted to {_AUDIO_RATE:,} Hz.",
            )
        ]
    rate = int(rates[0].value.removesuffix(" Hz").replace(",", "")) if rates else _AUDIO_RATE
    if rate < _AUDIO_RATE:
        text = f"The clips have {rate:,} Hz, so they contain nothing above {rate / 2000:.3g} kHz."
        return [Suggestion("note", text)]
    return []


def _duplicates(pairs: Sequence[tuple[str, str]]) -> list[Suggestion]:
    if not pairs:
        return []
    return [
        Suggestion(
            "note",
            f"{counted(len(pairs), 'pair')} of clips {'is' if len(pairs) == 1 else 'are'} the same recording; serlab's "
            "own splits keep them in one subset, a split of your own may not.",
        )
    ]


def _protocol(about: About, protocols: Sequence[ProtocolView]) -> list[Suggestion]:
    chosen = next((each for each in protocols if each.default), protocols[0] if protocols else None)
    if chosen is None:
        return [Suggestion("warning", "No protocol fits: the corpus has too few speakers or clips to be split.")]
    what = f"Use {chosen.name}{' (the default)' if chosen.default else ''}: {counted(len(chosen.folds), 'fold')}"
    if chosen.disjoint is None:
        return [Suggestion("note", f"{what}; it cannot keep speakers apart, because they are unknown.")]
    if not chosen.disjoint:
        return [Suggestion("warning", f"{what}; it leaks speakers.")]
    who = about.people.removesuffix("s") if set(chosen.speakers) == {1} else about.people
    return [Suggestion("note", f"{what}, speakers apart, {chosen.speakers_text} test {who} each.")]
