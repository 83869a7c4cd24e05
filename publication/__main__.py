"""``python -m publication``: write every published figure again, from the tables in ``results/`` alone."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from publication import tables, trust
from publication.ablations import ablations
from publication.example import example
from publication.goals import goals
from publication.seeds import seeds
from publication.targets import targets
from serlab.core import SerlabError
from serlab.corpora import load_corpus
from serlab.files import write_text
from serlab.progress import say
from serlab.recipes import preset_names
from serlab.report import build_overview
from serlab.report.overview import members_of
from serlab.tables import read_protocols

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results" / "crema-d"
FUSIONS = ("resnet18+whisper-base", "resnet18+whisper-base@dev")
FIGURES = ("uar", "recalls", "speakers", "curves", "reliability", "abstention", "people")


def main() -> None:
    """Fill the marked places of README and docs."""
    runs = read_protocols(RESULTS)
    # Recipes that a setting was changed of are for the table of that setting, not for the main ones.
    presets = sorted({run.path.parent.name for each in runs.values() for run in each} & set(preset_names()))
    there = {run.path.parent.name for run in runs.get(tables.MAIN, ())}
    clips = corpus_clips()
    fusions = [fusion for fusion in FUSIONS if set(members_of(fusion)) <= there]
    page = build_overview(RESULTS, recipes=presets, fusions=fusions, clips=clips, audio="none")
    overview = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    bodies = {
        "scores": tables.scores(overview) + "\n" + tables.signature(overview),
        "premiums": tables.premiums(overview),
        "others": tables.others(overview),
        "gains": tables.gains(overview),
        "goals": goals(overview),
        "folds": tables.folds(overview, runs),
        "classes": tables.classes(overview),
        "levels": tables.levels(overview, runs),
        "ablations": ablations(runs.get(tables.MAIN, ())),
        "seeds": seeds(runs.get(tables.MAIN, ()), tables.titles(overview)),
        "example": example(runs.get(tables.MAIN, ()), clips),
        "sentences": tables.scores(overview, "actor-sentence-5"),
    }
    main_report = RESULTS / tables.MAIN / "report" / "report.json"
    if main_report.is_file():
        report = json.loads(main_report.read_text(encoding="utf-8"))
        copy_figures(report)
        bodies |= {"confusions": tables.confusions(report), "differences": tables.differences(report)}
        bodies |= {name: getattr(trust, name)(report) for name in ("calibration", "abstention", "sets")}
        if clips is not None:
            bodies |= {name: getattr(trust, name)(report) for name in ("groups", "tracks", "soft", "people")}
            bodies["targets"] = targets(runs[tables.MAIN], clips)
    for name in ("README.md", "docs/cremad.md", "docs/reproduce.md"):
        fill(HOME / name, bodies)
    print(page)


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
    """CREMA-D's table, for votes and demographics; where it is not at hand, reports lack them and pages keep them."""
    try:
        return load_corpus("crema-d").clips
    except SerlabError as error:
        say(f"without votes and demographics, which the reports then lack: {error}")
        return None


def fill(page: Path, bodies: dict[str, str]) -> None:
    """Write each body between its two marks, where a page has them."""
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
    main()
