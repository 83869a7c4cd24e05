"""Render result files as a Markdown table and a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import HOME, RESULTS, load
from benchmarks.rows import AT_LEAST, ROWS, UNITS, Figure, Goal
from serlab.core.files import write_bytes, write_text

PAGE = HOME.parent / "docs" / "performance.md"
PICTURE = HOME.parent / "docs" / "images" / "performance.svg"
_BEGIN, _END = "<!-- results: written by make bench -->", "<!-- end of results -->"
_MODES = {"quick": "A quick pass: few clips and steps, rough figures.", "tiny": "Toy models: no figures at all."}

Result = Mapping[str, Any]


def publish(mode: str, folder: Path = RESULTS, page: Path = PAGE, picture: Path = PICTURE) -> Path:
    """Write the table and plot of all results in ``folder``; full results go into the documentation.

    Args:
        mode: name of the size.
        folder: folder of the result files.
        page: page with two marks around the table.
        picture: path of the plot that the page shows.

    Returns:
        The file that contains the table.
    """
    results = [result for name in ROWS if (result := load(name, folder)) is not None]
    if mode != "full":
        write_text(folder / "table.md", f"{_MODES[mode]}\n\n{render(results)}")
        draw(results, folder / "plot.svg")
        return folder / "table.md"
    body = render(results)
    if draw(results, picture):
        shown = f"{picture.parent.name}/{picture.name}"
        body = f"![How many times as fast as its peer each work is, beside the goals]({shown})\n\n{body}"
    fill(page, _BEGIN, _END, body)
    return page


def fill(page: Path, begin: str, end: str, body: str) -> None:
    """Write a body between two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    write_text(page, f"{before}{begin}\n\n{body}\n{end}{rest.partition(end)[2]}")


def render(results: Sequence[Result]) -> str:
    """Return the whole section as Markdown."""
    timed = [result for result in results if result["figures"]]
    parts = [_table(timed)] if timed else ["There are no results yet.\n"]
    if timed:
        parts += [_notes(timed), _start_up(timed)]
    parts += [_growth(result) for result in results if "by_clips" in result]
    if results:
        parts.append(_origin(results))
    return "\n".join(part for part in parts if part)


