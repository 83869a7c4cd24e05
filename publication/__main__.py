"""``python -m publication``: rewrite every published figure, only from the tables in ``results/``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from publication import crossing, tables, trust
from publication.ablations import ablations
from publication.example import example
from publication.goals import goals
from publication.seeds import seeds
from publication.targets import targets
from serlab.core import SerlabError
from serlab.core.files import write_text
from serlab.core.progress import say, show
from serlab.corpora import load_corpus
from serlab.recipes import load_recipe, preset_names
from serlab.recipes.variants import replaced
from serlab.report import build_overview
from serlab.report.overview import members_of, survey
from serlab.report.summary import summarise
from serlab.tables.predictions import Run, read_protocols

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results" / "crema-d"
FUSIONS = ("resnet18+whisper-base", "resnet18+whisper-base@dev", "resnet18-distilled+whisper-base-long")
FIGURES = ("uar", "recalls", "speakers", "curves", "reliability", "abstention", "people")


def main() -> None:
    """Fill the marked places of README and docs, and write the reports in ``results/``."""
    runs = read_protocols(RESULTS)
    clips = corpus_clips()
    overview, report = judge(runs, clips)
    if clips is not None:
        copy_figures(report)
    # Recipes that were replaced are in the reports and beside their successors, not among the
    # current ones.
    former = {run.path.parent.name for each in runs.values() for run in each if replaced(run.signature["recipe"])}
    bodies = {"repaired": tables.repaired(overview, former)}
    overview, report = tables.without(overview, former), tables.without(report, former)
    main_runs = runs[tables.MAIN]
    bodies |= {
        "short": tables.short(overview),
        "scores": tables.scores(overview) + "\n" + tables.signature(overview),
        "differences": tables.differences(report),
        "premiums": tables.premiums(overview),
        "others": tables.others(overview),
        "gains": tables.gains(overview),
        "goals": goals(overview),
        "folds": tables.folds(overview, runs),
        "classes": tables.classes(overview),
        "confusions": tables.confusions(report),
        "levels": tables.levels(overview, runs),
        "ablations": ablations(main_runs),
        "seeds": seeds(main_runs, tables.titles(overview)),
        "sentences": tables.scores(overview, "actor-sentence-5"),
        **{name: getattr(trust, name)(report) for name in ("calibration", "abstention", "sets")},
    }
    if clips is not None:
        bodies |= {name: getattr(trust, name)(report) for name in ("groups", "tracks", "soft", "people")}
        bodies |= {"targets": targets(main_runs, clips), "example": example(main_runs, clips)}
    bodies |= crossing.bodies(RESULTS.parent)
    for name in ("README.md", "docs/cremad.md", "docs/recipes.md", "docs/reproduce.md", "docs/corpora.md"):
        fill(HOME / name, bodies)
    print(RESULTS / "report" / "index.html")


def judge(runs: Mapping[str, Sequence[Run]], clips: pd.DataFrame | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The overview of all protocols, and the main protocol's report, as plain data.

    They are written below ``results/`` only if the corpus's table is available. Otherwise, a report
    without votes and demographics would replace one that has them.
    """
    # Recipes with a changed setting belong to the table of that setting, not to the main tables.
    names = {load_recipe(name).name for name in preset_names()}
    shown = {
        name: [run for run in each if run.path.parent.name in names or replaced(run.signature["recipe"])]
        for name, each in runs.items()
    }
    there = {run.path.parent.name for run in shown[tables.MAIN]}
    fusions = [fusion for fusion in FUSIONS if set(members_of(fusion)) <= there]
    if clips is None:
        return survey(shown, fusions).to_dict(), summarise(shown[tables.MAIN]).to_dict()
    recipes = {run.path.parent.name for each in shown.values() for run in each}
    page = build_overview(RESULTS, recipes=recipes, fusions=fusions, clips=clips, audio="none")
    main_page = RESULTS / tables.MAIN / "report" / "report.json"
    overview, report = (json.loads(path.read_text("utf-8")) for path in (page.with_name("report.json"), main_page))
    return overview, report


def copy_figures(report: Mapping[str, Any]) -> None:
    """Copy the main report's figures to the documentation, the confusion matrices under their recipes' names."""
    source, target = RESULTS / tables.MAIN / "report" / "figures", HOME / "docs" / "images" / "cremad"
    names = {f"confusion-{index}": tables.confusion_name(each) for index, each in enumerate(report["recipes"])}
    names |= {name: name for name in FIGURES}
    target.mkdir(parents=True, exist_ok=True)
    for stale in {path.stem for path in target.glob("*.svg")} - set(names.values()):
        (target / f"{stale}.svg").unlink()
    for drawn, shown in names.items():
        if (source / f"{drawn}.svg").is_file():
            shutil.copyfile(source / f"{drawn}.svg", target / f"{shown}.svg")


def corpus_clips() -> pd.DataFrame | None:
    """CREMA-D's table, for votes and demographics; None if it is not available."""
    try:
        return load_corpus("crema-d").clips
    except SerlabError as error:
        say(f"reports, and what needs votes and demographics, stay as they are: {error}")
        return None


def fill(page: Path, bodies: dict[str, str]) -> None:
    """Write each body between its two marks, in pages that have them."""
    text = page.read_text(encoding="utf-8")
    for name, body in bodies.items():
        begin, end = f"<!-- {name}: written by make report-cremad -->", f"<!-- end of {name} -->"
        before, mark, rest = text.partition(begin)
        if not mark:
            continue
        _, closed, after = rest.partition(end)
        if not closed:
            sys.exit(f"{page} has no mark {end}.")
        text = f"{before}{begin}\n\n{body}\n{end}{after}"
    write_text(page, text)


if __name__ == "__main__":
    show()
    main()
