"""Render result files as a Markdown table and a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import HOME, RESULTS, SIZES, kind_of, load
from benchmarks.rows import AT_LEAST, ROWS, UNITS, Figure, Goal, Row
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
        folder: folder of the result files; for full results of the folders of each kind of processor.
        page: page with two marks around the table.
        picture: path of the plot that the page shows.

    Returns:
        The file that contains the table.
    """
    folders = (
        sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in SIZES)
        if mode == "full"
        else [folder]
    )
    results = [result for each in folders for name in ROWS if (result := load(name, each)) is not None]
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
    parts += [_growth(result, results) for result in results if "by_clips" in result]
    if results:
        parts.append(_origin(results))
    return "\n".join(part for part in parts if part)


def _kinds(results: Sequence[Result]) -> list[str]:
    """Kinds of processors, those with AMX first."""
    return sorted({kind_of(result["machine"]) for result in results}, key=lambda kind: ("amx" not in kind, kind))


def _table(results: Sequence[Result]) -> str:
    kinds = _kinds(results)
    head = [f"{kind}: median (minimum to maximum) | goal met?" for kind in kinds]
    lines = [f"| {' | '.join(['work', 'peer', *head])} |", "|---|---|" + "---|---|" * len(kinds)]
    found = {(result["row"], kind_of(result["machine"])): result for result in results}
    for row in ROWS.values():
        of_row = [found.get((row.name, kind)) for kind in kinds]
        first = next(filter(None, of_row), None)
        if first is None:
            continue
        work = f"{first['work']}{' (extrapolated)' if first['extrapolated'] else ''} `{row.name}`"
        cells = [_measured(row, kind, result) for kind, result in zip(kinds, of_row, strict=True)]
        lines.append(f"| {' | '.join([work, first['peer'], *cells])} |")
    return "\n".join(lines) + "\n"


def _measured(row: Row, kind: str, result: Result | None) -> str:
    """Two cells: what was measured on a kind of processor, and whether its goals are met."""
    if result is None:
        return "– | –"
    goals = [goal for goal in row.goals_on(kind) if goal.figure in result["figures"]]
    figures = {**{goal.figure: result["figures"][goal.figure] for goal in goals}, **result["figures"]}
    verdicts = [_verdict(goal, result["figures"][goal.figure]["median"]) for goal in goals]
    ranges = [
        _range(figure, values, [goal for goal in goals if goal.figure == figure]) for figure, values in figures.items()
    ]
    return " | ".join(["; ".join(ranges), "; ".join(verdicts)])


def _verdict(goal: Goal, value: float) -> str:
    stretch = goal.stretch is not None and goal.met(value, goal.stretch)
    met = "stretch" if stretch else "yes" if goal.met(value) else "no"
    further = f", stretch {goal.stretch:g}" if goal.stretch is not None else ""
    sign = "at least" if AT_LEAST[goal.figure] else "at most"
    return f"{met} ({sign} {goal.goal:g}{further})"


