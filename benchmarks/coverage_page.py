"""Write the simulation's tables and figures for docs/method.md, from the rows that are finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cases import REPLICATES as REPLICATES_OF_CASES
from benchmarks.harness import HOME
from benchmarks.table import fill
from benchmarks.trainings import REPLICATES
from serlab.core.files import write_bytes
from serlab.report.svg import INK, MUTED, SERIES, drawing_of, export_svg, settings
from serlab.report.svg import PAGE as PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = HOME.parent / "docs" / "method.md"
PICTURES = HOME.parent / "docs" / "images"
FEWEST_TRIALS = 2000
"""Rows with fewer experiments are not finished, and are not shown."""
REPLICATES_OF_SETTINGS = 2000
_LEAST_COVERAGE, _LEAST_COVERAGE_OF_FEW, _FROM = 0.94, 0.93, 50
_MOST_ALARMS = 0.057
Row = Mapping[str, Any]
INTERVALS = {
    "speakers": "serlab: speakers, widened to CR2",
    "percentile": "speakers, plain percentiles",
    "clips": "clips, plain percentiles",
    "folds": "five folds, Student's t",
}
TESTS = {
    "swap": "serlab: swaps within speakers",
    "obuchowski": "serlab: clustered McNemar (Obuchowski)",
    "durkalski": "serlab: clustered McNemar (Durkalski)",
    "mcnemar": "McNemar over clips",
}
_TITLES = {"coverage": "Interval of a UAR", "difference": "Interval of a difference", "false_alarms": "False alarms"}
_BEGIN, _END = "<!-- simulated: written by python -m benchmarks.coverage -->", "<!-- end of simulated -->"


def publish(result: Mapping[str, Any], page: Path = PAGE, pictures: Path = PICTURES) -> None:
    """Write the tables and the figures."""
    for name, content in draw(result):
        write_bytes(pictures / name, content)
    fill(page, _BEGIN, _END, render(result))


def render(result: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    parts = (("cases", _cases), ("settings", _settings), ("trainings", _trainings))
    texts = [text(finished(result[part])) for part, text in parts if finished(result[part])]
    population = result["population"]
    shares = ", ".join(f"{name} {100 * share:.0f}" for name, share in population["shares"].items())
    first, second = (f"`{name}`" for name in population["recipes"])
    texts.append(
        f"The effects of all populations are fitted to {first} and {second} on {population['clips']:,} clips of "
        f"CREMA-D at 11,025 Hz (`emo-superb-5`, seed 0); shares of the variance, per cent: {shares}, the rest chance.\n"
    )
    return "\n".join(texts)


def finished(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with enough experiments."""
    return [row for row in rows if row["trials"] >= FEWEST_TRIALS]


def _cases(rows: Sequence[Row]) -> str:
    """Return the table of promises."""
    lines = [
        "| Population | Speakers | 95 % interval of a UAR has the true value: before | now | "
        'False "ahead", at most 5 %: before | now |',
        f"|---|{'--:|' * 5}",
    ]
    for row in rows:
        cells = [_share(row, what, when) for what in ("coverage", "false_alarms") for when in ("before", "now")]
        lines.append(f"| {row['title']} | {row['speakers']} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Per cent of experiments; bold: coverage below 94 (with fewer than 50 speakers, below 93), false alarms "
            f"above 5.7. {_precision(rows, REPLICATES_OF_CASES)} All models are "
            'equally good, so every "ahead" is false; with more than two models, one pair that is called ahead is '
            "enough. Before: expanded percentiles alone, and each pair by its own interval. Now: widened to CR2, and "
            f"answers after Holm. Intervals over several seeds are as before.{_without(rows)}",
            "",
            "![Promised and measured, by population](images/coverage-cases.svg)",
            "",
        ]
    )


def _share(row: Row, what: str, when: str) -> str:
    """Return a measured share in per cent, bold if it misses the goal; a dash if there is none."""
    if when not in row.get(what, {}):
        return "–"
    share = _given(row, what, when)
    text = f"{100 * share:.1f}"
    return f"**{text}**" if _misses(row, what, share) else text


def _without(rows: Sequence[Row]) -> str:
    """Say how many experiments had no interval."""
    most = max(row["without"] for row in rows)
    if not most:
        return ""
    return (
        f" Experiments without an interval (up to {100 * most:.0f} % of a row, because a label is lost in more than "
        f"half of {REPLICATES_OF_CASES:,} replicates) do not count."
    )


def _given(row: Row, what: str, when: str) -> float:
    """Return a share of the experiments that had an interval."""
    return float(row[what][when] / (1 - row["without"]))


def _misses(row: Row, what: str, share: float) -> bool:
    if what == "false_alarms":
        return round(share, 3) > _MOST_ALARMS
    return round(share, 3) < (_LEAST_COVERAGE if row["speakers"] >= _FROM else _LEAST_COVERAGE_OF_FEW)


