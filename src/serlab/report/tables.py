"""The report's tables as data, for papers and programs: the same numbers as on the page.

A cell is text, a whole number, a float, an :class:`Interval` or None. A column says how its cells
are written in print; as CSV they keep all digits, and an interval has three columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serlab.core.progress import clock
from serlab.evaluation.metrics import METRICS, PERCENT, Format
from serlab.evaluation.resampling import Interval
from serlab.report import words
from serlab.report.pairs import answer_text
from serlab.report.recipe import RecipeReport
from serlab.report.summary import Report


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: its heading as CSV.
        heading: its heading in print; a column without one is for CSV alone.
        write: from a cell that is not None to print.
        text: whether its cells are words.
        interval: whether its cells are intervals.
    """

    key: str
    heading: str = ""
    write: Callable[[Any], str] = str
    text: bool = False
    interval: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files.
        caption: what it shows.
        columns: from left to right.
        rows: one cell per column each.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]


def to_csv(table: Table) -> str:
    """The table as CSV with every digit; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        key
        for column in table.columns
        for key in ((column.key, f"{column.key}_low", f"{column.key}_high") if column.interval else (column.key,))
    )
    for row in table.rows:
        writer.writerow(
            cell for column, value in zip(table.columns, row, strict=True) for cell in _cells(column, value)
        )
    return stream.getvalue()


def printed(column: Column, value: Any) -> str:
    """A cell in print; an en dash if there is nothing."""
    return "–" if value is None or value == "" else column.write(value)


def words_column(key: str, heading: str = "") -> Column:
    """A column of words."""
    return Column(key, heading, str, text=True)


def interval_column(key: str, heading: str, form: Format = PERCENT) -> Column:
    """A column of estimates with their intervals, as ``57.8 [52.9, 62.4]``."""

    def write(value: Interval) -> str:
        estimate = words.written(value.value, form)
        if value.low is None or value.high is None:
            return estimate
        return f"{estimate} [{words.written(value.low, form)}, {words.written(value.high, form)}]"

    return Column(key, heading, write, interval=True)


def number_column(key: str, heading: str, digits: int) -> Column:
    """A column of numbers with this many digits after the point."""
    return Column(key, heading, lambda value: words.written(value, Format(1, digits, "", "")))


def count_column(key: str, heading: str) -> Column:
    """A column of whole numbers."""
    return Column(key, heading, "{:,}".format)


def share_column(key: str, heading: str, digits: int = 1) -> Column:
    """A column of shares in per cent."""
    return Column(key, heading, lambda value: words.percent(value, digits))


def title_column(summary: Report) -> Column:
    """A column of the titles of recipes, or of others' models."""
    return words_column("recipe", summary.noun.capitalize())


def comparison_tables(summary: Report) -> list[Table]:
    """Scores, differences, labels, speakers, runs, cost, confusions, wrong clips and exclusions; some without rows."""
    made = (_scores, _differences, _labels, _label_differences, _confusions, _speakers, _gains, _runs, _cost, _worst)
    return [make(summary) for make in (*made, _exclusions)]


def _scores(summary: Report) -> Table:
    letters = [words_column("letters", "Letters")] if summary.letters else []
    columns = [
        *(title_column(summary), words_column("name"), *letters, *_metric_columns(3)),
        *(share_column("train_uar", ""), share_column("dev_uar", ""), words_column("side")),
        *(count_column("speakers", _who(summary).capitalize()), count_column("clips", "Clips")),
        *(words_column("folds"), words_column("seeds")),
    ]
    rows = [
        (
            *(recipe.title, recipe.name, *([summary.letters[recipe.name]] if letters else [])),
            *(recipe.scores[key] for key in METRICS),
            *(recipe.train_uar, recipe.dev_uar, recipe.side, recipe.speakers, recipe.clips),
            *(words.spans(recipe.folds), words.spans(recipe.seeds)),
        )
        for recipe in summary.recipes
    ]
    shared = (
        f" {summary.noun.capitalize()}s that share a letter are not shown to differ in UAR (all pairs, after Holm)."
        if letters
        else ""
    )
    caption = f"Scores in per cent, {summary.intervals_text}; chance is {words.percent(summary.chance)}."
    return Table("scores", caption + shared, tuple(columns), tuple(rows))