def _table(results: Sequence[Result]) -> str:
    lines = [
        "| work | peer | median (minimum to maximum) | goal | stretch | met? |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        row = ROWS[result["row"]]
        goals = {goal.figure: goal for goal in row.goals}
        figures = {**{figure: result["figures"][figure] for figure in goals}, **result["figures"]}
        cells = [
            f"{result['work']}{' (extrapolated)' if result['extrapolated'] else ''} `{result['row']}`",
            result["peer"],
            "; ".join(_range(figure, values) for figure, values in figures.items()),
            "; ".join(_mark(goal, goal.goal) for goal in row.goals),
            "; ".join(_mark(goal, goal.stretch) for goal in row.goals if goal.stretch is not None),
            "; ".join(_verdict(goal, result["figures"][goal.figure]["median"]) for goal in row.goals),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _verdict(goal: Goal, value: float) -> str:
    if goal.stretch is not None and goal.met(value, goal.stretch):
        return "stretch"
    return "yes" if goal.met(value) else "no"


def _range(figure: Figure, values: Mapping[str, float]) -> str:
    middle, low, high = (_number(values[key]) for key in ("median", "min", "max"))
    unit = UNITS[figure]
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def _mark(goal: Goal, value: float | None) -> str:
    sign = "at least" if AT_LEAST[goal.figure] else "at most"
    return f"{sign} {value:g}{UNITS[goal.figure]}"


def _number(value: float) -> str:
    """Format three significant digits without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"


def _notes(results: Sequence[Result]) -> str:
    lines = [f"- {result['row']}: {note}" for result in results for note in result["notes"]]
    return "\n".join(lines) + "\n" if lines else ""


def _start_up(results: Sequence[Result]) -> str:
    """List the seconds outside the ratios: loading, the first steps, the final checkpoint."""
    lines = []
    for result in results:
        sides = result["sides"]
        if {"serlab", "peer"} <= sides.keys() and max(sides["serlab"]["start_up_seconds"]) > 0:
            ours, peer = (median(sides[side]["start_up_seconds"]) for side in ("serlab", "peer"))
            lines.append(f"| {result['row']} | {ours:.1f} | {peer:.1f} |")
    head = "Start-up, in none of the ratios (seconds; serlab's training includes its checkpoint):\n\n"
    return head + "\n".join(["| row | serlab | peer |", "|---|---|---|", *lines]) + "\n" if lines else ""


def _growth(result: Result) -> str:
    """List costs relative to the first of each series: 1.00 throughout means linear growth."""
    by_clips, by_length = result["by_clips"], result["by_length"]
    lines = ["Cost a clip as clips get more, relative to the fewest:", ""]
    lines += ["| clips | scan | log-mel | prediction |", "|---|---|---|---|"]
    for entry in by_clips:
        cells = [f"{entry[name] / by_clips[0][name]:.2f}" for name in ("scan", "log_mel", "predict")]
        lines.append(f"| {entry['clips']:,} | {' | '.join(cells)} |")
    costs = [f"{entry['ms_a_second'] / by_length[0]['ms_a_second']:.2f}" for entry in by_length]
    lines += ["", "Cost a second of audio as clips get longer, relative to the shortest (wav2vec2-base, bf16):", ""]
    lines += [
        f"| {' | '.join(['seconds', *(str(entry['seconds']) for entry in by_length)])} |",
        f"|{'---|' * (1 + len(by_length))}",
        f"| {' | '.join(['cost', *costs])} |",
        "",
    ]
    return "\n".join(lines)


def _origin(results: Sequence[Result]) -> str:
    """List machines, versions and clips without repetition, and the commits of the rows."""
    machines: dict[str, dict[str, list[str]]] = {}
    clips: dict[str, None] = {}
    for result in results:
        m, v, s = result["machine"], result["versions"], result["settings"]
        machine = (
            f"Measured on {m['processor']}, {m['threads']} threads of {m['cores']} cores, {m['memory_gib']} GiB "
            f"({', '.join(m['flags']) or 'no vector extensions of note'}); Python {v['python']}, torch {v['torch']}, "
            f"transformers {v['transformers']}, numpy {v['numpy']}, librosa {v['librosa']}, serlab {v['serlab']}"
        )
        machines.setdefault(machine, {}).setdefault(result["commit"], []).append(result["row"])
        if "corpus" in s:
            clips[f"Clips: {s['corpus']}, {s['copy']}."] = None
    return "\n\n".join([f"{machine} ({_commits(rows)})." for machine, rows in machines.items()] + list(clips)) + "\n"


def _commits(rows: Mapping[str, Sequence[str]]) -> str:
    """Return the commit of most rows, and other commits with their rows."""
    usual = max(rows, key=lambda commit: len(rows[commit]))
    return "; ".join([usual] + [f"{', '.join(rows[other])}: {other}" for other in rows if other != usual])


def draw(results: Sequence[Result], path: Path) -> bool:
    """Draw ratios and goals on a log axis; return False if no row has a goal for its ratio."""
    from matplotlib.figure import Figure as Canvas

    from serlab.report.svg import INK, MUTED, PAGE, SERIES, drawing_of, export_svg, settings

    shown = [(r, goal) for r in results for goal in ROWS[r["row"]].goals if goal.figure == "ratio"]
    if not shown:
        return False
    with settings():
        figure = Canvas(figsize=(7.2, 0.9 + 0.36 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.axvline(1, color=MUTED, linewidth=1)
        for place, (result, goal) in enumerate(reversed(shown)):
            low, middle, high = (result["figures"]["ratio"][key] for key in ("min", "median", "max"))
            axes.plot([low, high], [place, place], color=SERIES[0], linewidth=2)
            face = SERIES[0] if goal.met(middle) else PAGE
            axes.plot(middle, place, "o", color=SERIES[0], markerfacecolor=face, markersize=7)
            axes.plot(goal.goal, place, "|", color=SERIES[1], markersize=16, markeredgewidth=2.5)
            if goal.stretch is not None:
                axes.plot(goal.stretch, place, "D", color=SERIES[1], markerfacecolor="none", markersize=5)
        names = [result["row"] for result, _ in reversed(shown)]
        axes.set_yticks(range(len(names)), names)
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.grid(axis="x")
        axes.set_xlabel("times as fast as its peer (log scale)")
        marks = [
            axes.plot([], [], "o", color=SERIES[0], markersize=7)[0],
            axes.plot([], [], "o", color=SERIES[0], markerfacecolor=PAGE, markersize=7)[0],
            axes.plot([], [], "|", color=SERIES[1], markersize=12, markeredgewidth=2.5)[0],
            axes.plot([], [], "D", color=SERIES[1], markerfacecolor="none", markersize=5)[0],
        ]
        figure.legend(
            marks,
            ["median, goal met", "median, goal not met", "goal", "stretch"],
            loc="outside upper center",
            ncols=4,
            labelcolor=INK,
        )
        alternative = "; ".join(
            f"{r['row']} {_range('ratio', r['figures']['ratio'])}, goal {goal.goal:g}x" for r, goal in shown
        )
        drawing = drawing_of(figure, "performance", "Speed-ups", "", alternative)
    write_bytes(path, export_svg(drawing))
    return True