def _range(figure: Figure, values: Mapping[str, float], goals: Sequence[Goal] = ()) -> str:
    middle, low, high = (_number(values[key]) for key in ("median", "min", "max"))
    if any(goal.met(float(middle)) != goal.met(values["median"]) for goal in goals):
        middle = _number(values["median"], 4)  # Three digits would contradict the verdict.
    unit = UNITS[figure]
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def _number(value: float, significant: int = 3) -> str:
    """Format significant digits without an exponent."""
    digits = max(0, significant - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"


def _named(result: Result, results: Sequence[Result]) -> str:
    """The row's name, with the kind of processor if there are several."""
    return f"{result['row']} ({kind_of(result['machine'])})" if len(_kinds(results)) > 1 else str(result["row"])


def _notes(results: Sequence[Result]) -> str:
    lines = [f"- {_named(result, results)}: {note}" for result in results for note in result["notes"]]
    return "\n".join(lines) + "\n" if lines else ""


def _start_up(results: Sequence[Result]) -> str:
    """List the seconds outside the ratios: loading, the first steps, the final checkpoint."""
    lines = []
    for result in results:
        sides = result["sides"]
        if {"serlab", "peer"} <= sides.keys() and max(sides["serlab"]["start_up_seconds"]) > 0:
            ours, peer = (median(sides[side]["start_up_seconds"]) for side in ("serlab", "peer"))
            lines.append(f"| {_named(result, results)} | {ours:.1f} | {peer:.1f} |")
    head = "Start-up, in none of the ratios (seconds; serlab's training includes its checkpoint):\n\n"
    return head + "\n".join(["| row | serlab | peer |", "|---|---|---|", *lines]) + "\n" if lines else ""


def _growth(result: Result, results: Sequence[Result]) -> str:
    """List costs relative to the first of each series: 1.00 throughout means linear growth."""
    by_clips, by_length = result["by_clips"], result["by_length"]
    on = f" on {kind_of(result['machine'])}" if len(_kinds(results)) > 1 else ""
    lines = [f"Cost a clip as clips get more{on}, relative to the fewest:", ""]
    lines += ["| clips | scan | log-mel | prediction |", "|---|---|---|---|"]
    for entry in by_clips:
        cells = [f"{entry[name] / by_clips[0][name]:.2f}" for name in ("scan", "log_mel", "predict")]
        lines.append(f"| {entry['clips']:,} | {' | '.join(cells)} |")
    costs = [f"{entry['ms_a_second'] / by_length[0]['ms_a_second']:.2f}" for entry in by_length]
    lines += [
        "",
        f"Cost a second of audio as clips get longer{on}, relative to the shortest (wav2vec2-base, bf16):",
        "",
    ]
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
            f"`{kind_of(m)}` was measured on {m['processor']}, {m['threads']} threads of {m['cores']} cores, "
            f"{m['memory_gib']} GiB ({', '.join(m['flags']) or 'no vector extensions of note'}); "
            f"Python {v['python']}, torch {v['torch']}, transformers {v['transformers']}, numpy {v['numpy']}, "
            f"librosa {v['librosa']}, serlab {v['serlab']}"
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
    """Draw ratios and goals on a log axis, a colour per kind of processor; return False if no row has such a goal."""
    from matplotlib.figure import Figure as Canvas

    from serlab.report.svg import INK, MUTED, PAGE, SERIES, drawing_of, export_svg, settings

    kinds = _kinds(results)
    shown = [
        (result, goal)
        for result in results
        for goal in ROWS[result["row"]].goals_on(kind_of(result["machine"]))
        if goal.figure == "ratio"
    ]
    if not shown:
        return False
    names = [name for name in ROWS if name in {result["row"] for result, _ in shown}][::-1]
    with settings():
        height = 0.9 + (0.16 + 0.2 * len(kinds)) * len(names)
        figure = Canvas(figsize=(7.2, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.axvline(1, color=MUTED, linewidth=1)
        for result, goal in shown:
            kind = kinds.index(kind_of(result["machine"]))
            colour = SERIES[kind % len(SERIES)]
            place = names.index(result["row"]) + ((len(kinds) - 1) / 2 - kind) * 0.6 / len(kinds)
            low, middle, high = (result["figures"]["ratio"][key] for key in ("min", "median", "max"))
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            face = colour if goal.met(middle) else PAGE
            axes.plot(middle, place, "o", color=colour, markerfacecolor=face, markersize=6)
            axes.plot(goal.goal, place, "|", color=colour, markersize=11, markeredgewidth=2.5)
            if goal.stretch is not None:
                axes.plot(goal.stretch, place, "D", color=colour, markerfacecolor="none", markersize=4)
        axes.set_yticks(range(len(names)), names)
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.grid(axis="x")
        axes.set_xlabel("times as fast as its peer (log scale)")
        marks = [
            axes.plot([], [], "o", color=INK, markersize=6)[0],
            axes.plot([], [], "o", color=INK, markerfacecolor=PAGE, markersize=6)[0],
            axes.plot([], [], "|", color=INK, markersize=11, markeredgewidth=2.5)[0],
            axes.plot([], [], "D", color=INK, markerfacecolor="none", markersize=4)[0],
            *(axes.plot([], [], color=SERIES[kind % len(SERIES)], linewidth=2)[0] for kind in range(len(kinds))),
        ]
        said = ["median, goal met", "median, goal not met", "goal", "stretch", *kinds]
        figure.legend(marks, said, loc="outside upper center", ncols=4, labelcolor=INK)
        alternative = "; ".join(
            f"{_named(r, results)} {_range('ratio', r['figures']['ratio'])}, goal {goal.goal:g}x" for r, goal in shown
        )
        drawing = drawing_of(figure, "performance", "Speed-ups", "", alternative)
    write_bytes(path, export_svg(drawing))
    return True