def _metric_columns(printed: int) -> list[Column]:
    """All metrics; a page of a paper has room for the first ones only."""
    return [
        interval_column(metric.key, metric.heading if place < printed else "", metric.format)
        for place, metric in enumerate(METRICS.values())
    ]


def _differences(summary: Report) -> Table:
    titles = _titles(summary)
    columns = [
        *(words_column("first", "First"), words_column("second", "Second")),
        *_metric_columns(2),
        *(words_column("first_is", "First is"), Column("p_uar"), Column("p_uar_holm", "p (Holm)", words.p_value)),
        *(Column("p_uar_swap"), Column("p_wa_holm")),
        *(share_column("win_rate", "Wins, %", 0), number_column("effect_size", "Effect size", 2)),
        *(count_column("speakers", ""), count_column("clips", ""), words_column("folds"), words_column("seeds")),
    ]
    rows = [
        (
            *(titles[pair.first], titles[pair.second], *(found.differences[key] for key in METRICS)),
            *(answer_text(pair), found.p, found.p_holm, found.p_swap, found.p_wa_holm),
            *((parts.win_rate, parts.effect_size) if (parts := pair.breakdown) else (None, None)),
            *(pair.speakers, pair.clips, words.spans(pair.folds), words.spans(pair.seeds)),
        )
        for pair in summary.pairs
        if (found := pair.comparison)
    ]
    caption = (
        f"First less second in points with 95 % intervals, on the same clips and the same resampled {_who(summary)}; "
        "answers and p of UAR are adjusted for the number of pairs (Holm)."
        if summary.tests_pairs
        else "First less second in points, on the same clips, without intervals."
    ) + (
        f" Wins: share of {_who(summary)} for whom the first has the higher UAR, equal ones counted half. Effect "
        "size: mean of their gains over the standard deviation."
    )
    return Table("differences", caption, tuple(columns), tuple(rows))


def _labels(summary: Report) -> Table:
    columns = (
        *(title_column(summary), words_column("label", "Label"), share_column("precision", "Precision")),
        *(interval_column("recall", "Recall"), share_column("f1", "F1"), count_column("clips", "Clips")),
    )
    rows = [
        (recipe.title, row.label, row.precision, recipe.recalls.get(row.label), row.f1, row.clips)
        for recipe in summary.recipes
        for row in recipe.per_class
    ]
    return Table("labels", "Each label in per cent; each interval holds at 95 % on its own.", columns, tuple(rows))


def _label_differences(summary: Report) -> Table:
    titles = _titles(summary)
    names = list(summary.corpus["labels"])
    columns = (
        *(words_column("first", "First"), words_column("second", "Second"), words_column("label", "Label")),
        *(interval_column("recall", "Recall"), Column("level")),
    )
    rows = [
        (titles[pair.first], titles[pair.second], label, pair.breakdown.labels[label], pair.breakdown.label_level)
        for pair in summary.pairs
        if pair.breakdown
        for label in names
        if label in pair.breakdown.labels
    ]
    caption = (
        "First less second in recall, in points. A pair's intervals hold together at 95 % (Bonferroni over labels)."
    )
    return Table("label-differences", caption, columns, tuple(rows))


def _confusions(summary: Report) -> Table:
    names = list(summary.corpus["labels"])
    columns = (
        title_column(summary),
        words_column("label", "True label"),
        *(count_column(f"said_{name}", name) for name in names),
    )
    rows = [
        (recipe.title, name, *counts)
        for recipe in summary.recipes
        for name, counts in zip(names, recipe.confusion, strict=True)
    ]
    return Table(
        "confusions", "Clips by true label (rows) and predicted label, summed over seeds.", columns, tuple(rows)
    )


def _speakers(summary: Report) -> Table:
    columns = (title_column(summary), words_column("speaker", "Speaker"), share_column("uar", "UAR"))
    rows = [(recipe.title, each.speaker, each.uar) for recipe in summary.recipes for each in recipe.per_speaker]
    return Table("speakers", "UAR of each speaker in per cent, mean over seeds.", columns, tuple(rows))