def _precision(rows: Sequence[Row], replicates: int) -> str:
    """Say how many experiments there were, and how precise that is."""
    counts = sorted({row["trials"] for row in rows})
    error = 100 * (0.05 * 0.95 / counts[0]) ** 0.5
    number = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{number} experiments each, with {replicates:,} replicates: the standard error of 95 is {error:.1f}."


def _earlier(rows: Sequence[Row]) -> str:
    """Say that rows were simulated before intervals were widened."""
    if all("method" in row for row in rows):
        return ""
    return (
        " Simulated with expanded percentiles alone: in balanced populations the widening to CR2 changes a few "
        "tenths, as the first table shows."
    )


def _settings(rows: Sequence[Row]) -> str:
    """Return the table of balanced populations: serlab's methods beside common alternatives."""
    lines = [
        "In balanced populations, beside common alternatives:",
        "",
        f"| Per cent of experiments | {' | '.join(str(row['speakers']) + ' speakers' for row in rows)} |",
        f"|---|{'--:|' * len(rows)}",
    ]
    for what, title in _TITLES.items():
        for name, label in {**INTERVALS, **(TESTS if what == "false_alarms" else {})}.items():
            if name in rows[0][what]:
                cells = " | ".join(f"{100 * row[what][name]:.1f}" for row in rows)
                lines.append(f"| {title}: {label} | {cells} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{_precision(rows, REPLICATES_OF_SETTINGS)}{_earlier(rows)}",
            "",
            "![Coverage and false alarms by number of speakers](images/coverage.svg)",
            "",
        ]
    )


def _trainings(rows: Sequence[Row]) -> str:
    """Return the table of a few training runs per recipe."""
    lines = [
        "With a few trainings of each recipe and fold, beside the same intervals with these held for all there are:",
        "",
        "| Speakers, folds | Seeds | A fold's UAR scatters by, points | Interval of a UAR: serlab | speakers alone | "
        "False alarms: serlab | speakers alone |",
        f"|---|{'--:|' * 6}",
    ]
    for row in rows:
        found = [100 * row[what][name] for what in ("coverage", "false_alarms") for name in ("both", "speakers")]
        cells = " | ".join(f"{value:.1f}" for value in found)
        lines.append(f"| {row['speakers']}, {row['folds']} | {row['seeds']} | {row['points']} | {cells} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{_precision(rows, REPLICATES)} Training runs of a recipe share the effects of speakers and clips; chance "
            f"is drawn independently for each.{_earlier(rows)}",
            "",
        ]
    )


def draw(result: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Draw what is finished, each as the name and the bytes of an SVG."""
    with settings():
        if rows := finished(result["cases"]):
            words = "Share of experiments in which intervals hold, and in which a model is falsely called ahead."
            figure = _of_cases(rows)
            yield "coverage-cases.svg", export_svg(drawing_of(figure, "coverage-cases", "Coverage", "", words))
        if rows := finished(result["settings"]):
            words = "Coverage and false alarms of four kinds of interval, by number of speakers."
            figure = _of_settings(rows)
            yield "coverage.svg", export_svg(drawing_of(figure, "coverage", "Coverage", "", words))


def _of_cases(rows: Sequence[Row]) -> Figure:
    """One row per population: what was promised, and measured before and now."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.9 + 0.27 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, what, goal, title in (
        (left, "coverage", (94, 96), "Interval of a UAR has the true value"),
        (right, "false_alarms", (0, 5.7), 'False "ahead"'),
    ):
        axes.axvspan(*goal, color=SERIES[2], alpha=0.14, linewidth=0)
        for when, marks in (
            ("before", {"markerfacecolor": PAPER, "color": MUTED}),
            ("now", {"color": SERIES[0]}),
        ):
            places = [place for place, row in enumerate(rows) if when in row.get(what, {})]
            values = [100 * _given(rows[place], what, when) for place in places]
            axes.plot(values, places, "o", markersize=6, label=when, **marks)
        axes.set_title(title, loc="left", fontsize=9, color=INK)
        axes.set_xlabel("% of experiments")
        axes.grid(axis="x")
        axes.tick_params(length=0)
    left.set_yticks(range(len(rows)), [f"{row['title']} ({row['speakers']} speakers)" for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def _of_settings(rows: Sequence[Row]) -> Figure:
    """Coverage and false alarms by number of speakers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    counts = [row["speakers"] for row in rows]
    every: tuple[Axes, ...] = tuple(figure.subplots(1, 3))
    for axes, (what, title) in zip(every, _TITLES.items(), strict=True):
        for colour, (name, label) in zip(SERIES, INTERVALS.items(), strict=False):
            values = [100 * row[what][name] for row in rows if name in row[what]]
            if values:
                width = 2.5 if name == "speakers" else 1.2
                axes.plot(counts, values, marker="o", label=label, linewidth=width, color=colour)
        axes.axhline(5 if what == "false_alarms" else 95, color=MUTED, linestyle=":", linewidth=1)
        axes.set_title(title, loc="left", fontsize=9, color=INK)
        axes.set(xlabel="speakers", ylabel="% of experiments", xticks=counts)
        axes.grid(axis="y")
        axes.tick_params(length=0)
    figure.legend(*every[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
