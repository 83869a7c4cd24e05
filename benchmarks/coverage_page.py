"""Write the simulation's table and figure for docs/method.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import HOME
from benchmarks.table import fill
from benchmarks.trainings import REPLICATES

PAGE = HOME.parent / "docs" / "method.md"
PICTURE = HOME.parent / "docs" / "images" / "coverage.svg"
INTERVALS = {
    "speakers": "serlab: speakers, expanded percentiles",
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


def publish(result: Mapping[str, Any], page: Path = PAGE, picture: Path = PICTURE) -> None:
    """Write the table and the figure."""
    draw(result, picture)
    fill(page, _BEGIN, _END, render(result))


def render(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    settings = result["settings"]
    lines = [
        f"| Per cent of experiments | {' | '.join(str(setting['speakers']) + ' speakers' for setting in settings)} |",
        f"|---|{'--:|' * len(settings)}",
    ]
    for what, title in _TITLES.items():
        for name, label in {**INTERVALS, **(TESTS if what == "false_alarms" else {})}.items():
            if name in settings[0][what]:
                cells = " | ".join(f"{100 * setting[what][name]:.1f}" for setting in settings)
                lines.append(f"| {title}: {label} | {cells} |")
    population = result["population"]
    shares = ", ".join(f"{name} {100 * share:.0f}" for name, share in population["shares"].items())
    first, second = (f"`{name}`" for name in population["recipes"])
    lines += [
        "",
        f"{result['trials']:,} experiments a column and kind, {result['replicates']:,} replicates each: the standard "
        f"error of 95 is {100 * (0.05 * 0.95 / result['trials']) ** 0.5:.1f}. The population is fitted to {first} and "
        f"{second} on {population['clips']:,} clips of CREMA-D at 11,025 Hz (`emo-superb-5`, seed 0); shares of the "
        f"variance, per cent: {shares}, the rest chance.",
        "",
        "![Coverage and false alarms by number of speakers](images/coverage.svg)",
        "",
        *_trainings(result["trainings"], result["training_trials"]),
    ]
    return "\n".join(lines) + "\n"


def _trainings(settings: Sequence[Mapping[str, Any]], trials: int) -> list[str]:
    """Return the second table: a few training runs per recipe."""
    lines = [
        "With a few trainings of each recipe and fold, beside the same intervals with these held for all there are:",
        "",
        "| Speakers, folds | Seeds | A fold's UAR scatters by, points | Interval of a UAR: serlab | speakers alone | "
        "False alarms: serlab | speakers alone |",
        f"|---|{'--:|' * 6}",
    ]
    for setting in settings:
        found = [100 * setting[what][name] for what in ("coverage", "false_alarms") for name in ("both", "speakers")]
        cells = " | ".join(f"{value:.1f}" for value in found)
        size = f"{setting['speakers']}, {setting['folds']}"
        lines.append(f"| {size} | {setting['seeds']} | {setting['points']} | {cells} |")
    error = 100 * (0.05 * 0.95 / trials) ** 0.5
    return [
        *lines,
        "",
        f"{trials:,} experiments per row, {REPLICATES:,} replicates each: the standard error of 95 is {error:.1f}. "
        "Training runs of a recipe share the effects of speakers and clips; chance is drawn independently for each.",
    ]


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw coverage and false alarms by number of speakers as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    counts = [setting["speakers"] for setting in result["settings"]]
    for axes, (what, title) in zip(figure.subplots(1, 3), _TITLES.items(), strict=True):
        for name, label in INTERVALS.items():
            values = [100 * setting[what][name] for setting in result["settings"] if name in setting[what]]
            if values:
                axes.plot(counts, values, marker="o", label=label, linewidth=2.5 if name == "speakers" else 1.2)
        axes.axhline(5 if what == "false_alarms" else 95, color="0.5", linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="speakers", ylabel="% of experiments", xticks=counts)
    figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