def _gains(summary: Report) -> Table:
    titles = _titles(summary)
    columns = (
        *(words_column("first", "First"), words_column("second", "Second")),
        *(words_column("speaker", "Speaker"), Column("gain", "Gain", words.points)),
    )
    rows = [
        (titles[pair.first], titles[pair.second], speaker, gain)
        for pair in summary.pairs
        if pair.breakdown
        for speaker, gain in pair.breakdown.gains.items()
    ]
    return Table("gains", "First less second in UAR, in points, speaker by speaker.", columns, tuple(rows))


def _runs(summary: Report) -> Table:
    columns = (
        *(
            title_column(summary),
            words_column("fold", "Fold"),
            words_column("seed", "Seed"),
            count_column("clips", "Clips"),
        ),
        *(share_column("uar", "UAR"), share_column("wa", "WA"), share_column("train_uar", "UAR in training")),
        *(share_column("dev_uar", "UAR on dev"), words_column("best_epoch", "Kept epoch")),
        *(Column("train_seconds", "Training time", clock), words_column("chosen")),
    )
    rows = [
        (
            *(recipe.title, run.fold, run.seed, run.clips, run.uar, run.wa, run.train_uar, run.dev_uar),
            *(run.best_epoch, run.train_seconds, words.chosen_text(run.chosen) if run.chosen else None),
        )
        for recipe in summary.recipes
        for run in recipe.runs
    ]
    return Table("runs", "Each run; scores in per cent.", columns, tuple(rows))


def _cost(summary: Report) -> Table:
    columns = (
        *(
            title_column(summary),
            Column("parameters", "Parameters", words.size),
            Column("trained_parameters", "Trained", words.size),
        ),
        *(Column("train_seconds", "Training time", clock), Column("predict_seconds", "Prediction time", clock)),
        *(Column("real_time_factor", "Real-time factor", "{:.3g}".format),),
        *(Column("peak_memory_mb", "Peak memory", "{:,.0f} MB".format), Column("teacher_seconds", "Teachers", clock)),
    )
    rows = [(recipe.title, *vars(recipe.cost).values()) for recipe in summary.recipes if recipe.cost.parameters]
    # Only recipes with teachers have their time.
    shown = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    cells = tuple(row[:shown] for row in rows)
    return Table("cost", "Cost: means over the runs; memory is the largest.", columns[:shown], cells)


def _worst(summary: Report) -> Table:
    columns = (
        *(
            title_column(summary),
            words_column("clip", "Clip"),
            words_column("speaker"),
            words_column("label", "True label"),
        ),
        *(words_column("predicted", "Predicted"), share_column("probability", "Confidence")),
        *(share_column("probability_of_label", "Of true label"), words_column("fold"), words_column("seed")),
    )
    rows = [(recipe.title, *vars(clip).values()) for recipe in summary.recipes for clip in recipe.worst]
    return Table("worst", "Wrong predictions with the highest confidence, in per cent.", columns, tuple(rows))


def _exclusions(summary: Report) -> Table:
    columns = tuple(words_column(key, key.capitalize()) for key in ("clip", "fold", "side", "reason", "recipes"))
    rows = [(each.clip, each.fold, each.side, each.reason, ", ".join(each.recipes)) for each in summary.exclusions]
    return Table("exclusions", "Clips that were left out.", columns, tuple(rows))


def _cells(column: Column, value: Any) -> Iterable[Any]:
    if not column.interval:
        return (value,)
    return (None, None, None) if value is None else (value.value, value.low, value.high)


def _titles(summary: Report) -> Mapping[str, str]:
    return {recipe.name: recipe.title for recipe in summary.recipes}


def _who(summary: Report) -> str:
    return words.people(summary.corpus["name"])


def by_recipe(summary: Report, rows: Callable[[RecipeReport], Iterable[Sequence[Any]]]) -> tuple[tuple[Any, ...], ...]:
    """Rows of all recipes, each with the recipe's title in front."""
    return tuple((recipe.title, *row) for recipe in summary.recipes for row in rows(recipe))
